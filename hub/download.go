package hub

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// Request says what to download.
type Request struct {
	Name     string // a name of the registry, or a repository: org/name, or org/name@revision
	Revision string // of a repository: a branch, a tag or a commit; "" is what Name says, else "main"
	File     string // of a repository: this file alone; "" is what a model needs to be loaded
}

// Download brings a checkpoint here with the environment's settings (FromEnvironment); see Hub.Download.
func Download(ctx context.Context, r Request, progress Progress) (path string, err error) {
	h, err := FromEnvironment()
	if err != nil {
		return "", err
	}
	return h.Download(ctx, r, progress)
}

// Download brings a checkpoint here, unless it is, and gives its path: of the file for torchvision's weights, and for a
// repository of the folder with its files, or of the one file that was asked for.
//
// torchvision's weights are here when the file is. A repository's revision is looked up each time, unless one file of a
// commit is asked for; when the hub cannot be reached, what is here from the last time does, and progress is told. Of a
// repository come the configuration, the tokenizer, and the weights in one format: model.safetensors, or its index and
// shards, or where there are none pytorch_model.bin or its.
//
// Errors: *UnknownError and *InvalidError for what the caller should have said otherwise; *OfflineError; *StatusError;
// *NetworkError; *HashError; and those of the disk. A file under its final name is always whole.
func (h *Hub) Download(ctx context.Context, r Request, progress Progress) (path string, err error) {
	if progress == nil {
		progress = silent{}
	}
	repo, model, err := r.resolve()
	if err != nil {
		return "", err
	}
	if repo != nil {
		return h.repository(*repo).download(ctx, progress)
	}
	final := h.checkpointPath(model)
	if exists(final) {
		return final, nil
	}
	if h.Offline {
		return "", &OfflineError{What: model.File(), Where: final}
	}
	c := h.client()
	defer c.close()
	address := model.URL
	if h.Torchvision != "" {
		address = h.Torchvision + model.File()
	}
	t := transfer{client: c, what: model.File(), url: address, final: final, size: -1, checksum: checksum{want: model.SHA256}, progress: progress,
		lock: filepath.Join(h.Checkpoints, ".locks", model.File()+".lock")}
	if err := t.run(ctx); err != nil {
		return "", err
	}
	return final, nil
}

// Cached gives the path of a model of the registry where all of it is here, as Download would; "" where it is not.
func (h *Hub) Cached(m Model) string {
	if m.Repository == "" {
		if path := h.checkpointPath(m); exists(path) {
			return path
		}
		return ""
	}
	path, err := h.repository(repoRequest{name: m.Repository, revision: "main"}).cached()
	if err != nil {
		return ""
	}
	return path
}

// Local gives the path of a checkpoint that is here already, as Download would; nothing is downloaded. The name may
// start with "hf:", which tells a repository from a path where both could be meant.
func Local(name string) (path string, err error) {
	h, err := FromEnvironment()
	if err != nil {
		return "", err
	}
	h.Offline = true
	name = strings.TrimPrefix(name, "hf:")
	path, err = h.Download(context.Background(), Request{Name: name}, nil)
	if _, missing := errors.AsType[*OfflineError](err); missing {
		return "", fmt.Errorf("%s is not here: thaw download %s brings it", name, name)
	}
	return path, err
}

func (h *Hub) checkpointPath(m Model) string { return filepath.Join(h.Checkpoints, m.File()) }

// repoRequest is a request for a repository.
type repoRequest struct{ name, revision, file string }

// resolve says which repository, or which model of the registry, is asked for.
func (r Request) resolve() (*repoRequest, Model, error) {
	name, revision, marked := strings.Cut(r.Name, "@")
	switch {
	case marked && revision == "":
		return nil, Model{}, &InvalidError{fmt.Sprintf("%q: a revision is missing after the @", r.Name)}
	case marked && r.Revision != "" && r.Revision != revision:
		return nil, Model{}, &InvalidError{fmt.Sprintf("%q names one revision, and %q is another", r.Name, r.Revision)}
	case !marked:
		revision = r.Revision
	}
	model, err := Find(name)
	if err == nil && model.Repository == "" {
		if revision != "" || r.File != "" {
			return nil, Model{}, &InvalidError{fmt.Sprintf("%s is one file of torchvision's and no repository: it has no revision and no further file", name)}
		}
		return nil, model, nil
	}
	if err != nil && !strings.Contains(name, "/") {
		return nil, Model{}, err
	}
	if err == nil {
		name = model.Repository
	}
	repo := repoRequest{name, or(revision, "main"), r.File}
	return &repo, Model{}, repo.check()
}

// What huggingface_hub takes for a repository's name, and git for a revision's.
var (
	repoName     = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9_.-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}$`)
	revisionName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,199}$`)
	commitName   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

func (r repoRequest) check() error {
	parts := strings.Split(r.name, "/")
	bad := !repoName.MatchString(r.name) || strings.Contains(r.name, "--") || strings.Contains(r.name, "..") || strings.HasSuffix(r.name, ".git")
	for _, p := range parts {
		bad = bad || strings.HasSuffix(p, ".") || strings.HasSuffix(p, "-")
	}
	if bad {
		return &InvalidError{fmt.Sprintf("%q is no repository's name: write org/name, of letters, digits, - _ and .", r.name)}
	}
	if !revisionName.MatchString(r.revision) || !filepath.IsLocal(r.revision) || filepath.Clean(r.revision) != r.revision || strings.Contains(r.revision, "..") {
		return &InvalidError{fmt.Sprintf("%q is no revision: write a branch, a tag or a commit", r.revision)}
	}
	if r.file != "" && !isRepoFile(r.file) {
		return &InvalidError{fmt.Sprintf("%q is no file of a repository: write its path there, as in 1_Pooling/config.json", r.file)}
	}
	return nil
}

// isRepoFile tells whether a name, from a user or a server, is one that stays in its folder.
func isRepoFile(name string) bool {
	return name != "" && len(name) <= 1000 && filepath.IsLocal(name) && filepath.Clean(name) == name && name != "." &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f })
}
