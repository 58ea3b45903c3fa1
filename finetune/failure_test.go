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

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/nn"
)

// assertFailed checks the folder of a run that failed after an epoch.
func assertFailed(t *testing.T, o Options, err error) {
	t.Helper()
	text, readErr := os.ReadFile(filepath.Join(o.Folder.Path(), "error.txt"))
	require.NoError(t, readErr)
	assert.Equal(t, err.Error()+"\n", string(text))
	assert.NoFileExists(t, filepath.Join(o.Folder.Path(), "summary.json"))
	assertNoRemains(t, o.Folder.Path())
}

func TestFitStopsAtALossThatIsNoNumber(t *testing.T) {
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
			o := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-3})
			o.Folder = NewFolder(filepath.Join(t.TempDir(), "runs", "numbers-1"))
			_, err := start(t, o, model, newSamples(1, 64, mixed), newSamples(2, 8, mixed), nil)
			assert.EqualError(t, err, "epoch 1: step 3: "+train.ErrNotFinite.Error())
			assert.Equal(t, 3, training)
			assert.Equal(t, atBad, model.bytes(), "nothing moved after that")
			assert.NoDirExists(t, filepath.Dir(o.Folder.Path()), "no epoch was done: nothing is left")
		})
	}
}

func TestFitStopsAtATestLossThatIsNoNumber(t *testing.T) {
	model := newNet(t)
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	model.measure = func(output nn.Values) nn.Values { return nn.Values{output[0].MulScalar(math.NaN())} }
	_, err := start(t, o, model, newSamples(1, 64, mixed), newSamples(2, 8, mixed), nil)
	assert.ErrorIs(t, err, train.ErrDamaged)
	assert.EqualError(t, err, "evaluating: the loss is not a finite number: the model's weights are damaged")
	assert.NoDirExists(t, o.Folder.Path())
}

// A model that fails at any place ends the run with its error, and frees all.
func TestFitReportsAModelsPanic(t *testing.T) {
	for name, c := range map[string]struct {
		stage, call int // at which call of which stage
		task        train.Task
		trained     bool
	}{
		"planning":                     {stage: 1, call: 1, task: train.Task{Kind: -1}},
		"a later stage of the prefix":  {stage: 1, call: 2, task: prefixTask},
		"the first rows of the prefix": {stage: 0, call: 2, task: prefixTask},
		"later rows of the prefix":     {stage: 2, call: 5, task: prefixTask},
		"the test rows of the prefix":  {stage: 0, call: 6, task: prefixTask},
		"before the training":          {stage: 4, call: 1, task: baselineTask},
		"the first step":               {stage: 3, call: 2, task: epochTask(1)},
		"a later step":                 {stage: 4, call: 4, task: epochTask(1)},
		"evaluation":                   {stage: 3, call: 6, task: epochTask(1)},
		"the second epoch":             {stage: 3, call: 8, task: epochTask(2), trained: true},
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
			o := quick(t, Phase{Train: Top(1), Epochs: 2, LR: 1e-3})
			var seen events
			_, err := start(t, o, model, newSamples(1, 32, mixed), newSamples(2, 8, mixed), &seen)
			var failure *torch.Error
			require.ErrorAs(t, err, &failure)
			assert.Contains(t, failure.Op, "matmul")
			assert.Equal(t, c.task, seen.task())
			if c.trained {
				assertFailed(t, o, err)
				return
			}
			assert.NoDirExists(t, o.Folder.Path())

			model.before = nil // and the model is as good as new
			_, err = start(t, o, model, newSamples(1, 32, mixed), newSamples(2, 8, mixed), nil)
			assert.NoError(t, err)
		})
	}
}

func TestFitReportsDataThatFail(t *testing.T) {
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
		trainSet, testSet := newSamples(1, 32, mixed), newSamples(2, 8, mixed)
		set, calls := trainSet, 0
		if c.test {
			set = testSet
		}
		set.before = func([]int) error {
			if calls++; calls == c.call {
				return broken
			}
			return nil
		}
		o := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-3})
		_, err := start(t, o, newNet(t), trainSet, testSet, nil)
		require.ErrorIs(t, err, broken)
		assert.Equal(t, c.want, err.Error())
		if c.training {
			assertFailed(t, o, err)
		} else {
			assert.NoDirExists(t, o.Folder.Path())
		}
	}
}

