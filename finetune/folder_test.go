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

	"github.com/thaw-ml/thaw/internal/atomicfile"
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
func finished(t *testing.T) (spec Spec, model *net, result *Result) {
	t.Helper()
	spec = quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2}, Phase{Train: Top(1), Epochs: 2, LR: 1e-2})
	// What a spec.yaml must hold to be read again.
	spec.Model, spec.Head.Classes = "/models/net", []string{"minus", "plus"}
	spec.Data.Train, spec.Data.Columns = "/data/rows.csv", Columns{Text: "text", Label: "class"}
	model = newNet(t)
	result, err := start(t, spec, model, newSamples(1, 40, mixed), newSamples(2, 20, mixed), nil)
	require.NoError(t, err)
	return spec, model, result
}

func TestFolderFiles(t *testing.T) {
	spec, _, result := finished(t)
	assert.Equal(t, spec.Out, result.Folder)
	var files []string
	require.NoError(t, filepath.WalkDir(spec.Out, func(path string, e fs.DirEntry, err error) error {
		if !e.IsDir() {
			name, _ := filepath.Rel(spec.Out, path)
			files = append(files, name)
		}
		return err
	}))
	assert.Equal(t, []string{"metrics.csv", "plan.txt", "spec.yaml", "summary.json", "weights/best.safetensors", "weights/config.json",
		"weights/last.safetensors"}, files)

	plan, err := os.ReadFile(filepath.Join(spec.Out, "plan.txt"))
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

func TestFolderSpec(t *testing.T) {
	spec, _, _ := finished(t)
	read, err := ReadSpec(filepath.Join(spec.Out, "spec.yaml"))
	require.NoError(t, err)
	want, err := spec.Resolved()
	require.NoError(t, err)
	assert.True(t, want.Equal(read), "%+v\n%+v", want, read)
}

func TestFolderSpecNamesWhatAutoBecame(t *testing.T) {
	spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2})
	spec.Device, spec.Precision = "", "auto"
	_, err := start(t, spec, newNet(t), newSamples(1, 8, mixed), newSamples(2, 8, mixed), nil)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(spec.Out, "spec.yaml"))
	require.NoError(t, err)
	want := spec
	want.Device = "auto"
	require.NoError(t, want.ChooseDevice())
	assert.NotEqual(t, "auto", want.Device)
	assert.Contains(t, string(text), "\ndevice: "+want.Device+"\n")
	assert.Contains(t, string(text), "\nprecision: "+want.Precision+"\n")
}

func TestFolderSummary(t *testing.T) {
	spec, _, result := finished(t)
	text, err := os.ReadFile(filepath.Join(spec.Out, "summary.json"))
	require.NoError(t, err)
	var read Result
	require.NoError(t, json.Unmarshal(text, &read))
	assert.Equal(t, *result, read)

	var keys map[string]any
	require.NoError(t, json.Unmarshal(text, &keys))
	assert.Equal(t, []string{"before", "best", "best_epoch", "epochs", "folder", "last", "peak_memory_bytes", "samples_per_second", "seconds", "seed", "versions"},
		slices.Sorted(maps.Keys(keys)))
	assert.Equal(t, []string{"accuracy", "confusion", "loss", "macro_f1", "rows"}, slices.Sorted(maps.Keys(keys["best"].(map[string]any))))
	assert.Equal(t, []string{"cpu_capability", "go", "libtorch", "thaw", "threads"}, slices.Sorted(maps.Keys(keys["versions"].(map[string]any))))
	assert.Equal(t, []string{"evaluate", "prefix", "total", "train"}, slices.Sorted(maps.Keys(keys["seconds"].(map[string]any))))
	assert.Len(t, keys["epochs"], 3)
	assert.True(t, strings.HasPrefix(read.Versions.Thaw, Version))
	assert.Equal(t, torch.Version(), read.Versions.Libtorch)
}

