package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faults answer for a file as bad networks, proxies and servers do, and count what they sent.
type faults struct {
	mu   sync.Mutex
	rng  *rand.Rand
	sent map[string]int
}

func (f *faults) answer(w http.ResponseWriter, r *http.Request, body []byte) bool {
	f.mu.Lock()
	kind, at, busy := f.rng.IntN(16), f.rng.IntN(len(body)), []int{429, 500, 503, 504}[f.rng.IntN(4)]
	f.mu.Unlock()
	name := "none"
	defer func() {
		f.mu.Lock()
		f.sent[name]++
		f.mu.Unlock()
	}()
	whole := func(length int) { w.Header().Set("Content-Length", fmt.Sprint(length)) }
	switch kind {
	case 0, 1:
		name = "cut"
		whole(len(body))
		w.Write(body[:at])
	case 2:
		name = "stall"
		whole(len(body))
		w.Write(body[:at])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	case 3:
		name = "stall before the answer"
		<-r.Context().Done()
	case 4:
		name = "shorter, and says so"
		whole(at)
		w.Write(body[:at])
	case 5:
		name = "longer"
		whole(len(body) + 10)
		w.Write(body)
		w.Write(make([]byte, 10))
	case 6:
		name = "longer, without a length"
		w.(http.Flusher).Flush()
		w.Write(body)
		w.Write(make([]byte, 10))
	case 7:
		name = "shorter, without a length"
		w.(http.Flusher).Flush()
		w.Write(body[:at])
	case 8:
		name = "a wrong byte"
		wrong := append([]byte(nil), body...)
		wrong[at] ^= 1
		whole(len(body))
		w.Write(wrong)
	case 9:
		name = "busy"
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(busy)
	case 10:
		name = "a wrong range"
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(body)-1, len(body)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(body[at:])
	case 11:
		name = "another file"
		w.Header().Set("ETag", `"other"`)
		whole(len(body))
		w.Write(bytesOf(9, len(body))[:at])
	case 12:
		name = "a page instead"
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<html>Please log in to this network</html>")
	case 13:
		name = "no ranges"
		whole(len(body))
		w.Write(body)
	case 14:
		name = "encoded"
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(body)
	default:
		return false
	}
	return true
}

// Whatever a server does, a file under its final name is the right one; and once the server behaves, it comes, whatever
// was left before. 200 downloads, eight at a time.
func TestRandomFaults(t *testing.T) {
	var mu sync.Mutex
	sent, failures := map[string]int{}, map[string]int{}
	t.Run("all", func(t *testing.T) {
		for seed := range uint64(8) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				f := &faults{rng: rand.New(rand.NewPCG(1, seed)), sent: map[string]int{}}
				failed := f.try(t, 25)
				mu.Lock()
				defer mu.Unlock()
				f.mu.Lock() // stalled answers may still be ending
				defer f.mu.Unlock()
				for name, n := range f.sent {
					sent[name] += n
				}
				for name, n := range failed {
					failures[name] += n
				}
			})
		}
	})
	for _, name := range []string{"cut", "stall", "stall before the answer", "shorter, and says so", "longer", "longer, without a length", "shorter, without a length",
		"a wrong byte", "busy", "a wrong range", "another file", "a page instead", "no ranges", "encoded"} {
		assert.Positive(t, sent[name], name)
	}
	assert.Positive(t, failures["hash"])
	assert.Positive(t, failures["network"])
	t.Logf("sent %v; failed %v", sent, failures)
}

// try downloads often, and counts how it failed.
func (f *faults) try(t *testing.T, tries int) map[string]int {
	s := newServer(t)
	data := bytesOf(1, 60_000)
	s.files["model.safetensors"], s.files["w.pth"] = data, data
	failed := map[string]int{}
	for try := range tries {
		h := s.client(t)
		var run func() error
		var final string
		if try%2 == 0 {
			final = filepath.Join(h.Cache, "models--org--words", "blobs", s.etag("model.safetensors"))
			run = func() error {
				_, err := h.Download(t.Context(), Request{Name: "org/words", File: "model.safetensors"}, nil)
				return err
			}
		} else {
			final = filepath.Join(h.Checkpoints, "w.pth")
			run = func() error {
				tr := h.checkpoint(t, s, data)
				p := tr.progress.(*recorder)
				err := tr.run(t.Context())
				assert.Zero(t, p.open)
				if err == nil && len(p.files) > 0 { // what is here already is not begun
					assert.Equal(t, int64(len(data)), p.here)
				}
				return err
			}
		}
		patience := hurry
		patience.stall, patience.tries = 20*time.Millisecond, 4
		h.pace = &patience
		s.failWith(f.answer)
		for range 2 {
			err := run()
			if err == nil {
				require.Equal(t, string(data), read(t, final), "try %d", try)
				break
			}
			_, wrong := errors.AsType[*HashError](err)
			_, broken := errors.AsType[*NetworkError](err)
			require.True(t, wrong || broken, "%T: %v", err, err)
			failed[map[bool]string{true: "hash", false: "network"}[wrong]]++
			require.NoFileExists(t, final)
		}
		s.failWith(nil)
		h.pace = &hurry
		require.NoError(t, run(), "try %d", try)
		require.Equal(t, string(data), read(t, final), "try %d", try)
		assert.Empty(t, leftovers(t, filepath.Dir(final)))
	}
	return failed
}
