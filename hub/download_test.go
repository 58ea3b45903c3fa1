package hub

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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

// A mirror may send to the hub, which then tells.
func TestMirror(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "Bearer hf_mirror", r.Header.Get("Authorization"))
		http.Redirect(w, r, s.hub.URL+r.URL.Path, http.StatusPermanentRedirect)
	}))
	defer mirror.Close()
	h.Endpoint, h.Token = mirror.URL, "hf_mirror"
	at, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	require.NoError(t, err)
	assert.Equal(t, string(s.files["model.safetensors"]), read(t, filepath.Join(at, "model.safetensors")))
	assert.Equal(t, map[string]string{"hub": "", "storage": ""}, s.seen)
}

// The token opens gated repositories and goes to the hub alone, though net/http would send it to another port too.
func TestToken(t *testing.T) {
	s := newServer(t)
	s.token = "hf_secret"
	h := s.client(t)
	_, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	require.ErrorAs(t, err, new(*StatusError))
	assert.ErrorContains(t, err, "org/words: the server answered 401 Unauthorized ("+s.hub.URL+"/api/models/org/words/revision/main); the repository is gated: accept its terms on its page, and give a token that may read it in HF_TOKEN")
	h.Token = "hf_secret"
	_, err = h.Download(t.Context(), Request{Name: "org/words"}, nil)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"hub": "Bearer hf_secret", "storage": ""}, s.seen)

	s.files["resnet18-f37072fd.pth"] = []byte("weights")
	h.Torchvision = s.storage.URL + "/"
	_, err = h.Download(t.Context(), Request{Name: "resnet18"}, nil)
	assert.Error(t, err, "wrong bytes")
	assert.Empty(t, s.seen["storage"])
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

// fetchCheckpoint downloads a file the way torchvision's weights are: of unknown size, with the first digits of its hash.
func (h *Hub) fetchCheckpoint(t testing.TB, s *server, data []byte) (string, error) {
	s.files["w.pth"] = data
	tr := h.checkpoint(t, s, data)
	return tr.final, tr.run(t.Context())
}

func (h *Hub) checkpoint(t testing.TB, s *server, data []byte) *transfer {
	c := h.client()
	t.Cleanup(c.close)
	return &transfer{client: c, what: "w.pth", url: s.hub.URL + "/torchvision/w.pth", final: filepath.Join(h.Checkpoints, "w.pth"), size: -1,
		checksum: checksum{want: sha256Of(data)[:8]}, lock: filepath.Join(h.Checkpoints, ".locks", "w.pth.lock"), progress: new(recorder)}
}

// An interrupted download leaves what came, and the next goes on from there; a file that changed meanwhile is begun anew.
func TestResume(t *testing.T) {
	s := newServer(t)
	data := s.files["model.safetensors"]
	h := s.client(t)
	blob := filepath.Join(h.Cache, "models--org--words", "blobs", s.etag("model.safetensors"))
	ctx, stop := context.WithCancel(t.Context())
	s.failWith(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if len(body) != len(data) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:50_000])
		w.(http.Flusher).Flush()
		for r.Context().Err() == nil {
			if info, err := os.Stat(blob + incomplete); err == nil && info.Size() == 50_000 {
				stop()
			}
			time.Sleep(time.Millisecond)
		}
		return true
	})
	_, err := h.Download(ctx, Request{Name: "org/words"}, nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []string{filepath.Base(blob) + incomplete}, leftovers(t, h.Cache))
	assert.NoFileExists(t, blob)
	assert.NoFileExists(t, filepath.Join(h.Cache, "models--org--words", "refs", "main"), "not before all is here")
	part, err := os.ReadFile(blob + incomplete)
	require.NoError(t, err)
	assert.Equal(t, data[:50_000], part)

	s.failWith(nil)
	var p recorder
	_, err = h.Download(t.Context(), Request{Name: "org/words"}, &p)
	require.NoError(t, err)
	assert.Equal(t, 1, s.count("storage model.safetensors bytes=50000-"))
	assert.Equal(t, int64(200_000), p.here)
	assert.Equal(t, string(data), read(t, blob))
	assert.Empty(t, leftovers(t, h.Cache))

	for _, c := range []struct {
		name string
		part []byte
		gets int // of the whole or of a range
	}{
		{"all of it is here", data, 0},
		{"more than all", append(bytesOf(3, 1), data...), 1},
		{"other bytes", bytesOf(2, 70_000), 2},
		{"other bytes, all of them", bytesOf(2, len(data)), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t)
			h := s.client(t)
			blob := filepath.Join(h.Cache, "models--org--words", "blobs", s.etag("model.safetensors"))
			require.NoError(t, os.MkdirAll(filepath.Dir(blob), 0o755))
			require.NoError(t, os.WriteFile(blob+incomplete, c.part, 0o644))
			_, err := h.Download(t.Context(), Request{Name: "org/words", File: "model.safetensors"}, nil)
			require.NoError(t, err)
			assert.Equal(t, c.gets, s.count("storage"))
			assert.Equal(t, string(data), read(t, blob))
		})
	}
	t.Run("all of it is here, and its size is not known", func(t *testing.T) {
		h := s.client(t)
		require.NoError(t, os.MkdirAll(h.Checkpoints, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(h.Checkpoints, "w.pth"+incomplete), data, 0o644))
		before := s.count("GET /torchvision/w.pth")
		_, err := h.fetchCheckpoint(t, s, data)
		require.NoError(t, err)
		assert.Equal(t, before+1, s.count("GET /torchvision/w.pth"))
	})
	t.Run("the file changes between two tries", func(t *testing.T) {
		h := s.client(t)
		s.files["w.pth"] = bytesOf(7, 90_000)
		broken := 0
		s.failWith(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if broken++; broken > 1 {
				assert.NotEmpty(t, r.Header.Get("If-Range"))
				return false
			}
			w.Header().Set("ETag", `"another"`)
			w.Header().Set("Content-Length", "90000")
			w.Write(body[:30_000])
			s.files["w.pth"] = data
			return true
		})
		tr := h.checkpoint(t, s, data)
		require.NoError(t, tr.run(t.Context()))
		assert.Equal(t, 2, broken, "one request for the whole new file, and no third")
		assert.Equal(t, string(data), read(t, tr.final))
		assert.Equal(t, int64(len(data)), tr.progress.(*recorder).here)
		s.failWith(nil)
	})
}

