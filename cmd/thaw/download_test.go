package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const downloadCommit = "0123456789abcdef0123456789abcdef01234567"

// hubServer answers as Hugging Face's hub does for the repository org/words, and counts what it is asked.
func hubServer(t *testing.T) (address string, asked *atomic.Int32) {
	files := map[string]string{"config.json": "{}", "vocab.txt": "[UNK]\n", "model.safetensors": strings.Repeat("weights ", 1<<17)}
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if revision, ok := strings.CutPrefix(r.URL.Path, "/api/models/org/words/revision/"); ok && revision == "main" {
			fmt.Fprintf(w, `{"sha": %q, "siblings": [{"rfilename": "config.json"}, {"rfilename": "vocab.txt"}, {"rfilename": "model.safetensors"}]}`, downloadCommit)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/api/models/org/gated/") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		content, ok := files[filepath.Base(r.URL.Path)]
		if !ok || strings.Contains(r.URL.Path, "/api/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Repo-Commit", downloadCommit)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL)
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("TORCH_HOME", t.TempDir())
	t.Setenv("THAW_TORCHVISION", s.URL+"/torchvision")
	for _, name := range []string{"HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "THAW_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		t.Setenv(name, "")
	}
	return s.URL, asked
}

func TestDownload(t *testing.T) {
	_, asked := hubServer(t)
	folder := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--org--words", "snapshots", downloadCommit)
	got := invoke(t, "", "download", "org/words")
	assert.Equal(t, exitOK, got.code, got.err)
	assert.Equal(t, folder+"\n", got.out)
	lines := strings.Split(strings.TrimSpace(got.err), "\n")
	require.Len(t, lines, 3)
	assert.Regexp(t, `^config\.json  0\.0 MB  \d+\.\d MB/s  \d+\.\ds$`, lines[0])
	assert.Regexp(t, `^model\.safetensors  1\.0 MB  \d+\.\d MB/s  \d+\.\ds$`, lines[2])

	// Both are here now: nothing is drawn, and JSON names them.
	assert.Equal(t, fmt.Sprintf("{\"name\":\"org/words\",\"path\":%q}\n{\"name\":\"org/words@main\",\"path\":%q}\n", folder, folder), ok(t, "", "download", "--json", "org/words", "org/words@main"))
	assert.Equal(t, folder+"/vocab.txt\n", ok(t, "", "download", "org/words", "--file", "vocab.txt", "--revision=main"))

	before := asked.Load()
	assert.Equal(t, folder+"\n", ok(t, "", "download", "--offline", "org/words"))
	t.Setenv("THAW_OFFLINE", "1")
	assert.Equal(t, folder+"\n", ok(t, "", "download", "org/words"))
	got = invoke(t, "", "download", "resnet18")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "thaw: download: offline: resnet18-f37072fd.pth is not here: "+os.Getenv("TORCH_HOME")+"/hub/checkpoints/resnet18-f37072fd.pth; download it where there is a network")
	assert.Equal(t, before, asked.Load(), "offline, nothing is asked")
}

func TestWrongDownloads(t *testing.T) {
	address, _ := hubServer(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"download", exitUsage, "thaw: expected \"<name> ...\" (thaw download --help tells what there is)\n"},
		{"download resnet5", exitUsage, "thaw: download: no model is named \"resnet5\"; did you mean \"resnet50\"? (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)\n"},
		{"download resnet50 --revision v1", exitUsage, "thaw: download: resnet50 is one file of torchvision's and no repository: it has no revision and no further file\n"},
		{"download a/b/c", exitUsage, "thaw: download: \"a/b/c\" is no repository's name: write org/name, of letters, digits, - _ and .\n"},
		{"download org/words@v7", exitFailed, "thaw: download: org/words@v7: the server answered 404 Not Found (" + address + "/api/models/org/words/revision/v7); check the name and the revision\n"},
		{"download org/gated", exitFailed, "thaw: download: org/gated: the server answered 403 Forbidden (" + address + "/api/models/org/gated/revision/main); there is no such repository, or it is private or gated: then give a token in HF_TOKEN\n"},
		{"download resnet18", exitFailed, "thaw: download: resnet18-f37072fd.pth: the server answered 404 Not Found (" + address + "/torchvision/resnet18-f37072fd.pth); check the name and the revision\n"},
	} {
		assert.Equal(t, outcome{c.code, "", c.want}, invoke(t, "", strings.Fields(c.args)...), c.args)
	}
	t.Setenv("HF_TOKEN", "hf_x")
	assert.Contains(t, invoke(t, "", "download", "org/gated").err, "the token may not read it (HF_TOKEN, or the file HF_HOME/token)")
	ctx, stop := context.WithCancel(t.Context())
	stop()
	assert.Equal(t, outcome{exitStopped, "", "thaw: stopped\n"}, thawIn(ctx, nil, "download", "org/words"))
}

// The view counts what came now, not what was here.
func TestDownloadView(t *testing.T) {
	var out bytes.Buffer
	v := newDownloadView(&out)
	v.Begin("a.bin", 30_000_000, 10_000_000)
	v.began = time.Now().Add(-2 * time.Second)
	v.Advance(10_000_000)
	assert.Regexp(t, `^ 20\.0/30\.0 MB  [45]\.\d MB/s  eta 2s$`, v.status(v.here))
	v.Advance(-20_000_000)
	assert.Equal(t, " 0.0/30.0 MB  0.0 MB/s", v.status(v.here))
	v.Advance(30_000_000)
	v.Note("waiting")
	v.End()
	assert.Regexp(t, `^waiting\na\.bin  30\.0 MB  \d+\.\d MB/s  2\.\ds\n$`, out.String())
	v.Begin("b.bin", -1, 0)
	v.Advance(1)
	assert.NotContains(t, v.status(v.here), "/0")
	assert.NotContains(t, v.status(v.here), "eta")
}
