package hub

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