// A server that asks to wait is waited for; one that asks for too long is told of.
func TestBusyServers(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	for _, c := range []struct {
		code  int
		after string
		least time.Duration
		want  string
	}{
		{429, "1", 900 * time.Millisecond, ""},
		{503, "0", 0, ""},
		{500, "", 0, ""},
		{429, "3600", 0, "the server answered 429 Too Many Requests and wishes to be asked again in 1h0m0s only; try again then"},
		{410, "", 0, "config.json: the server answered 410 Gone"},
	} {
		answered := 0
		s.failWith(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
			if answered++; answered > 1 {
				return false
			}
			if c.after != "" {
				w.Header().Set("Retry-After", c.after)
			}
			w.WriteHeader(c.code)
			return true
		})
		h.Cache = t.TempDir()
		began := time.Now()
		var p recorder
		_, err := h.Download(t.Context(), Request{Name: "org/words", File: "config.json"}, &p)
		if c.want != "" {
			assert.ErrorContains(t, err, c.want)
			assert.Equal(t, 1, answered)
			continue
		}
		require.NoError(t, err, "%d", c.code)
		assert.GreaterOrEqual(t, time.Since(began), c.least)
		assert.Equal(t, c.least > 0, len(p.notes) > 0)
	}
	s.failWith(func(w http.ResponseWriter, r *http.Request, body []byte) bool { w.WriteHeader(502); return true })
	h.Cache = t.TempDir()
	_, err := h.Download(t.Context(), Request{Name: "org/words", File: "config.json"}, nil)
	assert.ErrorContains(t, err, "did not answer to the end (tries: 6): the server answered 502 Bad Gateway; check the network")
	assert.Empty(t, leftovers(t, h.Cache), "an empty .incomplete is not kept")
}

// drip is a server whose bodies come a tenth at a time; with never, not to the end. Its time is a bubble's.
type drip struct {
	data  string
	each  time.Duration
	never bool
	gets  int
}

func (d *drip) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{"Etag": {`"` + gitBlob([]byte(d.data)) + `"`}, "X-Repo-Commit": {commit1}},
		ContentLength: int64(len(d.data)), Request: r, Body: http.NoBody}
	if r.Method == http.MethodGet {
		d.gets++
		resp.Body = io.NopCloser(&dripping{d, r.Context(), 0})
	}
	return resp, nil
}

type dripping struct {
	*drip
	ctx context.Context
	at  int
}

func (d *dripping) Read(p []byte) (int, error) {
	if d.never && d.at > 0 {
		<-d.ctx.Done()
		return 0, d.ctx.Err()
	}
	if d.at == len(d.data) {
		return 0, io.EOF
	}
	time.Sleep(d.each)
	n := copy(p, d.data[d.at:d.at+len(d.data)/10])
	d.at += n
	return n, nil
}

