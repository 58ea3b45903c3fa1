package hub

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

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
