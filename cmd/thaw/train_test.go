package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// trained is a workplace with a run folder "run".
func trained(t testing.TB, overrides ...string) string {
	t.Helper()
	folder := workplace(t)
	ok(t, "", append([]string{"train", "spec.yaml", "out=run"}, overrides...)...)
	return folder
}

func TestTrain(t *testing.T) {
	folder := workplace(t)
	got := ok(t, "", "train", "spec.yaml", "seed=3")
	for _, want := range []string{
		"^thaw 0", "\nmodel     BERT, 2 layers of 32 ", "\nhead      new: 32 -> 2 \\[bad good\\], mean pooling\n", "\ndata      48 train · 12 test ",
		"\nbefore ", "\nepoch 1 ", "\nepoch 2 ", "\nbest      accuracy 1.0000 ", "\nrun       " + folder + "/runs/spec-1\n",
		"\nreport    " + folder + "/runs/spec-1/report.html\n$",
	} {
		assert.Regexp(t, want, got)
	}
	assert.NotContains(t, got, "\x1b", "a pipe gets no control sequences")
	assert.NotContains(t, got, "\r")
	for line := range strings.Lines(got) {
		assert.Equal(t, strings.TrimRight(line, " \n")+"\n", line, "no spaces at the end")
	}
	for _, name := range []string{"spec.yaml", "plan.txt", "metrics.csv", "summary.json", "weights/best.safetensors", "weights/last.safetensors", "weights/config.json", "weights/vocab.txt"} {
		assert.FileExists(t, "runs/spec-1/"+name)
	}
	leftovers, err := filepath.Glob("runs/spec-1/*/*tmp*")
	require.NoError(t, err)
	assert.Empty(t, leftovers)

	// Again, from elsewhere and from the resolved spec: the same metrics to the last digit, in a folder of its own.
	require.NoError(t, os.Mkdir("elsewhere", 0o755))
	require.NoError(t, os.Chdir("elsewhere"))
	ok(t, "", "train", "../spec.yaml", "seed=3")
	ok(t, "", "train", "../spec.yaml", "seed=4")
	require.NoError(t, os.Chdir(".."))
	ok(t, "", "train", "runs/spec-1/spec.yaml", "out=again")
	want := metrics(t, "runs/spec-1")
	assert.Equal(t, want, metrics(t, "elsewhere/runs/spec-1"))
	assert.Equal(t, want, metrics(t, "again"))
	assert.NotEqual(t, want, metrics(t, "elsewhere/runs/spec-2"))
}

// A run's number of threads is that run's: with the process's own number, others are the same as before, to the last
// digit.
func TestThreadsOfARun(t *testing.T) {
	workplace(t)
	runtime.LockOSThread() // which libtorch keeps the number for
	defer runtime.UnlockOSThread()
	before := torch.NumThreads()
	ok(t, "", "train", "spec.yaml", "out=first")
	got := ok(t, "", "train", "spec.yaml", "out=other", fmt.Sprintf("threads=%d", before+1))
	assert.Contains(t, got, fmt.Sprintf("cpu (%d threads)", before+1))
	var summary struct{ Versions struct{ Threads int } }
	data, err := os.ReadFile("other/summary.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &summary))
	assert.Equal(t, before+1, summary.Versions.Threads)
	assert.Equal(t, before, torch.NumThreads())
	ok(t, "", "train", "spec.yaml", "out=again")
	assert.Equal(t, metrics(t, "first"), metrics(t, "again"))
}

// metrics is a run's metrics.csv without the seconds.
func metrics(t testing.TB, run string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(run, "metrics.csv"))
	require.NoError(t, err)
	return regexp.MustCompile(`,[^,\n]*\n`).ReplaceAllString(string(data), "\n")
}

