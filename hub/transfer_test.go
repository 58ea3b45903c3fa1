package hub

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fetchCheckpoint downloads a file the way torchvision's weights are: of unknown size, with the first digits of its
// hash.
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

// An interrupted download leaves what came, and the next goes on from there; a file that changed meanwhile is begun
// anew.
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
