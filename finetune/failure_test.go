package finetune

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// assertFailed checks the folder of a run that failed after an epoch.
func assertFailed(t *testing.T, spec Spec, err error) {
	t.Helper()
	text, readErr := os.ReadFile(filepath.Join(spec.Out, "error.txt"))
	require.NoError(t, readErr)
	assert.Equal(t, err.Error()+"\n", string(text))
	assert.NoFileExists(t, filepath.Join(spec.Out, "summary.json"))
	assertNoRemains(t, spec.Out)
}

func TestRunStopsAtALossThatIsNoNumber(t *testing.T) {
	for name, bad := range map[string]float64{"NaN": math.NaN(), "infinite": math.Inf(1)} {
		t.Run(name, func(t *testing.T) {
			model := newNet(t)
			training, atBad := 0, map[string][]byte(nil)
			model.change = func(l torch.Tensor) torch.Tensor {
				if !l.RequiresGrad() {
					return l
				}
				if training++; training == 3 {
					atBad = model.bytes()
					return l.MulScalar(bad)
				}
				return l
			}
			spec := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-3})
			spec.Out = filepath.Join(t.TempDir(), "runs", "numbers-1")
			_, err := start(t, spec, model, newSamples(1, 64, mixed), newSamples(2, 8, mixed), nil)
			assert.EqualError(t, err, "epoch 1: step 3: the loss is not a finite number: a lower learning rate, or clip_norm, may help")
			assert.Equal(t, 3, training)
			assert.Equal(t, atBad, model.bytes(), "nothing moved after that")
			assert.NoDirExists(t, filepath.Dir(spec.Out), "no epoch was done: nothing is left")
		})
	}
}

func TestRunStopsAtATestLossThatIsNoNumber(t *testing.T) {
	model := newNet(t)
	spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	model.change = func(l torch.Tensor) torch.Tensor {
		if l.RequiresGrad() {
			return l
		}
		return l.MulScalar(math.NaN())
	}
	_, err := start(t, spec, model, newSamples(1, 64, mixed), newSamples(2, 8, mixed), nil)
	assert.EqualError(t, err, "evaluating: the loss is not a finite number: the model's weights are damaged")
	assert.NoDirExists(t, spec.Out)
}

// A model that fails at any place ends the run with its error, and frees all.
func TestRunReportsAModelsPanic(t *testing.T) {
	for name, c := range map[string]struct {
		stage, call int // at which call of which stage
		task        string
		trained     bool
	}{
		"planning":                     {stage: 1, call: 1},
		"a later stage of the prefix":  {stage: 1, call: 2, task: "prefix"},
		"the first rows of the prefix": {stage: 0, call: 2, task: "prefix"},
		"later rows of the prefix":     {stage: 2, call: 5, task: "prefix"},
		"the test rows of the prefix":  {stage: 0, call: 6, task: "prefix"},
		"before the training":          {stage: 4, call: 1, task: "before"},
		"the first step":               {stage: 3, call: 2, task: "epoch 1"},
		"a later step":                 {stage: 4, call: 4, task: "epoch 1"},
		"evaluation":                   {stage: 3, call: 6, task: "epoch 1"},
		"the second epoch":             {stage: 3, call: 8, task: "epoch 2", trained: true},
	} {
		t.Run(name, func(t *testing.T) {
			model := newNet(t)
			calls := 0
			model.before = func(stage int) {
				if stage == c.stage {
					if calls++; calls == c.call {
						torch.Ones(torch.Float32, torch.CPU, 2, 3).MatMul(torch.Ones(torch.Float32, torch.CPU, 2, 3))
					}
				}
			}
			spec := quick(t, Phase{Train: Top(1), Epochs: 2, LR: 1e-3})
			var report record
			_, err := start(t, spec, model, newSamples(1, 32, mixed), newSamples(2, 8, mixed), &report)
			var failure *torch.Error
			require.ErrorAs(t, err, &failure)
			assert.Contains(t, failure.Op, "matmul")
			assert.Equal(t, c.task, report.task)
			if c.trained {
				assertFailed(t, spec, err)
				return
			}
			assert.NoDirExists(t, spec.Out)

			model.before = nil // and the model is as good as new
			_, err = start(t, spec, model, newSamples(1, 32, mixed), newSamples(2, 8, mixed), nil)
			assert.NoError(t, err)
		})
	}
}