func TestTrainEvalPredict(t *testing.T) {
	trained(t)
	assert.Regexp(t, `(?s)^rows             12\naccuracy         1.0000\nmacro_f1         1.0000\nloss             0\.\d{4}\n\ntrue \\ predicted     bad    good\nbad                    6       0\ngood                   0       6\n$`,
		ok(t, "", "eval", "run"))
	var m struct {
		Rows     int
		Accuracy float64
	}
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "eval", "run", "--json")), &m))
	assert.Equal(t, 12, m.Rows)
	assert.Equal(t, 1.0, m.Accuracy)
	write(t, "more.csv", "l,t\ngood,dull\n")
	assert.Contains(t, ok(t, "", "eval", "run", "--data=more.csv"), "rows             1\naccuracy         0.0000\n")

	const text = "the film was great"
	plain := ok(t, "", "predict", "run", text, "the film was dull")
	assert.Regexp(t, `^good  [01]\.\d{3}  the film was great\nbad   [01]\.\d{3}  the film was dull\n$`, plain)
	assert.Equal(t, plain, ok(t, text+"\nthe film was dull", "predict", "run"))
	assert.Equal(t, plain, ok(t, text+"\r\nthe film was dull\r\n", "predict", "run", "--batch=1"))
	weights := []string{"predict", "--model", "run/weights", "--weights", "run/weights/best.safetensors"}
	assert.Equal(t, plain, ok(t, "", append(weights, text, "the film was dull")...))
	assert.Equal(t, plain, ok(t, text+"\nthe film was dull\n", weights...))
	assert.Equal(t, plain, ok(t, "", "predict", "--model=run/weights", "--", text, "the film was dull"))
	assert.Regexp(t, `^(good|bad)\s+\S+  -1 of 10\n$`, ok(t, "", "predict", "run", "--", "-1 of 10"))
	assert.Regexp(t, `^(good|bad)\s+\S+  a b \[31m c\n$`, ok(t, "", "predict", "run", "a\nb\x1b[31m\tc"), "one line a text")
	assert.Empty(t, ok(t, "", "predict", "run"))
	assert.Empty(t, ok(t, "", append(weights, "--json")...))
	assert.NotEmpty(t, ok(t, "", "predict", "--model=run/weights", ""), "an empty text is a text")
}

func TestPredictJSON(t *testing.T) {
	trained(t)
	texts := []string{"the film was great", "", `a "quote" <b> & ü 日本`, strings.Repeat("good ", 200_000), "bad \xff byte"}
	got := strings.SplitAfter(ok(t, strings.Join(texts, "\n"), "predict", "run", "--json", "--batch=2"), "\n")
	require.Len(t, got, len(texts)+1)
	for i, text := range texts {
		var fields map[string]any
		require.NoError(t, json.Unmarshal([]byte(got[i]), &fields))
		assert.ElementsMatch(t, []string{"input", "label", "class", "score", "top", "scores", "logits"}, slices.Collect(maps.Keys(fields)))
		assert.Equal(t, strings.ToValidUTF8(text, "\ufffd"), fields["input"])
		assert.Contains(t, []any{"bad", "good"}, fields["label"])
		scores, logits := fields["scores"].(map[string]any), fields["logits"].([]any)
		require.Len(t, scores, 2)
		require.Len(t, logits, 2)
		assert.InDelta(t, 1, scores["bad"].(float64)+scores["good"].(float64), 1e-9)
		assert.Equal(t, scores["good"].(float64) > scores["bad"].(float64), logits[1].(float64) > logits[0].(float64))
	}
	assert.Contains(t, got[2], `"input":"a \"quote\" <b> & ü 日本"`)
}

