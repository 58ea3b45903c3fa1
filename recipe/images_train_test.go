package recipe_test

import (
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// imageRun is what a run left.
type imageRun struct {
	result  *finetune.Result
	spec    recipe.Spec // with what the data told
	plans   []*finetune.Plan
	checked int               // phases whose frozen tensors were compared
	before  map[string]uint64 // digests of the model's tensors
	after   map[string]uint64
	files   map[string]string // of the weights' folder
	input   vision.Input
}

// digests tell whether two networks hold the same.
func digests(c *vision.Classifier) map[string]uint64 {
	out := map[string]uint64{}
	for _, s := range nn.State(c) {
		torch.Scoped(func() { out[s.Name] = s.Tensor.Contiguous().Digest() })
	}
	return out
}

func trainImages(t *testing.T, folder string, overrides ...string) (r imageRun) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	task, s, err := openImages(t, folder, append(overrides, "out="+out)...)
	require.NoError(t, err)
	r.spec, r.files = s, map[string]string{}
	// Random weights are drawn by the seed of the spec.
	fresh, err := vision.LoadClassifier(s.Model, s.Weights, vision.Head{Classes: s.Head.Classes, Seed: s.Seed})
	require.NoError(t, err)
	defer fresh.Close()
	r.before, r.input = digests(fresh), fresh.Input.Sized(32, 37)
	r.result, err = task.Train(t.Context(), func(e finetune.Event) error {
		switch e := e.(type) {
		case finetune.Planned:
			r.plans = append(r.plans, e.Plan)
		case finetune.FreezeChecked:
			r.checked++
		}
		return nil
	})
	require.NoError(t, err)
	for _, name := range []string{"best.safetensors", "last.safetensors", "config.json"} {
		content, err := os.ReadFile(filepath.Join(out, "weights", name))
		require.NoError(t, err)
		r.files[name] = string(content)
	}
	last, err := vision.OpenClassifier(filepath.Join(out, "weights"), filepath.Join(out, "weights", "last.safetensors"))
	require.NoError(t, err)
	defer last.Close()
	r.after = digests(last)
	assert.Equal(t, r.input, last.Input)
	assert.Equal(t, s.Head.Classes, last.Classes)
	return r
}