// A server that stops is given up; one that is slow is not. With the usual patience, in a bubble's time.
func TestStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &drip{data: strings.Repeat("0123456789", 100), each: 20 * time.Second}
		h := &Hub{Endpoint: "http://hub", Cache: t.TempDir(), Transport: server}
		began := time.Now()
		at, err := h.Download(t.Context(), Request{Name: "org/words", File: "config.json"}, nil)
		require.NoError(t, err)
		assert.Equal(t, server.data, read(t, at))
		assert.Equal(t, 1, server.gets)
		assert.Equal(t, 200*time.Second, time.Since(began))

		server = &drip{data: server.data, never: true}
		h.Cache, h.Transport = t.TempDir(), server
		began = time.Now()
		var p recorder
		_, err = h.Download(t.Context(), Request{Name: "org/words", File: "config.json"}, &p)
		require.ErrorAs(t, err, new(*NetworkError))
		assert.ErrorContains(t, err, "hub was not reached, or did not answer to the end (tries: 6): not a byte came for 30s; check the network")
		assert.Contains(t, strings.Join(p.notes, "\n"), "config.json: not a byte came for 30s; trying again in ")
		waited := time.Since(began)
		assert.Greater(t, waited, 6*30*time.Second)
		assert.Less(t, waited, 6*30*time.Second+time.Minute)
	})
}

// Nothing is asked of any network: the transport would fail the test, and nobody connects to the server.
func TestOffline(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	var accepted atomic.Int32
	go func() {
		for {
			if _, err := listener.Accept(); err != nil {
				return
			}
			accepted.Add(1)
		}
	}()
	folder := t.TempDir()
	address := "http://" + listener.Addr().String()
	h := &Hub{Endpoint: address, Torchvision: address + "/", Cache: folder, Checkpoints: folder, Offline: true, Transport: noTransport{t}}
	for _, r := range []Request{{Name: "resnet50"}, {Name: "org/words"}, {Name: "bert-base-uncased"}, {Name: "org/words", File: "config.json"}, {Name: "org/words", Revision: commit1}} {
		_, err := h.Download(t.Context(), r, nil)
		require.ErrorAs(t, err, new(*OfflineError), "%+v", r)
		assert.ErrorContains(t, err, "is not here: "+folder)
		assert.ErrorContains(t, err, "leave offline mode (--offline, THAW_OFFLINE, HF_HUB_OFFLINE)")
	}
	s := newServer(t)
	online := s.client(t)
	at, err := online.Download(t.Context(), Request{Name: "bert-base-uncased"}, nil)
	require.NoError(t, err)
	h.Cache = online.Cache
	got, err := h.Download(t.Context(), Request{Name: "bert-base-uncased"}, nil)
	require.NoError(t, err)
	assert.Equal(t, at, got)
	m, err := Find("bert-base-uncased")
	require.NoError(t, err)
	assert.Equal(t, at, h.Cached(m))
	got, err = h.Download(t.Context(), Request{Name: "bert-base-uncased@" + commit1, File: "vocab.txt"}, nil)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(at, "vocab.txt"), got)
	assert.Zero(t, accepted.Load())
}

type noTransport struct{ t testing.TB }

func (n noTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("offline, %s was asked for", r.URL)
	return nil, net.ErrClosed
}

func TestFullDisk(t *testing.T) {
	s := newServer(t)
	data := bytesOf(4, 100_000)
	h := s.client(t)
	tr := h.checkpoint(t, s, data)
	s.files["w.pth"] = data
	tr.client.free = func(string) (int64, bool) { return 60_000, true }
	err := tr.run(t.Context())
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.EqualError(t, err, "w.pth: "+h.Checkpoints+": no space left on device: 100000 bytes more are needed, 60000 bytes are free")
	assert.Empty(t, leftovers(t, h.Checkpoints))

	tr = h.checkpoint(t, s, data) // a disk that fills up meanwhile
	require.NoError(t, os.Symlink("/dev/full", tr.final+incomplete))
	err = tr.run(t.Context())
	require.ErrorIs(t, err, syscall.ENOSPC)
	assert.ErrorContains(t, err, "w.pth: "+h.Checkpoints+": no space left on device")
	assert.NoFileExists(t, tr.final)
	os.Remove(tr.final + incomplete)
	require.NoError(t, h.checkpoint(t, s, data).run(t.Context()))
}

func TestFoldersThatCannotBeWritten(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	h.Cache = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(h.Cache, nil, 0o644))
	_, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	assert.ErrorContains(t, err, "org/words: config.json: make a folder for it: mkdir "+h.Cache+": not a directory")
}
