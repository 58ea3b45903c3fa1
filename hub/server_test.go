package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const commit1 = "0123456789abcdef0123456789abcdef01234567"

// server is Hugging Face's hub with one repository, and a second host where its large files lie, and torchvision's
// weights.
type server struct {
	hub, storage *httptest.Server
	files        map[string][]byte
	large        map[string]bool // the files in large file storage
	commit       string

	mu       sync.Mutex
	requests []string                                                       // METHOD PATH of the hub's, and "storage PATH RANGE"
	token    string                                                         // asked for when not ""
	seen     map[string]string                                              // host: the Authorization it was sent last
	fault    func(w http.ResponseWriter, r *http.Request, body []byte) bool // for file contents; true: it answered
}

func newServer(t testing.TB) *server {
	s := &server{commit: commit1, seen: map[string]string{}, large: map[string]bool{"model.safetensors": true}}
	s.files = map[string][]byte{
		"config.json":       []byte(`{"model_type": "bert"}`),
		"vocab.txt":         []byte("[PAD]\n[UNK]\n"),
		"README.md":         []byte("# words\n"),
		"tf_model.h5":       []byte("not for us"),
		"pytorch_model.bin": []byte("older"),
		"model.safetensors": bytesOf(1, 200_000),
	}
	s.hub = httptest.NewServer(http.HandlerFunc(s.serveHub))
	s.storage = httptest.NewServer(http.HandlerFunc(s.serveStorage))
	t.Cleanup(func() { s.hub.Close(); s.storage.Close() })
	return s
}

func bytesOf(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	data := make([]byte, n)
	rand.NewChaCha8(key).Read(data)
	return data
}

func (s *server) note(r string, host string, authorization string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	s.seen[host] = authorization
}

// failWith makes fault answer for files from now on; nil: none.
func (s *server) failWith(fault func(w http.ResponseWriter, r *http.Request, body []byte) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// count tells how many requests begin like this.
func (s *server) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func (s *server) etag(name string) string {
	data := s.files[name]
	if s.large[name] {
		return sha256Of(data)
	}
	return gitBlob(data)
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func gitBlob(data []byte) string {
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:])
}

func (s *server) serveHub(w http.ResponseWriter, r *http.Request) {
	s.note(r.Method+" "+r.URL.Path, "hub", r.Header.Get("Authorization"))
	if s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		w.Header().Set("X-Error-Code", "GatedRepo")
		w.WriteHeader(401)
		return
	}
	if repo, revision, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/models/"), "/revision/"); ok {
		switch {
		case repo == "old/words":
			http.Redirect(w, r, "/api/models/org/words/revision/"+revision, http.StatusTemporaryRedirect)
		case repo != "org/words" && repo != "bert-base-uncased":
			w.Header().Set("X-Error-Code", "RepoNotFound")
			w.WriteHeader(404)
		case revision != "main" && revision != "refs/pr/1" && revision != s.commit:
			w.Header().Set("X-Error-Code", "RevisionNotFound")
			w.WriteHeader(404)
		default:
			type sibling struct {
				Name string `json:"rfilename"`
			}
			list := map[string]any{"id": repo, "sha": s.commit}
			var siblings []sibling
			for name := range s.files {
				siblings = append(siblings, sibling{name})
			}
			list["siblings"] = siblings
			json.NewEncoder(w).Encode(list)
		}
		return
	}
	if name, ok := strings.CutPrefix(r.URL.Path, "/torchvision/"); ok {
		s.send(w, r, s.files[name], fmt.Sprintf("%q", gitBlob(s.files[name])[:12]))
		return
	}
	repo, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/")
	_, name, _ := strings.Cut(strings.TrimPrefix(rest, "refs/pr/"), "/")
	if repo == "old/words" {
		http.Redirect(w, r, "/org/words/resolve/"+rest, http.StatusTemporaryRedirect)
		return
	}
	data, found := s.files[name]
	w.Header().Set("X-Repo-Commit", s.commit)
	if !found {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		w.WriteHeader(404)
		return
	}
	if s.large[name] {
		w.Header().Set("X-Linked-Etag", `"`+s.etag(name)+`"`)
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
		http.Redirect(w, r, s.storage.URL+"/"+name+"?signature=secret", http.StatusFound)
		return
	}
	s.send(w, r, data, `"`+s.etag(name)+`"`)
}

func (s *server) serveStorage(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.note("storage "+name+" "+r.Header.Get("Range"), "storage", r.Header.Get("Authorization"))
	s.send(w, r, s.files[name], `"`+sha256Of([]byte(sha256Of(s.files[name])))+`"`) // as the real one: a hash, but of something else
}

func (s *server) send(w http.ResponseWriter, r *http.Request, data []byte, etag string) {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if r.Method == http.MethodGet && fault != nil && fault(w, r, data) {
		return
	}
	w.Header().Set("ETag", etag)
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(data)))
}

// client is a hub that asks this server, in a hurry, with folders of its own.
func (s *server) client(t testing.TB) *Hub {
	folder := t.TempDir()
	return &Hub{Endpoint: s.hub.URL, Torchvision: s.hub.URL + "/torchvision/", Cache: filepath.Join(folder, "hf"), Checkpoints: filepath.Join(folder, "torch"), pace: new(hurry)}
}

var hurry = pace{stall: 5 * time.Second, backoff: time.Millisecond, longest: 3 * time.Second, tries: 6, again: 2, poll: 5 * time.Millisecond}

// leftovers are the files below a folder that are neither locks nor final.
func leftovers(t testing.TB, folder string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if strings.Contains(d.Name(), incomplete) || strings.HasPrefix(d.Name(), ".thaw-") {
			out = append(out, d.Name())
		}
		return err
	}))
	return out
}

// recorder is a Progress that adds up.
type recorder struct {
	mu          sync.Mutex
	begun, here int64
	notes       []string
	files       []string
	open        int
}

func (p *recorder) Begin(file string, total, have int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun, p.here = total, have
	p.files = append(p.files, file)
	p.open++
}

func (p *recorder) Advance(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.here += n
}

func (p *recorder) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open--
}

func (p *recorder) Note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, text)
}
