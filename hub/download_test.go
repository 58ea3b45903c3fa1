package hub

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestDownloadRepository(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	var p recorder
	at, err := h.Download(t.Context(), Request{Name: "org/words"}, &p)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(h.Cache, "models--org--words", "snapshots", commit1), at)
	entries, err := os.ReadDir(at)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		assert.Equal(t, string(s.files[e.Name()]), read(t, filepath.Join(at, e.Name())))
		link, err := os.Readlink(filepath.Join(at, e.Name()))
		require.NoError(t, err)
		assert.Equal(t, "../../blobs/"+s.etag(e.Name()), link)
	}
	assert.Equal(t, []string{"config.json", "model.safetensors", "vocab.txt"}, names, "safetensors before pytorch_model.bin; no README")
	assert.Equal(t, commit1, read(t, filepath.Join(h.Cache, "models--org--words", "refs", "main")))
	assert.Equal(t, names[:1], p.files[:1])
	assert.Equal(t, []int64{200_000, 200_000, 0}, []int64{p.begun, p.here, int64(p.open)})
	assert.Empty(t, leftovers(t, h.Cache))

	// Again: the revision is looked up, nothing is downloaded.
	before := s.count("storage")
	again, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	require.NoError(t, err)
	assert.Equal(t, at, again)
	assert.Equal(t, before, s.count("storage"))
	assert.Equal(t, 2, s.count("GET /api/models/org/words/revision/main"))

	// A new commit changes one file; the others are not downloaded again, and the old snapshot stays.
	s.commit = strings.Repeat("f", 40)
	s.files["vocab.txt"] = []byte("[PAD]\n[UNK]\nword\n")
	newer, err := h.Download(t.Context(), Request{Name: "org/words@main"}, nil)
	require.NoError(t, err)
	assert.NotEqual(t, at, newer)
	assert.Equal(t, before, s.count("storage"))
	assert.Equal(t, string(s.files["vocab.txt"]), read(t, filepath.Join(newer, "vocab.txt")))
	assert.Equal(t, "[PAD]\n[UNK]\n", read(t, filepath.Join(at, "vocab.txt")))

	// The hub goes away: what is here does, and that is said.
	s.hub.Close()
	p = recorder{}
	last, err := h.Download(t.Context(), Request{Name: "org/words"}, &p)
	require.NoError(t, err)
	assert.Equal(t, newer, last)
	assert.Contains(t, strings.Join(p.notes, "\n"), "org/words is taken as it is here, perhaps not the newest")
	_, err = h.Download(t.Context(), Request{Name: "org/words@v2"}, nil)
	require.ErrorAs(t, err, new(*NetworkError))
	assert.Contains(t, err.Error(), "org/words@v2: "+hostOf(s.hub.URL)+" was not reached")
	assert.Contains(t, err.Error(), "connection refused; check the network (HTTPS_PROXY is followed), or work with what is here: --offline")
}

func TestDownloadOneFile(t *testing.T) {
	s := newServer(t)
	s.files["1_Pooling/config.json"] = []byte("{}")
	h := s.client(t)
	at, err := h.Download(t.Context(), Request{Name: "org/words", File: "1_Pooling/config.json", Revision: "refs/pr/1"}, nil)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(h.Cache, "models--org--words", "snapshots", commit1, "1_Pooling", "config.json"), at)
	link, err := os.Readlink(at)
	require.NoError(t, err)
	assert.Equal(t, "../../../blobs/"+gitBlob([]byte("{}")), link)
	assert.Equal(t, commit1, read(t, filepath.Join(h.Cache, "models--org--words", "refs", "refs", "pr", "1")))
	before := len(s.requests)
	_, err = h.Download(t.Context(), Request{Name: "org/words", File: "1_Pooling/config.json", Revision: commit1}, nil)
	require.NoError(t, err)
	assert.Len(t, s.requests, before, "a commit does not change: nothing is asked")
}

func TestDownloadShards(t *testing.T) {
	s := newServer(t)
	delete(s.files, "model.safetensors")
	s.files["model.safetensors.index.json"] = []byte(`{"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors", "c": "model-1.safetensors"}}`)
	s.files["model-1.safetensors"], s.files["model-2.safetensors"] = []byte("one"), []byte("two")
	h := s.client(t)
	at, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	require.NoError(t, err)
	assert.Equal(t, "one", read(t, filepath.Join(at, "model-1.safetensors")))
	assert.Equal(t, "two", read(t, filepath.Join(at, "model-2.safetensors")))
	h.Offline = true
	_, err = h.Download(t.Context(), Request{Name: "org/words"}, nil)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(at, "model-2.safetensors")))
	_, err = h.Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, "offline: the weights (model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json) of org/words is not here")

	s.files["model.safetensors.index.json"] = []byte(`{"weight_map": {"a": "../../../evil"}}`)
	_, err = s.client(t).Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, `model.safetensors.index.json: "../../../evil" is no file's name`)
	delete(s.files, "model.safetensors.index.json")
	delete(s.files, "pytorch_model.bin")
	_, err = s.client(t).Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, "org/words: it has no weights that can be read: none of \"model.safetensors\"")
	delete(s.files, "config.json")
	s.files["model.safetensors"] = []byte("x")
	_, err = s.client(t).Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, "org/words: it has no config.json")
}