func TestRunReportsDataThatFail(t *testing.T) {
	broken := errors.New("reviews.tsv:7: broken")
	for _, c := range []struct {
		call     int
		test     bool
		want     string
		training bool
	}{
		{call: 1, want: "reviews.tsv:7: broken"},
		{call: 3, want: "running the frozen stages: reviews.tsv:7: broken"},
		{call: 1, test: true, want: "running the frozen stages: reviews.tsv:7: broken"},
		{call: 7, want: "epoch 1: reviews.tsv:7: broken"},
		{call: 2, test: true, want: "evaluating: reviews.tsv:7: broken"},
		{call: 4, test: true, want: "evaluating: reviews.tsv:7: broken", training: true},
	} {
		train, test := newSamples(1, 32, mixed), newSamples(2, 8, mixed)
		data, calls := train, 0
		if c.test {
			data = test
		}
		data.before = func([]int) error {
			if calls++; calls == c.call {
				return broken
			}
			return nil
		}
		spec := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-3})
		_, err := start(t, spec, newNet(t), train, test, nil)
		require.ErrorIs(t, err, broken)
		assert.Equal(t, c.want, err.Error())
		if c.training {
			assertFailed(t, spec, err)
		} else {
			assert.NoDirExists(t, spec.Out)
		}
	}
}

func TestRunStopsWhenCancelled(t *testing.T) {
	for _, task := range []string{"prefix", "before", "epoch 1", "epoch 2"} {
		t.Run(task, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var report record
			after := 0
			report.advance = func(now string, samples int) {
				if now != task {
					return
				}
				after++
				cancel()
			}
			spec := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-3})
			spec.Batch.EvalSize = 4
			_, err := startIn(t, ctx, spec, newNet(t), newSamples(1, 64, mixed), newSamples(2, 40, mixed), &report)
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, 1, after, "nothing goes on after that")
			if task == "epoch 2" {
				assertFailed(t, spec, err)
			} else {
				assert.NoDirExists(t, spec.Out)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	spec := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3})
	_, err := startIn(t, ctx, spec, newNet(t), newSamples(1, 64, mixed), newSamples(2, 0, mixed), nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.NoDirExists(t, spec.Out)
}

// noGPU begins what is said of a GPU that is not there.
func noGPU() string {
	switch {
	case cuda.Available():
		return "there is no CUDA device"
	case cuda.Built():
		return "no NVIDIA driver answers on this machine"
	}
	return "this program has no CUDA: build it with -tags cuda after make deps-cuda"
}

func TestRunRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for name, c := range map[string]struct {
		change func(*Spec)
		rows   int
		want   string
	}{
		"no training rows":  {func(*Spec) {}, 0, "there is nothing to train on: the training data has no rows"},
		"no phases":         {func(s *Spec) { s.Phases = nil }, 8, "phases: missing"},
		"no folder":         {func(s *Spec) { s.Out = "" }, 8, "out: no run folder is given"},
		"a folder's parent": {func(s *Spec) { s.Out = filepath.Join(file, "run") }, 8, "out: making the run folder: "},
		"a GPU":             {func(s *Spec) { s.Device = "cuda" }, 8, "device: cuda:0: " + noGPU()},
		"a numbered GPU":    {func(s *Spec) { s.Device = "cuda:99" }, 8, "device: cuda:99: " + noGPU()},
		"an unknown stage":  {func(s *Spec) { s.Phases[0].Train = Selection{"stage.7"} }, 8, `phases[0].train: no stage matches "stage.7"`},
		"an unknown optimizer": {func(s *Spec) { s.Optimizer.Name = "sdg" }, 8,
			`optimizer.name: expected adamw, sgd, found "sdg"`},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a GPU" && cuda.Available() {
				t.Skip("this machine has a GPU")
			}
			spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
			out := spec.Out
			c.change(&spec)
			_, err := start(t, spec, newNet(t), newSamples(1, c.rows, mixed), newSamples(2, 8, mixed), nil)
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), c.want), "%v", err)
			assert.NoDirExists(t, out)
		})
	}
}

func TestRunRefusesAnotherNumberOfClasses(t *testing.T) {
	test := newSamples(2, 8, mixed)
	test.classes = append(test.classes, "zero")
	spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	_, err := start(t, spec, newNet(t), newSamples(1, 8, mixed), test, nil)
	assert.EqualError(t, err, "evaluating: the head gives 2 scores a row, the data has 3 classes")
	assert.NoDirExists(t, spec.Out)

	n, err := NewInference[*rows](newNet(t), "cpu", "float32")
	require.NoError(t, err)
	_, err = n.Evaluate(t.Context(), test, 4, nil)
	assert.EqualError(t, err, "evaluating: the head gives 2 scores a row, the data has 3 classes")
}

func TestRunRefusesAFolderThatExists(t *testing.T) {
	spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	require.NoError(t, os.Mkdir(spec.Out, 0o755))
	kept := filepath.Join(spec.Out, "spec.yaml")
	require.NoError(t, os.WriteFile(kept, []byte("mine"), 0o644))
	_, err := start(t, spec, newNet(t), newSamples(1, 8, mixed), newSamples(2, 8, mixed), nil)
	assert.EqualError(t, err, "out: "+spec.Out+" exists already: give another folder, or remove it")
	var fault *SpecError
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, "out", fault.Key)
	entries, err := os.ReadDir(spec.Out)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	text, err := os.ReadFile(kept)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(text))
}
