package hub

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFromEnvironment(t *testing.T) {
	home := t.TempDir()
	all := []string{"HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
		"TORCH_HOME", "XDG_CACHE_HOME", "THAW_OFFLINE", "THAW_TORCHVISION"}
	for _, c := range []struct {
		set  map[string]string
		want Hub
	}{
		{nil, Hub{Cache: home + "/.cache/huggingface/hub", Checkpoints: home + "/.cache/torch/hub/checkpoints"}},
		{map[string]string{"XDG_CACHE_HOME": "/x"}, Hub{Cache: "/x/huggingface/hub", Checkpoints: "/x/torch/hub/checkpoints"}},
		{map[string]string{"HF_HOME": "~/hf", "TORCH_HOME": "$HOME/t"}, Hub{Cache: home + "/hf/hub", Checkpoints: home + "/t/hub/checkpoints"}},
		{map[string]string{"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/c"}, Hub{Cache: "/c", Checkpoints: home + "/.cache/torch/hub/checkpoints"}},
		{map[string]string{"HF_HUB_CACHE": "/d", "HUGGINGFACE_HUB_CACHE": "/c", "TORCH_HOME": "/t"}, Hub{Cache: "/d", Checkpoints: "/t/hub/checkpoints"}},
		{map[string]string{"HF_HUB_OFFLINE": "yes", "HF_HOME": "/hf", "TORCH_HOME": "/t"}, Hub{Cache: "/hf/hub", Checkpoints: "/t/hub/checkpoints", Offline: true}},
		{map[string]string{"THAW_OFFLINE": "1", "HF_HOME": "/hf", "TORCH_HOME": "/t"}, Hub{Cache: "/hf/hub", Checkpoints: "/t/hub/checkpoints", Offline: true}},
		{map[string]string{"TRANSFORMERS_OFFLINE": "true", "HF_HUB_OFFLINE": "0", "HF_HOME": "/hf", "TORCH_HOME": "/t"}, Hub{Cache: "/hf/hub", Checkpoints: "/t/hub/checkpoints", Offline: true}},
		{map[string]string{"HF_ENDPOINT": "http://mirror/", "HF_TOKEN": " hf_a\n", "HUGGING_FACE_HUB_TOKEN": "hf_b", "THAW_TORCHVISION": "http://m", "HF_HOME": "/hf", "TORCH_HOME": "/t"},
			Hub{Cache: "/hf/hub", Checkpoints: "/t/hub/checkpoints", Endpoint: "http://mirror", Token: "hf_a", Torchvision: "http://m/"}},
	} {
		t.Setenv("HOME", home)
		for _, name := range all {
			t.Setenv(name, c.set[name])
		}
		c.want.Endpoint = or(c.want.Endpoint, huggingFace)
		got, err := FromEnvironment()
		require.NoError(t, err)
		assert.Equal(t, &c.want, got, "%v", c.set)
	}
	for _, name := range all {
		t.Setenv(name, "")
	}
	hf := t.TempDir()
	t.Setenv("HF_HOME", hf)
	require.NoError(t, os.WriteFile(filepath.Join(hf, "token"), []byte("hf_file\n"), 0o600))
	h, err := FromEnvironment()
	require.NoError(t, err)
	assert.Equal(t, "hf_file", h.Token)
	t.Setenv("HF_TOKEN_PATH", hf)
	_, err = FromEnvironment()
	assert.ErrorContains(t, err, "read the token of Hugging Face's hub: read "+hf+": is a directory")
	t.Setenv("HF_TOKEN", "two words")
	_, err = FromEnvironment()
	assert.ErrorContains(t, err, "holds characters that no token has")
	assert.NotContains(t, err.Error(), "two")
	t.Setenv("HF_TOKEN", "")
	t.Setenv("HF_TOKEN_PATH", "")
	t.Setenv("HOME", "")
	_, err = FromEnvironment()
	assert.ErrorContains(t, err, "set HF_HOME and TORCH_HOME, or XDG_CACHE_HOME")
}

