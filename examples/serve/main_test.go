package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/serve"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// tinyRun makes a run folder with a tiny model, and gives what the model predicts of texts.
func tinyRun(t *testing.T, texts ...string) (folder string, want []objective.Prediction) {
	tiny, folder := "../../text/testdata/tiny", t.TempDir()
	model, err := text.LoadClassifier(tiny, filepath.Join(tiny, "bert_prefix.safetensors"), text.NewHead("bad", "good"))
	require.NoError(t, err)
	defer model.Close()
	single := false
	model.Config.Pairs = &single
	want, err = model.PredictTexts(t.Context(), texts...)
	require.NoError(t, err)
	weights := filepath.Join(folder, finetune.WeightsDir)
	require.NoError(t, os.Mkdir(weights, 0o755))
	require.NoError(t, model.SaveConfig(weights))
	require.NoError(t, torch.SaveCheckpoint(filepath.Join(weights, "best.safetensors"), nn.State(model), nil))
	return folder, want
}

// post sends a body and gives the status and what came back.
func post(t *testing.T, url, body string) (int, string) {
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if !assert.NoError(t, err) {
		return 0, ""
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	assert.NoError(t, err)
	return answer.StatusCode, string(content)
}

func TestProgram(t *testing.T) {
	texts := []string{"good film", "the movie is not very good, it is boring.", "dull", "a very long and boring film"}
	folder, want := tinyRun(t, texts...)
	program := filepath.Join(t.TempDir(), "serve")
	out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	server := exec.Command(program, "-listen", "127.0.0.1:0", folder)
	stderr, err := server.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	defer func() { _ = server.Process.Kill() }()
	log := bufio.NewReader(stderr)
	line, err := log.ReadString('\n')
	require.NoError(t, err)
	_, url, found := strings.Cut(strings.TrimSpace(line), "listening on ")
	require.True(t, found, line)

	var clients sync.WaitGroup
	for c := range 16 {
		clients.Go(func() {
			for i := range 20 {
				k := (c + i) % len(texts)
				status, body := post(t, url, fmt.Sprintf(`{"text": %q}`, texts[k]))
				assert.Equal(t, http.StatusOK, status)
				var p objective.Prediction
				assert.NoError(t, json.Unmarshal([]byte(body), &p), body)
				assert.Equal(t, texts[k], p.Input)
				assert.Equal(t, want[k].Label, p.Label)
				assert.InDelta(t, want[k].Score, p.Score, 1e-5)
			}
		})
	}
	clients.Wait()
	for _, body := range []string{"", "{}", `"good film"`, `{"text": ""}`} {
		status, answer := post(t, url, body)
		assert.Equal(t, http.StatusBadRequest, status)
		assert.Equal(t, "expected a JSON object such as {\"text\": \"A quiet, generous film.\"}\n", answer)
	}
	status, answer := post(t, url, `{"text": "good", "pair": "bad"}`)
	assert.Equal(t, http.StatusBadRequest, status)
	assert.Contains(t, answer, `"good" has a second text`)

	require.NoError(t, server.Process.Signal(syscall.SIGTERM))
	rest, _ := io.ReadAll(log)
	assert.NoError(t, server.Wait())
	assert.Empty(t, string(rest))
}

func TestNoRunFolder(t *testing.T) {
	assert.ErrorContains(t, run(t.Context(), "nowhere", "127.0.0.1:0"), "nowhere/weights/config.json")
}

// held is a model that computes nothing until it is let go.
type held struct{ begun, letGo chan struct{} }

func (held) Encode(text.Item) (text.Encoded, error) { return text.Encoded{}, nil }
func (held) Cost(text.Encoded) int                  { return 1 }
func (h held) PredictEncoded(_ context.Context, batch []text.Encoded) ([]objective.Prediction, error) {
	close(h.begun)
	<-h.letGo
	panic("no memory")
}

func TestBusyAndBroken(t *testing.T) {
	model := held{make(chan struct{}), make(chan struct{})}
	server, err := serve.Start(model, serve.Options{MaxQueue: 1})
	require.NoError(t, err)
	web := httptest.NewServer(handler(server))
	defer web.Close()
	var clients sync.WaitGroup
	clients.Go(func() {
		status, body := post(t, web.URL, `{"text": "first"}`)
		assert.Equal(t, http.StatusInternalServerError, status)
		assert.Equal(t, "the model failed\n", body, "a client sees no stack")
	})
	<-model.begun
	ctx, cancel := context.WithCancel(t.Context())
	clients.Go(func() { _, _ = server.Predict(ctx, text.Item{}) })
	queued := func(n int) func() bool { return func() bool { return server.Stats().Queued == n } }
	require.Eventually(t, queued(1), time.Minute, time.Millisecond)
	status, body := post(t, web.URL, `{"text": "third"}`)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body, "the queue is full")
	cancel()
	require.Eventually(t, queued(0), time.Minute, time.Millisecond)
	close(model.letGo)
	clients.Wait()
	server.Close()
	status, body = post(t, web.URL, `{"text": "late"}`)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body, "the server is closed")
}