func TestTokenize(t *testing.T) {
	workplace(t)
	const in = "good film\n\n日 good  \r\nmovies"
	want := "[2,72,74,3]\n[2,3]\n[2,1,72,3]\n"
	got := ok(t, in, "tokenize", "--model", "model")
	assert.Equal(t, want, got[:strings.LastIndex(got[:len(got)-1], "\n")+1])
	assert.Equal(t, got, ok(t, in, "tokenize", "--model", "model/vocab.txt"))
	assert.Equal(t, "[2,72,3]\n[2,3]\n[2,1,3]\n", ok(t, in[:strings.LastIndex(in, "\n")], "tokenize", "--model=model", "--max-length=3"))
	assert.Empty(t, ok(t, "", "tokenize", "--model", "model"))
	long := ok(t, strings.Repeat("good ", 200_000)+"\n", "tokenize", "--model", "model")
	assert.Equal(t, 200_002, strings.Count(long, ",")+1)
	assert.Equal(t, 1000, strings.Count(ok(t, strings.Repeat("good\n", 1000), "tokenize", "--model", "model"), "\n"))
}

// A run that is stopped ends with one line, and leaves no folder where nothing was trained.
func TestStopped(t *testing.T) {
	workplace(t)
	before := listing(t)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	got := thawIn(stopped, strings.NewReader(""), "train", "spec.yaml", "out=run")
	assert.Equal(t, exitStopped, got.code)
	assert.Equal(t, "thaw: stopped\n", got.err)
	assert.Equal(t, before[1:], listing(t)[1:])

	ok(t, "", "train", "spec.yaml", "out=run")
	for _, verb := range [][]string{{"eval", "run"}, {"predict", "run"}, {"tokenize", "--model=model"}} {
		got := thawIn(stopped, blocked{}, verb...)
		assert.Equal(t, outcome{exitStopped, "", "thaw: stopped\n"}, got)
	}
	// While it waits for input.
	later, stop := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, nil)
	defer stop()
	cancelled, cancel := context.WithCancel(t.Context())
	context.AfterFunc(later, cancel)
	assert.Equal(t, outcome{exitStopped, "", "thaw: stopped\n"}, thawIn(cancelled, blocked{}, "predict", "run"))
}

// watching stops a run when its output holds a word.
type watching struct {
	bytes.Buffer
	word string
	stop context.CancelFunc
}

func (w *watching) Write(data []byte) (int, error) {
	if bytes.Contains(data, []byte(w.word)) {
		w.stop()
	}
	return w.Buffer.Write(data)
}

// A run that does not come to its end names the folder in which its weights are.
func TestRunThatEndsEarly(t *testing.T) {
	folder := workplace(t)
	ctx, stop := context.WithCancel(t.Context())
	out, errs := &watching{word: "epoch 2 ", stop: stop}, &bytes.Buffer{}
	assert.Equal(t, exitStopped, run(ctx, []string{"train", "spec.yaml", "out=stopped"}, streams{nil, out, errs, nil}))
	assert.Equal(t, "thaw: stopped\n", errs.String())
	assert.Regexp(t, `\nrun       `+folder+`/stopped, up to epoch 2; thaw resume `+folder+`/stopped goes on\n$`, out.String())
	assert.Contains(t, ok(t, "", "eval", "stopped"), "rows             12\n")

	got := invoke(t, "", "train", "spec.yaml", "out=failed", "phases=[{train: head, epochs: 1, lr: 1e-3}, {train: all, epochs: 3, lr: 1e30, schedule: constant}]")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "the loss is not a finite number")
	assert.Regexp(t, `\nrun       `+folder+`/failed, up to epoch 1\n$`, got.out)
	assert.Contains(t, ok(t, "", "eval", "failed"), "rows             12\n")

	// What has left nothing, and a folder of another run, are not named.
	got = invoke(t, "", "train", "spec.yaml", "out=nothing", "phases[0].lr=1e30")
	assert.Equal(t, exitFailed, got.code)
	assert.NotContains(t, got.out, "\nrun ")
	assert.NotContains(t, invoke(t, "", "train", "spec.yaml", "out=failed").out, "\nrun ")
}

// blocked is an input that never comes.
type blocked struct{}

func (blocked) Read([]byte) (int, error) { select {} }