func TestFitStopsWhenCancelled(t *testing.T) {
	for _, task := range []train.Task{prefixTask, baselineTask, epochTask(1), epochTask(2)} {
		t.Run(task.String(), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var seen events
			after := 0
			seen.on = func(e Event) error {
				switch e := e.(type) {
				case train.Progress:
					if e.Task != task {
						return nil
					}
				case train.StepDone:
					if epochTask(e.Epoch) != task {
						return nil
					}
				default:
					return nil
				}
				after++
				cancel()
				return nil
			}
			o := quick(t, Phase{Train: HeadOnly(), Epochs: 2, LR: 1e-3})
			o.Batch.EvalSize = 4
			_, err := startIn(t, ctx, o, newNet(t), newSamples(1, 64, mixed), newSamples(2, 40, mixed), &seen)
			require.ErrorIs(t, err, context.Canceled)
			assert.Equal(t, 1, after, "nothing goes on after that")
			if task == epochTask(2) {
				assertFailed(t, o, err)
			} else {
				assert.NoDirExists(t, o.Folder.Path())
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3})
	_, err := startIn(t, ctx, o, newNet(t), newSamples(1, 64, mixed), newSamples(2, 0, mixed), nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.NoDirExists(t, o.Folder.Path())
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

func TestFitRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for name, c := range map[string]struct {
		change func(*Options)
		rows   int
		want   string
	}{
		"no training rows":  {func(*Options) {}, 0, "there is nothing to train on: the training data has no rows"},
		"a folder's parent": {func(o *Options) { o.Folder = NewFolder(filepath.Join(file, "run")) }, 8, "making the run folder: "},
		"a GPU":             {func(o *Options) { o.Device = "cuda" }, 8, "device: cuda:0: " + noGPU()},
		"a numbered GPU":    {func(o *Options) { o.Device = "cuda:99" }, 8, "device: cuda:99: " + noGPU()},
		"a precision":       {func(o *Options) { o.Precision = "float8" }, 8, "precision: "},
		"an unknown stage":  {func(o *Options) { o.Phases[0].Train = Selection{"stage.7"} }, 8, `Phases[0].Train: no stage matches "stage.7"`},
		"an unknown optimizer": {func(o *Options) { o.Optimizer.Name = "sdg" }, 8,
			`finetune: Options.Optimizer.Name must be adamw or sgd, found "sdg"`},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "a GPU" && cuda.Available() {
				t.Skip("this machine has a GPU")
			}
			o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
			out := o.Folder.Path()
			c.change(&o)
			_, err := start(t, o, newNet(t), newSamples(1, c.rows, mixed), newSamples(2, 8, mixed), nil)
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), c.want), "%v", err)
			assert.NoDirExists(t, out)
		})
	}
}

func TestFitRefusesAnotherNumberOfClasses(t *testing.T) {
	three := objective.Classification{Classes: []string{"minus", "plus", "zero"}}
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	o.Objective = three
	_, err := start(t, o, newNet(t), newSamples(1, 8, mixed), newSamples(2, 8, mixed), nil)
	assert.EqualError(t, err, "evaluating: the head gives 2 scores a row, the data has 3 classes")
	assert.NoDirExists(t, o.Folder.Path())
}

func TestFitRefusesAFolderThatExists(t *testing.T) {
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	out := o.Folder.Path()
	require.NoError(t, os.Mkdir(out, 0o755))
	kept := filepath.Join(out, "spec.yaml")
	require.NoError(t, os.WriteFile(kept, []byte("mine"), 0o644))
	_, err := start(t, o, newNet(t), newSamples(1, 8, mixed), newSamples(2, 8, mixed), nil)
	assert.EqualError(t, err, out+" exists already: give another folder, or remove it")
	var fault *FolderError
	require.ErrorAs(t, err, &fault)
	entries, err := os.ReadDir(out)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	text, err := os.ReadFile(kept)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(text))
}
