package finetune

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/version"
	"github.com/thaw-ml/thaw/torch"
)

// assertNoRemains checks that no half-written file is left in a folder.
func assertNoRemains(t *testing.T, folder string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		assert.False(t, strings.HasPrefix(filepath.Base(path), atomicfile.TempPrefix), path)
		return err
	}))
}

// finished is a run of three epochs in two phases.
func finished(t *testing.T) (o Options, model *net, result *Result) {
	t.Helper()
	o = quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2}, Phase{Train: Top(1), Epochs: 2, LR: 1e-2})
	o.Folder.Add(SpecFile, []byte("model: net\n"))
	model = newNet(t)
	result, err := start(t, o, model, newSamples(1, 40, mixed), newSamples(2, 20, mixed), nil)
	require.NoError(t, err)
	return o, model, result
}

func TestFolderFiles(t *testing.T) {
	o, _, result := finished(t)
	assert.Equal(t, o.Folder.Path(), result.Folder)
	var files []string
	require.NoError(t, filepath.WalkDir(o.Folder.Path(), func(path string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			name, _ := filepath.Rel(o.Folder.Path(), path)
			files = append(files, name)
		}
		return err
	}))
	assert.Equal(t, []string{"metrics.csv", "plan.txt", "spec.yaml", "summary.json", "weights/best.safetensors", "weights/config.json",
		"weights/last.safetensors"}, files)

	added, err := os.ReadFile(filepath.Join(o.Folder.Path(), "spec.yaml"))
	require.NoError(t, err)
	assert.Equal(t, "model: net\n", string(added))
	plan, err := os.ReadFile(filepath.Join(o.Folder.Path(), "plan.txt"))
	require.NoError(t, err)
	assert.Equal(t, `phase 1
stage.0 ... stage.3      frozen      288   run once, kept: 1 MB in memory
head                     trained      18   lr 0.01
5 steps in 1 epoch of 5 batches
phase 2
stage.0 ... stage.2      frozen      216   run once, kept: 1 MB in memory
stage.3                  trained      72   lr 0.01
head                     trained      18   lr 0.1
10 steps in 2 epochs of 5 batches
`, string(plan))
}

func TestFolderSummary(t *testing.T) {
	o, _, result := finished(t)
	text, err := os.ReadFile(filepath.Join(o.Folder.Path(), "summary.json"))
	require.NoError(t, err)
	var keys map[string]any
	require.NoError(t, json.Unmarshal(text, &keys))
	assert.Equal(t, []string{"before", "best", "best_epoch", "epochs", "folder", "last", "peak_memory_bytes", "precision", "samples_per_second", "seconds", "seed", "test_data", "train_data", "versions"},
		slices.Sorted(maps.Keys(keys)))
	for name, want := range map[string]metric.Score{"before": result.Before, "best": result.Best, "last": result.Last} {
		score := keys[name].(map[string]any)
		assert.Equal(t, []string{"accuracy", "classes", "confusion", "loss", "macro_f1", "rows"}, slices.Sorted(maps.Keys(score)))
		assert.Equal(t, []any{want.Loss, want.Value("accuracy"), want.Value("macro_f1"), float64(want.Rows)},
			[]any{score["loss"], score["accuracy"], score["macro_f1"], score["rows"]})
		for i, row := range want.Classes.Confusion {
			for j, n := range row {
				assert.Equal(t, float64(n), score["confusion"].([]any)[i].([]any)[j])
			}
			class := score["classes"].([]any)[i].(map[string]any)
			assert.Equal(t, []string{"minus", "plus"}[i], class["name"])
			assert.Equal(t, want.Classes.PerClass[i].F1, class["f1"])
		}
	}
	assert.Equal(t, float64(result.BestEpoch), keys["best_epoch"])
	assert.Equal(t, float64(result.Seed), keys["seed"])
	assert.Equal(t, o.Folder.Path(), keys["folder"])
	assert.Equal(t, result.Throughput, keys["samples_per_second"])
	assert.Equal(t, []string{"cpu_capability", "go", "libtorch", "thaw", "threads"}, slices.Sorted(maps.Keys(keys["versions"].(map[string]any))))
	assert.Equal(t, []string{"evaluate", "prefix", "total", "train"}, slices.Sorted(maps.Keys(keys["seconds"].(map[string]any))))
	require.Len(t, keys["epochs"], 3)
	for i, e := range result.Epochs {
		epoch := keys["epochs"].([]any)[i].(map[string]any)
		assert.Equal(t, []string{"epoch", "phase", "seconds", "test", "train_loss"}, slices.Sorted(maps.Keys(epoch)))
		assert.Equal(t, []any{float64(e.Number), float64(e.Phase), e.TrainLoss}, []any{epoch["epoch"], epoch["phase"], epoch["train_loss"]})
		test := epoch["test"].(map[string]any)
		assert.Equal(t, []string{"accuracy", "loss", "macro_f1", "rows"}, slices.Sorted(maps.Keys(test)), "nothing of each class")
		assert.Equal(t, e.Test.Loss, test["loss"])
	}
	assert.True(t, strings.HasPrefix(result.Versions.Thaw, version.Version))
	assert.Equal(t, torch.Version(), keys["versions"].(map[string]any)["libtorch"])
}

