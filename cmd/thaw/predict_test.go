package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A program that waits for the answer to a line before it writes the next one gets it.
func TestPredictAnswersALineAtOnce(t *testing.T) {
	trained(t)
	in, questions := io.Pipe()
	answers, out := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"predict", "run"}, streams{in, out, io.Discard, nil})
		out.Close()
	}()
	timer := time.AfterFunc(time.Minute, func() { questions.CloseWithError(context.DeadlineExceeded) })
	defer timer.Stop()
	lines := bufio.NewScanner(answers)
	for _, question := range []string{"the film was great", "the film was dull"} {
		_, err := io.WriteString(questions, question+"\n")
		require.NoError(t, err)
		require.True(t, lines.Scan())
		assert.Contains(t, lines.Text(), question)
	}
	require.NoError(t, questions.Close())
	assert.False(t, lines.Scan())
	assert.Equal(t, exitOK, <-code)
}

// Texts before one that the model fails at have their lines.
func TestPredictUpToWhatFails(t *testing.T) {
	folder := trained(t)
	inputs := []string{"the film was great", "dull", "a movie", "good"}
	want := ok(t, "", append([]string{"predict", "run"}, inputs[:2]...)...)
	m, err := text.OpenClassifier("run/weights", "")
	require.NoError(t, err)
	movie := int(m.Tokenizer.AppendIDs(nil, "movie", 0)[1])
	torch.Scoped(func() { torch.NoGrad(func() { m.Bert.Embeddings.Word.Weight.Select(0, movie).MulScalar_(math.NaN()) }) })
	require.NoError(t, torch.SaveCheckpoint("damaged.safetensors", nn.State(m), nil))
	m.Close()
	require.NoError(t, os.Rename("damaged.safetensors", "run/weights/best.safetensors"))
	const failure = "thaw: \"a movie\": the model gives scores that are no finite numbers: the weights, FOLDER/run/weights/best.safetensors, are damaged\n"
	for _, batch := range []string{"1", "2", "32"} {
		got := invoke(t, "", append([]string{"predict", "run", "--batch=" + batch}, inputs...)...)
		got.err = strings.ReplaceAll(strings.ReplaceAll(got.err, "run/weights", "FOLDER/run/weights"), folder+"/FOLDER", "FOLDER")
		assert.Equal(t, outcome{exitFailed, want, failure}, got, "batches of %s", batch)
	}
	got := invoke(t, strings.Join(inputs, "\n"), "predict", "run")
	assert.Equal(t, want, got.out, "from the standard input")
}

// stopping cancels after so many writes.
type stopping struct {
	bytes.Buffer
	writes int
	stop   context.CancelFunc
}

func (s *stopping) Write(data []byte) (int, error) {
	if s.writes--; s.writes == 0 {
		s.stop()
	}
	return s.Buffer.Write(data)
}

func TestPredictStopsBetweenInputs(t *testing.T) {
	trained(t)
	args := []string{"predict", "run", "--batch=2", "--"}
	for range 100 {
		args = append(args, "the film was great")
	}
	ctx, stop := context.WithCancel(t.Context())
	out, errs := &stopping{writes: 2, stop: stop}, &bytes.Buffer{}
	assert.Equal(t, exitStopped, run(ctx, args, streams{strings.NewReader(""), out, errs, nil}))
	assert.Equal(t, "thaw: stopped\n", errs.String())
	assert.Equal(t, 64, strings.Count(out.String(), "\n"), "what was known is printed")
}

// What reads the output may end first, as head does: a run goes on, everything else ends, and nothing is said.
func TestOutputThatNobodyReads(t *testing.T) {
	trained(t)
	for _, args := range [][]string{{"predict", "run", "good"}, {"version"}, {"--version"}, {"--help"}, {"eval", "--help"}, {}, {"doctor"}, {"train", "spec.yaml", "out=another"}} {
		reader, writer, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, reader.Close())
		var errs bytes.Buffer
		assert.Equal(t, exitPipe, run(t.Context(), args, streams{strings.NewReader(""), writer, &errs, nil}), args)
		assert.Empty(t, errs.String(), args)
		require.NoError(t, writer.Close())
	}
	assert.FileExists(t, "another/summary.json")
}

func TestOutputThatCannotBeWritten(t *testing.T) {
	trained(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	for _, args := range [][]string{{"predict", "run", "good"}, {"version"}, {"--version"}, {"--help"}, {"eval", "--help"}, {}, {"doctor"}, {"bench", "--list"}, {"models"}, {"train", "spec.yaml"}} {
		var errs bytes.Buffer
		assert.Equal(t, exitFailed, run(t.Context(), args, streams{strings.NewReader(""), full, &errs, nil}), args)
		assert.Equal(t, "thaw: write /dev/full: no space left on device\n", errs.String(), args)
	}
}