// moved are the keys whose values a run changed.
func (r imageRun) moved() (keys []string) {
	for key, d := range r.after {
		if d != r.before[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// of are all keys with one of the prefixes.
func (r imageRun) of(prefixes ...string) (keys []string) {
	for key := range r.after {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// What is trained moves, statistics too; what is frozen stays to the bit; the weights open again and measure the same.
func TestTrainImages(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 8, 6)
	for _, c := range []struct {
		name      string
		overrides []string
		frozen    int   // stages
		cached    int64 // bytes
		moved     []string
	}{
		{"head", nil, 6, 48 * 512 * 4, []string{"fc."}},
		{"head, nothing kept", []string{"cache=off"}, 6, 0, []string{"fc."}},
		{"head of random crops", []string{"images.augment=crop"}, 6, 0, []string{"fc."}},
		{"head of views of random crops", []string{"images.augment=crop", "cache.views=3"}, 6, (3*32 + 16) * 512 * 4, []string{"fc."}},
		{"layer4 and head", []string{"phases[0].train=top 1", "phases[0].epochs=1"}, 4, 48 * 256 * 2 * 2 * 4, []string{"fc.", "layer4."}},
		{"layer4 by name, mixed", []string{"phases[0].train=layer4", "phases[0].epochs=1", "images.mixup=0.2", "images.cutmix=1"}, 4, 0, []string{"fc.", "layer4."}},
		{"all", []string{"phases[0].train=all", "phases[0].lr=1e-3"}, 0, 0, []string{""}},
		{"all, with everything random", []string{"phases[0].train=all", "phases[0].lr=1e-3", "phases[0].epochs=1", "images.augment=randaugment", "images.erase=0.3", "images.mixup=0.2"}, 0, 0, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := trainImages(t, folder, c.overrides...)
			plan := r.plans[0]
			assert.Equal(t, c.frozen, plan.NumFrozen)
			assert.Equal(t, c.cached, plan.CacheBytes)
			assert.Equal(t, c.cached > 0, plan.Cached)
			assert.Equal(t, r.of(c.moved...), r.moved())
			assert.Equal(t, 1, r.checked, "frozen tensors unchanged")

			run, err := recipe.OpenRun(r.result.Folder)
			require.NoError(t, err)
			defer run.Close()
			score, err := run.Evaluate(t.Context(), recipe.EvalOptions{Device: "cpu", Precision: "auto", Batch: 16})
			require.NoError(t, err)
			assert.Equal(t, 16, score.Rows)
			assert.Equal(t, r.result.Best.Classes, score.Classes)
			assert.InDelta(t, r.result.Best.Loss, score.Loss, 1e-5) // kept features go through the head in other groups
		})
	}
}

// A cache of the frozen stages changes nothing but the time.
func TestKeptFeaturesAreTheFeatures(t *testing.T) {
	folder := imagePlace(t, 3, 6)
	kept, anew := trainImages(t, folder), trainImages(t, folder, "cache=off")
	for i := range kept.result.Epochs {
		assert.InDelta(t, anew.result.Epochs[i].TrainLoss, kept.result.Epochs[i].TrainLoss, 1e-4)
		assert.InDelta(t, anew.result.Epochs[i].Test.Loss, kept.result.Epochs[i].Test.Loss, 1e-4)
	}
}

// A seed decides a run to the byte, whatever the workers; another seed is another run.
func TestTrainImagesIsRepeatable(t *testing.T) {
	folder := imagePlace(t, 3, 6)
	all := []string{"phases[0].train=all", "phases[0].lr=1e-3", "images.augment=trivialaugment", "images.cutmix=1", "threads=1"}
	want := trainImages(t, folder, append(all, "images.workers=1")...)
	same := trainImages(t, folder, append(all, "images.workers=5")...)
	assert.True(t, maps.Equal(want.files, same.files))
	other := trainImages(t, folder, append(all, "seed=4")...)
	assert.NotEqual(t, want.files["last.safetensors"], other.files["last.safetensors"])
}

// It learns: images of three plain colours are told apart.
func TestTrainImagesLearns(t *testing.T) {
	r := trainImages(t, imagePlace(t, 3, 8), "phases[0].train=all", "phases[0].lr=1e-3", "phases[0].head_lr=1e-3", "phases[0].epochs=8", "batch.size=4")
	assert.Greater(t, r.result.Best.Value("accuracy"), 0.6, "a third is chance")
	assert.Less(t, r.result.Epochs[len(r.result.Epochs)-1].TrainLoss, 0.75*r.result.Epochs[0].TrainLoss)
}

// Damaged images in training and in test are left out by a run that says so.
func TestTrainImagesSkips(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 3, 6)
	a := openAlbum(t, filepath.Join(folder, "images"))
	damaged := []int{0, 1, 4, 10, 13} // the first of all, too
	for _, i := range damaged {
		damage(t, a, i)
	}
	task, s, err := openImages(t, folder, "out="+filepath.Join(t.TempDir(), "run"))
	require.NoError(t, err)
	_, err = task.Train(t.Context(), nil)
	require.ErrorContains(t, err, "cut off")
	assert.ErrorContains(t, err, "(images.unreadable=skip leaves such images out)")
	assert.NoDirExists(t, s.Out)
	chosen, err := data.Split(a.ClassNumbers(), "0.34", s.Seed)
	require.NoError(t, err)
	rows := 6
	for _, i := range damaged {
		if chosen[i] {
			rows--
		}
	}
	for _, o := range []string{"images.augment=none", "images.augment=crop", "batch={size: 1, eval_size: 1}"} { // batches of nothing
		task, _, err := openImages(t, folder, "images.unreadable=skip", o, "out="+filepath.Join(t.TempDir(), "run"))
		require.NoError(t, err)
		var told []string
		result, err := task.Train(t.Context(), func(e finetune.Event) error {
			if w, ok := e.(train.Warning); ok && w.Kind == train.Skipped {
				told = append(told, w.Text)
			}
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, rows, result.Last.Rows)
		require.Len(t, told, 1)
		assert.Regexp(t, `^5 images left out, unreadable; the first: reading picture .*cut off`, told[0])
	}
}

// A table of paths and labels is trained on as a folder is, to the last digit.
func TestTrainImagesOfATable(t *testing.T) {
	folder := imagePlace(t, 3, 6)
	f, err := os.Create(filepath.Join(folder, "rows.csv"))
	require.NoError(t, err)
	w := csv.NewWriter(f)
	require.NoError(t, w.Write([]string{"file", "kind"}))
	a := openAlbum(t, filepath.Join(folder, "images"))
	for i := range a.Len() {
		path, err := filepath.Rel(folder, a.Name(i))
		require.NoError(t, err)
		require.NoError(t, w.Write([]string{path, fmt.Sprint("kind ", a.Class(i))}))
	}
	w.Flush()
	require.NoError(t, f.Close())
	rows := trainImages(t, folder, "data.train="+f.Name(), "data.columns.image=file", "data.columns.label=kind", "threads=1")
	assert.Equal(t, []string{"kind 0", "kind 1", "kind 2"}, rows.spec.Head.Classes)
	assert.Equal(t, 12, rows.plans[0].Rows)
	assert.Equal(t, 6, rows.result.Before.Rows)
	folders := trainImages(t, folder, "threads=1")
	assert.Equal(t, folders.after, rows.after)
	assert.Equal(t, folders.result.Before.Loss, rows.result.Before.Loss)
	assert.Equal(t, folders.result.Last.Loss, rows.result.Last.Loss)
}

// Other images, or classes that are no longer the run's, are noticed.
func TestEvaluateImageRun(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 3, 6)
	path := trainImages(t, folder).result.Folder
	run, err := recipe.OpenRun(path)
	require.NoError(t, err)
	defer run.Close()
	evaluate := func(images string) (rows int, err error) {
		score, err := run.Evaluate(t.Context(), recipe.EvalOptions{Data: images, Device: "cpu"})
		if err != nil {
			return 0, err
		}
		return score.Rows, nil
	}
	rows, err := evaluate(drawings(t, 2, 2)) // not all classes need be there
	require.NoError(t, err)
	assert.Equal(t, 4, rows)
	other := drawings(t, 4, 1)
	_, err = evaluate(other)
	assert.EqualError(t, err, "opening pictures: "+other+`: the folder "class3" is not a class; the classes are "class0", "class1", "class2"; did you mean "class0"?`)

	own, err := os.ReadFile(filepath.Join(path, finetune.SpecFile))
	require.NoError(t, err)
	change := func(pattern, to string) { // of the run's own spec
		t.Helper()
		p := regexp.MustCompile(pattern)
		require.True(t, p.Match(own), "%s in %s", pattern, own)
		require.NoError(t, os.WriteFile(filepath.Join(path, finetune.SpecFile), p.ReplaceAll(own, []byte(to)), 0o644))
	}
	change(`class0, class1`, "class1, class0")
	_, err = evaluate("")
	assert.ErrorContains(t, err, "the classes of its weights are [class0 class1 class2], those of its spec [class1 class0 class2]")
	change(`(?m)^( +test:).*$`, `$1 ""`)
	_, err = evaluate("")
	assert.EqualError(t, err, path+" has no test images: name some with --data")

	require.NoError(t, os.WriteFile(filepath.Join(path, finetune.SpecFile), own, 0o644))
	require.NoError(t, os.RemoveAll(filepath.Join(folder, "images")))
	_, err = evaluate("")
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "the test images of "+path+": ")
	change(`(?m)^( +test:).*$`, "$1 "+drawings(t, 2, 2)) // with test images of its own the training images may be gone
	rows, err = evaluate("")
	require.NoError(t, err)
	assert.Equal(t, 4, rows)

	best := filepath.Join(path, "weights", "best.safetensors")
	require.NoError(t, os.Truncate(best, 1000))
	_, err = recipe.OpenRun(path)
	assert.ErrorContains(t, err, best)
}

// Adapters in convolutions leave weights without adapters: what has some has moved, batch norms have not.
func TestTrainAdaptersOfImages(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 4, 6)
	r := trainImages(t, folder, "phases[0].train=lora", "lora={rank: 2, layers: top 1}", "phases[0].lr=1e-2", "images.augment=none")
	assert.Equal(t, 4, r.plans[0].NumFrozen)
	assert.True(t, r.plans[0].Cached)
	assert.Equal(t, 1, r.checked)
	var want []string
	for _, key := range r.of("fc.", "layer4.") {
		if strings.HasPrefix(key, "fc.") || strings.Contains(key, "conv") || strings.HasSuffix(key, "downsample.0.weight") {
			want = append(want, key)
		}
	}
	assert.Equal(t, want, r.moved())

	run, err := recipe.OpenRun(r.result.Folder)
	require.NoError(t, err)
	defer run.Close()
	score, err := run.Evaluate(t.Context(), recipe.EvalOptions{Device: "cpu", Precision: "auto", Batch: 16})
	require.NoError(t, err)
	assert.InDelta(t, r.result.Best.Loss, score.Loss, 1e-5)

	// The adapters alone, on the network that the run began with.
	beside, err := vision.LoadClassifier(r.spec.Model, r.spec.Weights, vision.Head{Classes: r.spec.Head.Classes, Seed: r.spec.Seed})
	require.NoError(t, err)
	defer beside.Close()
	_, err = lora.Load(beside.Stages(), filepath.Join(r.result.Folder, "weights", "adapter"))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "merged.safetensors")
	require.NoError(t, beside.Net.Save(path, vision.Torchvision))
	best, err := os.ReadFile(filepath.Join(r.result.Folder, "weights", "best.safetensors"))
	require.NoError(t, err)
	merged, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, string(best) == string(merged), "merged weights are those of the run")
}