func TestFolderMetrics(t *testing.T) {
	spec, _, result := finished(t)
	f, err := os.Open(filepath.Join(spec.Out, "metrics.csv"))
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
		assert.Equal(t, []float64{float64(i + 1), float64(min(i+1, 2)), e.TrainLoss, e.Test.Loss, e.Test.Accuracy, e.Test.MacroF1}, got[:6])
		assert.InDelta(t, e.Seconds, got[6], 1e-3)
	}
}

// weightsOf reads a weights file.
func weightsOf(t *testing.T, spec Spec, name string) map[string][]byte {
	t.Helper()
	c, err := torch.OpenCheckpoint(filepath.Join(spec.Out, "weights", name+".safetensors"))
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
	spec, model, _ := finished(t)
	assert.Equal(t, model.bytes(), weightsOf(t, spec, "last"))
}

// The best weights are those of the best epoch, and the first of several that are equally good.
func TestFolderBestWeights(t *testing.T) {
	for name, c := range map[string]struct {
		best int
		tie  bool
	}{"the first": {1, false}, "the first of three": {1, true}, "the second": {2, false}, "the second of two": {2, true}, "the last": {3, false}} {
		t.Run(name, func(t *testing.T) {
			model, test := newNet(t), newSamples(2, 20, mixed)
			spec := quick(t, Phase{Train: HeadOnly(), Epochs: 3, LR: 1e-3})
			epoch := 0
			state := map[int]map[string][]byte{}
			var report record
			report.advance = func(task string, samples int) {
				if strings.HasPrefix(task, "epoch") && samples == 24 { // an evaluation follows
					epoch++
					state[epoch] = model.bytes()
				}
			}
			// The net predicts the first class only; the labels, which are read when a batch is made, agree in the best epoch.
			torch.Scoped(func() { model.Head.Bias.Copy_(torch.FromSlice([]float32{100, 0})) })
			test.before = func([]int) error {
				for i := range test.labels {
					test.labels[i] = 1
					if epoch == c.best || epoch > c.best && (c.tie || i%2 == 0) {
						test.labels[i] = 0
					}
				}
				return nil
			}
			result, err := start(t, spec, model, newSamples(1, 24, mixed), test, &report)
			require.NoError(t, err)
			assert.Equal(t, c.best, result.BestEpoch)
			assert.Equal(t, 1.0, result.Best.Accuracy)
			assert.Equal(t, state[c.best], weightsOf(t, spec, "best"))
			assert.Equal(t, state[3], weightsOf(t, spec, "last"))
		})
	}
}

func TestFolderThatCannotBeWritten(t *testing.T) {
	train, test := newSamples(1, 16, mixed), newSamples(2, 8, mixed)
	full := errors.New("no space left on device")
	model := newNet(t)
	model.saveConfig = func(string) error { return full }
	spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
	_, err := start(t, spec, model, train, test, nil)
	assert.EqualError(t, err, "writing the model's config: no space left on device")
	assert.NoDirExists(t, spec.Out)

	// A folder in a file's place cannot be replaced.
	for name, epochs := range map[string]bool{"best": false, "last": true} {
		model.saveConfig = func(folder string) error { return os.Mkdir(filepath.Join(folder, name+".safetensors"), 0o755) }
		spec := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
		_, err := start(t, spec, model, train, test, nil)
		require.ErrorContains(t, err, name+".safetensors")
		if epochs {
			assertFailed(t, spec, err)
		} else {
			assert.NoDirExists(t, spec.Out)
		}
	}
}

func TestNextFolder(t *testing.T) {
	root := t.TempDir()
	assert.Equal(t, filepath.Join(root, "reviews-1"), NextFolder(root, "reviews"))
	require.NoError(t, os.Mkdir(filepath.Join(root, "reviews-1"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "reviews-2"), nil, 0o644))
	assert.Equal(t, filepath.Join(root, "reviews-3"), NextFolder(root, "reviews"))
	assert.Equal(t, filepath.Join(root, "none", "other-1"), NextFolder(filepath.Join(root, "none"), "other"))
}