func TestRedirects(t *testing.T) {
	var seen []string
	a := httptest.NewServer(nil)
	b := httptest.NewServer(nil)
	defer a.Close()
	defer b.Close()
	a.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, "a"+r.URL.Path+" "+r.Header.Get("Authorization"))
		to := map[string]string{"/1": "/2", "/2": b.URL + "/3", "/round": "/round", "/down": "file:///etc/passwd"}[r.URL.Path]
		if to != "" {
			http.Redirect(w, r, to, http.StatusFound)
		}
	})
	b.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, "b"+r.URL.Path+" "+r.Header.Get("Authorization"))
		http.Redirect(w, r, a.URL+"/4", http.StatusFound)
	})
	h := &Hub{Endpoint: a.URL, Token: "secret"}
	c := h.client()
	defer c.close()
	answer, err := c.do(t.Context(), http.MethodGet, a.URL+"/1", http.Header{}, "x")
	require.NoError(t, err)
	answer.Close()
	assert.Equal(t, []string{"a/1 Bearer secret", "a/2 Bearer secret", "b/3 ", "a/4 "}, seen, "once it went elsewhere, the token stays behind")
	_, err = c.do(t.Context(), http.MethodGet, a.URL+"/round", http.Header{}, "x")
	assert.ErrorContains(t, err, "redirected 10 times")
	assert.True(t, c.givesUp(1, err))
	_, err = c.do(t.Context(), http.MethodGet, a.URL+"/down", http.Header{}, "x")
	assert.Error(t, err)

	secure := httptest.NewUnstartedServer(http.RedirectHandler(a.URL+"/4", http.StatusFound))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	_, err = c.do(t.Context(), http.MethodGet, secure.URL, http.Header{}, "x")
	assert.ErrorContains(t, err, "certificate")
	assert.True(t, c.givesUp(1, err), "trying again does not help")
	h.Transport = secure.Client().Transport
	_, err = h.client().do(t.Context(), http.MethodGet, secure.URL, http.Header{}, "x")
	assert.ErrorContains(t, err, "redirected from https to http")
}

func TestParseRange(t *testing.T) {
	for s, want := range map[string][2]int64{"bytes 5-9/10": {5, 10}, "bytes 0-0/1": {0, 1}, "bytes 5-9/*": {5, -1}} {
		from, total, ok := parseRange(s)
		assert.True(t, ok, s)
		assert.Equal(t, want, [2]int64{from, total}, s)
	}
	for _, s := range []string{"", "bytes", "bytes 5-9", "bytes 9-5/10", "bytes 5-8/10", "bytes -5-9/10", "bytes a-b/c", "items 5-9/10", "bytes */10", "bytes 5-99999999999999999999/10"} {
		_, _, ok := parseRange(s)
		assert.False(t, ok, s)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for s, want := range map[string]time.Duration{"7": 7 * time.Second, "0": 0, "": 0, "-1": 0, "soon": 0, "99999999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": 0} {
		got, _ := retryAfter(s, now)
		assert.Equal(t, want, got, s)
	}
}

func TestChecksums(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("test content\n"), 0o644))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	// git's book: `echo 'test content' | git hash-object --stdin`; and sha256sum of the same.
	for _, etag := range []string{"d670460b4b4aece5915caf5c68d12f560a9fe3e4", "a1fff0ffefb9eace7230c24e50731f0a91c62f9cefdfe77121c2f607125dffae"} {
		sum, ok := checksumOf(etag)
		require.True(t, ok)
		got, right, err := sum.of(t.Context(), f)
		require.NoError(t, err)
		assert.Equal(t, etag, got)
		assert.True(t, right)
	}
	got, right, err := checksum{want: "a1fff0fe"}.of(t.Context(), f)
	require.NoError(t, err)
	assert.False(t, right)
	assert.Equal(t, "a1fff0ff", got[:8])
	for _, etag := range []string{"", "d670", "D670460B4B4AECE5915CAF5C68D12F560A9FE3E4", "../../../../../../../../../../etc/passwd"} {
		_, ok := checksumOf(etag)
		assert.False(t, ok, etag)
	}
}

func FuzzRepositoryNames(f *testing.F) {
	for _, s := range []string{"org/words", "a/../b", "../x", "a@b", "x/y@refs/pr/1", "-", "a/b/c", "\x00/a", "org/words@../../x"} {
		f.Add(s, "main", "config.json")
	}
	f.Fuzz(func(t *testing.T, name, revision, file string) {
		h := &Hub{Cache: "/cache", Checkpoints: "/torch", Offline: true}
		repo, model, err := Request{Name: name, Revision: revision, File: file}.resolve()
		if err != nil || repo == nil {
			if err == nil && model.Name == "" {
				t.Fatal("neither a model nor a repository nor an error")
			}
			return
		}
		r := h.repository(*repo)
		if filepath.Dir(r.folder) != "/cache" {
			t.Fatalf("%q goes to %s", name, r.folder)
		}
		for _, at := range []string{filepath.Join(r.folder, "refs", repo.revision), filepath.Join(r.snapshot(commit1), repo.file)} {
			if rel, err := filepath.Rel(r.folder, at); err != nil || !filepath.IsLocal(rel) || rel == "." || rel == "refs" {
				t.Fatalf("%q %q %q goes to %s", name, revision, file, at)
			}
		}
	})
}