func TestRenamedRepository(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	at, err := h.Download(t.Context(), Request{Name: "old/words"}, nil)
	require.NoError(t, err)
	assert.Contains(t, at, "models--old--words", "where Python looks for that name")
	assert.Equal(t, string(s.files["model.safetensors"]), read(t, filepath.Join(at, "model.safetensors")))
}

func TestWrongRequests(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	for _, c := range []struct {
		r    Request
		want string
	}{
		{Request{Name: "resnet5"}, `no model is named "resnet5"; did you mean "resnet50"? (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)`},
		{Request{Name: ""}, `no model is named ""`},
		{Request{Name: "resnet50", File: "x"}, "resnet50 is one file of torchvision's and no repository: it has no revision and no further file"},
		{Request{Name: "resnet50@main"}, "resnet50 is one file of torchvision's"},
		{Request{Name: "org/words@"}, `"org/words@": a revision is missing after the @`},
		{Request{Name: "org/words@a", Revision: "b"}, `"org/words@a" names one revision, and "b" is another`},
		{Request{Name: "org/words/more"}, `"org/words/more" is no repository's name: write org/name, of letters, digits, - _ and .`},
		{Request{Name: "../words"}, `"../words" is no repository's name`},
		{Request{Name: "org/a--b"}, `"org/a--b" is no repository's name`},
		{Request{Name: "org/words", Revision: "../../x"}, `"../../x" is no revision: write a branch, a tag or a commit`},
		{Request{Name: "org/words", Revision: "a//b"}, `"a//b" is no revision`},
		{Request{Name: "org/words", File: "../config.json"}, `"../config.json" is no file of a repository`},
		{Request{Name: "org/words", File: "/etc/passwd"}, `"/etc/passwd" is no file of a repository`},
		{Request{Name: "org/words", File: "a\\b"}, `is no file of a repository`},
		{Request{Name: "org/none"}, "org/none: the server answered 404 Not Found (" + s.hub.URL + "/api/models/org/none/revision/main); there is no such repository"},
		{Request{Name: "org/words@v9"}, "the repository has no such revision (a branch, a tag or a commit)"},
		{Request{Name: "org/words", File: "x.json"}, "org/words: x.json: the server answered 404 Not Found (" + s.hub.URL + "/org/words/resolve/main/x.json); the repository has no such file at this revision"},
	} {
		_, err := h.Download(t.Context(), c.r, nil)
		assert.ErrorContains(t, err, c.want, "%+v", c.r)
	}
	assert.NoDirExists(t, h.Cache)
	assert.NoDirExists(t, h.Checkpoints)
	h.Endpoint = "hub.example"
	_, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, `"hub.example/api/models/org/words/revision/main" is no address: it begins with http:// or https:// (HF_ENDPOINT, THAW_TORCHVISION)`)
}

// A server that is no hub, or whose files cannot be checked.
func TestNoHub(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	h.pace.tries = 2
	s.commit = "main"
	_, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, "names no commit: is it Hugging Face's hub, or a mirror of it (HF_ENDPOINT)?")
	_, err = h.Download(t.Context(), Request{Name: "org/words", File: "config.json"}, nil)
	assert.ErrorContains(t, err, "names no commit for it (X-Repo-Commit \"main\")")
	s.commit = commit1
	other := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Repo-Commit", commit1)
		w.Header().Set("ETag", `W/"12-34"`)
	})
	s.hub.Config.Handler = other
	_, err = h.Download(t.Context(), Request{Name: "org/words", File: "config.json"}, nil)
	assert.ErrorContains(t, err, `the server gives no hash to check it with (ETag "12-34")`)
	_, err = h.Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, "is no such JSON as Hugging Face's hub gives")
	assert.NoDirExists(t, h.Cache)
}

func TestDownloadCheckpoint(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	m, err := Find("resnet18")
	require.NoError(t, err)
	s.files[m.File()] = []byte("not the weights")
	_, err = h.Download(t.Context(), Request{Name: "resnet18"}, nil)
	wrong := new(*HashError)
	require.ErrorAs(t, err, wrong)
	assert.Equal(t, HashError{File: "resnet18-f37072fd.pth", URL: h.Torchvision + "resnet18-f37072fd.pth", Want: "f37072fd", Got: sha256Of([]byte("not the weights"))}, **wrong)
	assert.Contains(t, err.Error(), "nothing was kept")
	assert.NoFileExists(t, filepath.Join(h.Checkpoints, m.File()))
	assert.Empty(t, leftovers(t, h.Checkpoints))
	assert.Equal(t, 1+h.pace.again, s.count("GET /torchvision/"))
	assert.Empty(t, h.Cached(m))

	at, err := h.fetchCheckpoint(t, s, []byte("the weights"))
	require.NoError(t, err)
	assert.Equal(t, "the weights", read(t, at))
	info, err := os.Stat(at)
	require.NoError(t, err)
	assert.Zero(t, info.Mode().Perm()&0o111)

	require.NoError(t, os.WriteFile(filepath.Join(h.Checkpoints, m.File()), []byte("Python's"), 0o644))
	before := len(s.requests)
	at, err = h.Download(t.Context(), Request{Name: "ResNet18"}, nil)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(h.Checkpoints, "resnet18-f37072fd.pth"), at)
	assert.Equal(t, at, h.Cached(m))
	assert.Len(t, s.requests, before)
}
