package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// repository is a model repository in huggingface_hub's cache:
//
//	models--ORG--NAME/blobs/HASH               a file's content
//	models--ORG--NAME/refs/REVISION            the commit that a branch or tag is
//	models--ORG--NAME/snapshots/COMMIT/FILE    a link to a blob
//	.locks/models--ORG--NAME/HASH.lock
type repository struct {
	hub *Hub
	repoRequest
	folder string
}

func (h *Hub) repository(r repoRequest) repository {
	return repository{h, r, filepath.Join(h.Cache, "models--"+strings.ReplaceAll(r.name, "/", "--"))}
}

// String names the repository, and the revision where it is not the usual one.
func (r repository) String() string {
	if r.revision == "main" {
		return r.name
	}
	return r.name + "@" + r.revision
}

// download brings the files here and gives the snapshot's folder, or the one file's path.
func (r repository) download(ctx context.Context, progress Progress) (string, error) {
	here, err := r.cached()
	if r.hub.Offline || err == nil && r.file != "" && commitName.MatchString(r.revision) { // a commit does not change
		return here, err
	}
	c := r.hub.client()
	defer c.close()
	brought, err := r.fetch(ctx, c, progress)
	if unreachable, ok := errors.AsType[*NetworkError](err); ok && here != "" && ctx.Err() == nil {
		progress.Note(fmt.Sprintf("%s was not reached: %s is taken as it is here, perhaps not the newest", unreachable.Host, r))
		return here, nil
	}
	return brought, err
}

func (r repository) fetch(ctx context.Context, c *client, progress Progress) (string, error) {
	var commit, result string
	if r.file != "" {
		info, err := r.lookUp(ctx, c, r.revision, r.file, progress)
		if err != nil {
			return "", err
		}
		if result, err = r.bring(ctx, c, info, progress); err != nil {
			return "", err
		}
		commit = info.commit
	} else {
		var files []string
		var err error
		if commit, files, err = r.list(ctx, c, progress); err != nil {
			return "", err
		}
		if err := r.bringAll(ctx, c, commit, files, progress); err != nil {
			return "", err
		}
		result = r.snapshot(commit)
	}
	// Only now: until all of it is here, the revision stays what it was.
	return result, r.writeRef(commit)
}

func (r repository) snapshot(commit string) string {
	return filepath.Join(r.folder, "snapshots", commit)
}

// list asks what files a revision has.
func (r repository) list(ctx context.Context, c *client, progress Progress) (commit string, files []string, err error) {
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	address := fmt.Sprintf("%s/api/models/%s/revision/%s", r.hub.Endpoint, r.name, url.PathEscape(r.revision))
	if err := c.getJSON(ctx, address, r.String(), progress, &answer); err != nil {
		return "", nil, err
	}
	if !commitName.MatchString(answer.SHA) {
		return "", nil, fmt.Errorf("%s: %s names no commit: is it Hugging Face's hub, or a mirror of it (HF_ENDPOINT)?", r, address)
	}
	for _, s := range answer.Siblings {
		files = append(files, s.Name)
	}
	return answer.SHA, files, nil
}

// sideFiles are what a model or its tokenizer is loaded with, beside the weights.
var sideFiles = []string{
	"config.json", "preprocessor_config.json",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt",
	"spiece.model", "sentencepiece.bpe.model",
	"modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json", // sentence-transformers
}

// weightFiles are the formats of weights, the best first; an index names the shards beside it.
var weightFiles = []string{"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"}

func isIndex(name string) bool { return strings.HasSuffix(name, ".index.json") }

// bringAll brings what a model needs of files.
func (r repository) bringAll(ctx context.Context, c *client, commit string, files []string, progress Progress) error {
	best := slices.IndexFunc(weightFiles, func(w string) bool { return slices.Contains(files, w) })
	if best < 0 {
		return fmt.Errorf("%s: it has no weights that can be read: none of %s; its files are %s", r, suggest.List(weightFiles), suggest.List(files))
	}
	if !slices.Contains(files, "config.json") {
		return fmt.Errorf("%s: it has no config.json, and so is no model that can be loaded; its files are %s", r, suggest.List(files))
	}
	wanted := slices.DeleteFunc(slices.Clone(sideFiles), func(s string) bool { return !slices.Contains(files, s) })
	wanted = append(wanted, weightFiles[best])
	bring := func(name string) (string, error) {
		if at := filepath.Join(r.snapshot(commit), name); exists(at) {
			return at, nil
		}
		info, err := r.lookUp(ctx, c, commit, name, progress)
		if err != nil {
			return "", err
		}
		return r.bring(ctx, c, info, progress)
	}
	at := ""
	for _, name := range wanted {
		var err error
		if at, err = bring(name); err != nil {
			return err
		}
	}
	if !isIndex(weightFiles[best]) {
		return nil
	}
	shards, err := readIndex(at)
	if err != nil {
		return fmt.Errorf("%s: %w", r, err)
	}
	for _, name := range shards {
		if _, err := bring(name); err != nil {
			return err
		}
	}
	return nil
}

// readIndex gives the shards that an index names.
func readIndex(at string) ([]string, error) {
	data, err := os.ReadFile(at)
	if err != nil {
		return nil, err
	}
	var index struct {
		Weights map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(at), err)
	}
	var shards []string
	for _, name := range index.Weights {
		if !isRepoFile(name) {
			return nil, fmt.Errorf("%s: %s is no file's name", filepath.Base(at), suggest.Quote(name))
		}
		shards = append(shards, name)
	}
	slices.Sort(shards)
	if len(shards) == 0 {
		return nil, fmt.Errorf("%s: weight_map names no file", filepath.Base(at))
	}
	return slices.Compact(shards), nil
}

