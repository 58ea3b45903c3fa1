package hub

import (
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
