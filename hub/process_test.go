package hub

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain makes this binary a program that downloads its arguments, for tests with several processes.
func TestMain(m *testing.M) {
	if os.Getenv("HUB_TEST_DOWNLOADS") == "" {
		os.Exit(m.Run())
	}
	for _, name := range os.Args[1:] {
		at, err := Download(context.Background(), Request{Name: name}, told{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(at)
	}
}

type told struct{ silent }

func (told) Note(text string) { fmt.Println("note:", text) }

func child(t *testing.T, h *Hub, names ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), self, names...)
	c.Env = []string{"HUB_TEST_DOWNLOADS=1", "HOME=" + t.TempDir(), "HF_ENDPOINT=" + h.Endpoint, "HF_HUB_CACHE=" + h.Cache}
	return c
}

// Eight processes want the same repository: each file is downloaded once, and all get it.
func TestManyProcesses(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	const processes = 8
	gets := map[string]int{}
	var mu sync.Mutex
	s.failWith(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		mu.Lock()
		gets[gitBlob(body)]++
		mu.Unlock()
		for end := time.Now().Add(20 * time.Second); s.count("HEAD ") < processes && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond) // so that the others come meanwhile
		}
		time.Sleep(100 * time.Millisecond)
		return false
	})
	var outputs, faults [processes]bytes.Buffer
	var children []*exec.Cmd
	for i := range processes {
		c := child(t, h, "org/words")
		c.Stdout, c.Stderr = &outputs[i], &faults[i]
		require.NoError(t, c.Start())
		children = append(children, c)
	}
	waited := 0
	for i, c := range children {
		assert.NoError(t, c.Wait(), "%s%s", &outputs[i], &faults[i])
		lines := strings.Split(strings.TrimSpace(outputs[i].String()), "\n")
		assert.Equal(t, filepath.Join(h.Cache, "models--org--words", "snapshots", commit1), lines[len(lines)-1])
		waited += strings.Count(outputs[i].String(), "note: another process is downloading")
	}
	assert.Len(t, gets, 3)
	for blob, n := range gets {
		assert.Equal(t, 1, n, blob)
	}
	assert.Positive(t, waited, "who waits says so")
	assert.Empty(t, leftovers(t, h.Cache))
}

// A process that is killed leaves its lock to the next, and what it had.
func TestKilledProcess(t *testing.T) {
	s := newServer(t)
	h := s.client(t)
	arrived := make(chan struct{})
	s.failWith(func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if len(body) != 200_000 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:150_000])
		w.(http.Flusher).Flush()
		close(arrived)
		<-r.Context().Done()
		return true
	})
	c := child(t, h, "org/words")
	require.NoError(t, c.Start())
	<-arrived
	part := filepath.Join(h.Cache, "models--org--words", "blobs", s.etag("model.safetensors")+incomplete)
	require.Eventually(t, func() bool { info, err := os.Stat(part); return err == nil && info.Size() == 150_000 }, 5*time.Second, 10*time.Millisecond)

	// Meanwhile another waits, says so, and can be stopped.
	second := child(t, h, "org/words")
	out, err := second.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, second.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "note: another process is downloading model.safetensors: waiting for it\n", line)
	require.NoError(t, second.Process.Kill())
	second.Wait()
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = h.Download(ctx, Request{Name: "org/words"}, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	require.NoError(t, c.Process.Kill())
	c.Wait()
	s.failWith(nil)
	at, err := h.Download(t.Context(), Request{Name: "org/words"}, nil)
	require.NoError(t, err)
	assert.Equal(t, 1, s.count("storage model.safetensors bytes=150000-"))
	assert.Equal(t, string(s.files["model.safetensors"]), read(t, filepath.Join(at, "model.safetensors")))
}

// A lock file that somebody removes while it is waited for is no longer the lock.
func TestRemovedLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locks", "a.lock")
	unlock, err := lock(t.Context(), path, time.Millisecond, func() { t.Error("waits for nobody") })
	require.NoError(t, err)
	waits := make(chan struct{})
	got := make(chan error)
	go func() {
		unlock, err := lock(t.Context(), path, time.Millisecond, func() { close(waits) })
		if err == nil {
			assert.FileExists(t, path)
			unlock()
		}
		got <- err
	}()
	<-waits
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	assert.True(t, stillAt(f, path))
	require.NoError(t, os.Remove(path))
	unlock()
	require.NoError(t, <-got)
	require.FileExists(t, path)
	assert.False(t, stillAt(f, path), "who locks the removed file locks nobody out")
}