func TestFolderMetrics(t *testing.T) {
	o, _, result := finished(t)
	f, err := os.Open(filepath.Join(o.Folder.Path(), "metrics.csv"))
	require.NoError(t, err)
	defer f.Close()
	table, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Len(t, table, 4)
	assert.Equal(t, []string{"epoch", "phase", "train_loss", "test_loss", "accuracy", "macro_f1", "seconds"}, table[0])
	for i, e := range result.Epochs {
		var got []float64
		for _, cell := range table[i+1] {
			x, err := strconv.ParseFloat(cell, 64)
			require.NoError(t, err)
			got = append(got, x)
		}
		assert.Equal(t, []float64{float64(i + 1), float64(min(i+1, 2)), e.TrainLoss, e.Test.Loss, e.Test.Value("accuracy"), e.Test.Value("macro_f1")}, got[:6])
		assert.InDelta(t, e.Seconds, got[6], 1e-3)
	}
}

// weightsOf reads a weights file.
func weightsOf(t *testing.T, o Options, name string) map[string][]byte {
	t.Helper()
	c, err := torch.OpenCheckpoint(filepath.Join(o.Folder.Path(), "weights", name+".safetensors"))
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, map[string]string{"format": "pt"}, c.Metadata(), "transformers refuses a file without")
	out := map[string][]byte{}
	for _, key := range c.Names() {
		torch.Scoped(func() {
			w, err := c.Tensor(key)
			require.NoError(t, err)
			out[key] = w.Bytes()
		})
	}
	return out
}

func TestFolderWeights(t *testing.T) {
	o, model, _ := finished(t)
	assert.Equal(t, model.bytes(), weightsOf(t, o, "last"))
}

// The best weights are those of the best epoch, and the first of several that are equally good.
func TestFolderBestWeights(t *testing.T) {
	for name, c := range map[string]struct {
		best int
		tie  bool
	}{"the first": {1, false}, "the first of three": {1, true}, "the second": {2, false}, "the second of two": {2, true}, "the last": {3, false}} {
		t.Run(name, func(t *testing.T) {
			model, testSet := newNet(t), newSamples(2, 20, mixed)
			o := quick(t, Phase{Train: HeadOnly(), Epochs: 3, LR: 1e-3})
			epoch := 0
			state := map[int]map[string][]byte{}
			var seen events
			seen.on = func(e Event) error {
				if s, ok := e.(train.StepDone); ok && s.Samples == 24 { // an evaluation follows
					epoch++
					state[epoch] = model.bytes()
				}
				return nil
			}
			// The net predicts the first class only; the labels, which are read when a batch is made, agree in the best epoch.
			torch.Scoped(func() { model.Head.Bias.Copy_(torch.FromSlice([]float32{100, 0})) })
			testSet.before = func([]int) error {
				for i := range testSet.labels {
					testSet.labels[i] = 1
					if epoch == c.best || epoch > c.best && (c.tie || i%2 == 0) {
						testSet.labels[i] = 0
					}
				}
				return nil
			}
			result, err := start(t, o, model, newSamples(1, 24, mixed), testSet, &seen)
			require.NoError(t, err)
			assert.Equal(t, c.best, result.BestEpoch)
			assert.Equal(t, 1.0, result.Best.Value("accuracy"))
			assert.Equal(t, state[c.best], weightsOf(t, o, "best"))
			assert.Equal(t, state[3], weightsOf(t, o, "last"))
		})
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	trainSet, testSet := newSamples(1, 16, mixed), newSamples(2, 8, mixed)
	full := errors.New("no space left on device")
	model := newNet(t)
	model.saveConfig = func(string) error { return full }
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	_, err := start(t, o, model, trainSet, testSet, nil)
	assert.EqualError(t, err, "writing the model's config: no space left on device")
	assert.NoDirExists(t, o.Folder.Path())

	// A folder in a file's place cannot be replaced.
	for name, epochs := range map[string]bool{"best": false, "last": true} {
		model.saveConfig = func(folder string) error { return os.Mkdir(filepath.Join(folder, name+".safetensors"), 0o755) }
		o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
		_, err := start(t, o, model, trainSet, testSet, nil)
		require.ErrorContains(t, err, name+".safetensors")
		if epochs {
			assertFailed(t, o, err)
		} else {
			assert.NoDirExists(t, o.Folder.Path())
		}
	}
}