// remote is what the hub says of a file.
type remote struct {
	name, url, commit string
	etag              string // the hash: what the blob is named
	checksum          checksum
	size              int64 // -1: not told
}

// lookUp asks about a file. The hub answers with a redirect to where large files lie; what it says of the file stands
// in its own headers, and those of the other host mean something else.
func (r repository) lookUp(ctx context.Context, c *client, revision, name string, progress Progress) (remote, error) {
	f := remote{name: name, size: -1}
	escaped := strings.Split(name, "/")
	for i := range escaped {
		escaped[i] = url.PathEscape(escaped[i])
	}
	f.url = fmt.Sprintf("%s/%s/resolve/%s/%s", r.hub.Endpoint, r.name, url.PathEscape(revision), path.Join(escaped...))
	what := r.String() + ": " + name
	return f, c.ask(ctx, http.MethodHead, f.url, what, progress, func(a answer) error {
		header := func(name string) string {
			// A renamed repository, or the hub's own cache, redirects within the hub; any of its answers may tell.
			for resp := a.Response; resp != nil; resp = resp.Request.Response {
				if v := resp.Header.Get(name); v != "" {
					return v
				}
			}
			return ""
		}
		f.commit = header("X-Repo-Commit")
		f.etag = strings.Trim(strings.TrimPrefix(or(header("X-Linked-Etag"), a.Header.Get("ETag")), "W/"), `"`)
		if !commitName.MatchString(f.commit) || commitName.MatchString(revision) && f.commit != revision {
			return fmt.Errorf("%s: %s names no commit for it (X-Repo-Commit %q): is it Hugging Face's hub, or a mirror of it (HF_ENDPOINT)?", what, f.url, f.commit)
		}
		var known bool
		if f.checksum, known = checksumOf(f.etag); !known {
			return fmt.Errorf("%s: the server gives no hash to check it with (ETag %q): is it Hugging Face's hub, or a mirror of it (HF_ENDPOINT)?", what, f.etag)
		}
		length := header("X-Linked-Size")
		if length == "" && a.StatusCode == http.StatusOK {
			length = a.Header.Get("Content-Length")
		}
		if n, err := strconv.ParseInt(length, 10, 64); err == nil && n >= 0 {
			f.size = n
		}
		f.url = strings.Replace(f.url, "/resolve/"+url.PathEscape(revision)+"/", "/resolve/"+f.commit+"/", 1)
		return nil
	})
}

// bring downloads a file's blob and links it into its snapshot; it gives the link's path.
func (r repository) bring(ctx context.Context, c *client, f remote, progress Progress) (string, error) {
	blob := filepath.Join(r.folder, "blobs", f.etag)
	t := transfer{client: c, what: f.name, url: f.url, final: blob, size: f.size, checksum: f.checksum, progress: progress,
		lock: filepath.Join(r.hub.Cache, ".locks", filepath.Base(r.folder), f.etag+".lock")}
	if err := t.run(ctx); err != nil {
		return "", fmt.Errorf("%s: %w", r, err)
	}
	link := filepath.Join(r.snapshot(f.commit), filepath.FromSlash(f.name))
	target, err := filepath.Rel(filepath.Dir(link), blob)
	if err == nil {
		err = writeLink(target, link)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", r, f.name, err)
	}
	return link, nil
}

// writeLink makes link point to target, in one step whatever was there.
func writeLink(target, link string) error {
	if now, err := os.Readlink(link); err == nil && now == target {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o777); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(filepath.Dir(link), ".thaw-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := os.Symlink(target, filepath.Join(temporary, "link")); err != nil {
		return err
	}
	return os.Rename(filepath.Join(temporary, "link"), link)
}

// writeRef notes which commit the revision is.
func (r repository) writeRef(commit string) error {
	if r.revision == commit {
		return nil
	}
	ref := filepath.Join(r.folder, "refs", filepath.FromSlash(r.revision))
	if now, err := os.ReadFile(ref); err == nil && string(now) == commit {
		return nil // the cache may be read-only
	}
	if err := os.MkdirAll(filepath.Dir(ref), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(ref, func(w io.Writer) error {
		_, err := io.WriteString(w, commit)
		return err
	})
}

// cached gives what download gives, from what is here alone.
func (r repository) cached() (string, error) {
	missing := func(what string) error { return &OfflineError{What: what + " of " + r.String(), Where: r.folder} }
	commit := r.revision
	if !commitName.MatchString(commit) {
		ref, err := os.ReadFile(filepath.Join(r.folder, "refs", filepath.FromSlash(r.revision)))
		commit = strings.TrimSpace(string(ref))
		if err != nil || !commitName.MatchString(commit) {
			return "", missing("revision " + r.revision)
		}
	}
	folder := r.snapshot(commit)
	if r.file != "" {
		if at := filepath.Join(folder, filepath.FromSlash(r.file)); exists(at) {
			return at, nil
		}
		return "", missing("file " + r.file)
	}
	if !exists(filepath.Join(folder, "config.json")) {
		return "", missing("config.json")
	}
	for _, name := range weightFiles {
		at := filepath.Join(folder, name)
		if !exists(at) {
			continue
		}
		if !isIndex(name) {
			return folder, nil
		}
		shards, err := readIndex(at)
		if err == nil && !slices.ContainsFunc(shards, func(s string) bool { return !exists(filepath.Join(folder, filepath.FromSlash(s))) }) {
			return folder, nil
		}
	}
	return "", missing("the weights (" + strings.Join(weightFiles, ", ") + ")")
}
