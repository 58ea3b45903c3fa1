package vision_test

import (
	"encoding/csv"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/picture"
)

// without puts FOLDER in a folder's place.
func without(err error, folder string) string {
	return strings.ReplaceAll(err.Error(), folder, "FOLDER")
}

// specFor is a spec made in Go for one phase.
func specFor(t testing.TB, train string) finetune.Spec {
	t.Helper()
	return finetune.Spec{
		Phases: []finetune.Phase{{Train: finetune.Selection{train}, Epochs: 1, LR: 1e-3}}, Pictures: &finetune.Pictures{},
		Batch: finetune.Batch{Size: 8}, Data: finetune.Data{Train: "pictures"}, Seed: 3, Out: filepath.Join(t.TempDir(), "run"), Device: "cpu",
	}
}

const pictureSpec = `model: resnet18
weights: none
data: {train: pictures, test: "0.34"}
pictures: {size: 32, augment: none}
batch: {size: 8}
device: cpu
phases:
  - {train: head, epochs: 2, lr: 1e-2}
`

// workplace is a folder with a spec and pictures of so many classes; it gives the spec's path.
func workplace(t testing.TB, classes, each int) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Rename(drawings(t, classes, each), filepath.Join(folder, "pictures")))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "spec.yaml"), []byte(pictureSpec), 0o644))
	return filepath.Join(folder, "spec.yaml")
}

func prepare(t testing.TB, spec string, overrides ...string) (*vision.Task, finetune.Spec, error) {
	t.Helper()
	s, err := finetune.ReadSpec(spec, overrides...)
	require.NoError(t, err)
	task, err := vision.Prepare(t.Context(), &s)
	if err == nil {
		t.Cleanup(task.Model.Close)
	}
	return task, s, err
}

// planned is a Reporter that keeps the plans.
type planned struct {
	told
	plans []*finetune.Plan
}

func (p *planned) Planned(_ int, plan *finetune.Plan) { p.plans = append(p.plans, plan) }

func TestPrepare(t *testing.T) {
	spec := workplace(t, 3, 6)
	task, s, err := prepare(t, spec)
	require.NoError(t, err)
	decoder, err := picture.JPEGDecoder()
	require.NoError(t, err)
	assert.Equal(t, []string{"class0", "class1", "class2"}, s.Head.Classes)
	assert.Equal(t, []int{32, 37}, []int{s.Pictures.Size, s.Pictures.Resize})
	assert.Equal(t, [2]int{12, 6}, [2]int{task.Train.Len(), task.Test.Len()})
	assert.Equal(t, [][2]string{
		{"model", "ResNet-18  11.2M parameters  random"},
		{"head", "new: 512 -> 3 [class0 class1 class2]"},
		{"data", "12 train · 6 test · 32 x 32 pixels · 0 test pictures also in train · " + decoder},
	}, task.Describe())
	assert.Empty(t, task.Skipped())

	task, _, err = prepare(t, spec, `data.test=""`)
	require.NoError(t, err)
	assert.Equal(t, [2]string{"data", "18 train · 0 test · 32 x 32 pixels · " + decoder}, task.Describe()[2])
}

// What a person should know of the pictures is told.
func TestPrepareWarns(t *testing.T) {
	spec := workplace(t, 3, 6)
	folder := filepath.Dir(spec)
	test := drawings(t, 3, 2) // the first of the same pictures
	write := func(path, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "pictures", path), []byte(content), 0o644))
	}
	write("class1/notes.txt", "seen on Monday")
	write("class2/a.jpg", "no picture")
	_, _, err := prepare(t, spec, "data.test="+test)
	assert.Equal(t, "cannot read 1 picture (pictures.unreadable=skip leaves such out); the first: reading picture FOLDER/pictures/class2/a.jpg: it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM", without(err, folder))

	task, s, err := prepare(t, spec, "data.test="+test, "pictures.unreadable=skip")
	require.NoError(t, err)
	assert.Equal(t, 5, len(task.Duplicates))
	lines := task.Describe()[3:]
	for i := range lines {
		lines[i][1] = strings.ReplaceAll(strings.ReplaceAll(lines[i][1], folder, "FOLDER"), test, "TEST")
	}
	assert.Equal(t, [][2]string{
		{"warning", "5 pictures in training and test alike, which makes the measures too good; the first: FOLDER/pictures/class0/a.jpg and TEST/class0/a.jpg"},
		{"warning", "1 picture left out; the first: reading picture FOLDER/pictures/class2/a.jpg: it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM"},
		{"warning", "1 file that is no picture passed over; the first: FOLDER/pictures/class1/notes.txt"},
	}, lines)
	s.Out = filepath.Join(folder, "run")
	result, err := finetune.Run(t.Context(), s, task.Model, task.Train, task.Test, nil)
	require.NoError(t, err)
	assert.Equal(t, 6, result.Last.Rows)
	assert.Equal(t, "1 picture left out, unreadable; the first: reading picture FOLDER/pictures/class2/a.jpg: it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM", strings.ReplaceAll(task.Skipped(), folder, "FOLDER"))

	task, s, err = prepare(t, spec, "pictures.unreadable=skip", "head.classes=[class1, class0]", "data.other_classes=skip")
	require.NoError(t, err)
	assert.Equal(t, []string{"class1", "class0"}, s.Head.Classes)
	assert.Equal(t, [2]string{"warning", "6 pictures of other classes left out"}, task.Describe()[4])
}

// outcome is what a run left.
type outcome struct {
	result  *finetune.Result
	plans   []*finetune.Plan
	before  map[string]uint64 // digests of the model's tensors
	after   map[string]uint64
	weights map[string]string // files
	notes   string
	model   *vision.Classifier
}

func fineTune(t *testing.T, spec string, overrides ...string) outcome {
	t.Helper()
	out := filepath.Join(t.TempDir(), "run")
	task, s, err := prepare(t, spec, append(overrides, "out="+out)...)
	require.NoError(t, err)
	o := outcome{before: digests(task.Model.Net), weights: map[string]string{}, model: task.Model}
	var report planned
	o.result, err = finetune.Run(t.Context(), s, task.Model, task.Train, task.Test, &report)
	require.NoError(t, err)
	o.after, o.plans, o.notes = digests(task.Model.Net), report.plans, strings.Join(report.told, "\n")
	for _, name := range []string{"best.safetensors", "last.safetensors", "config.json"} {
		data, err := os.ReadFile(filepath.Join(out, "weights", name))
		require.NoError(t, err)
		o.weights[name] = string(data)
	}
	return o
}

// moved are the keys whose values a run changed, by their stage.
func (o outcome) moved() (keys []string) {
	for key, d := range o.after {
		if d != o.before[key] {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// of are all keys with one of the prefixes, but for counters, which only trained norms have moving.
func (o outcome) of(prefixes ...string) (keys []string) {
	for key := range o.after {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(key, p) }) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// What is trained moves, statistics too; what is frozen stays to the bit; the weights open again and measure the same.
func TestFineTune(t *testing.T) {
	spec := workplace(t, 8, 6)
	for _, c := range []struct {
		name      string
		overrides []string
		prefix    int   // stages
		cached    int64 // bytes
		moved     []string
	}{
		{"head", nil, 6, 48 * 512 * 4, []string{"fc."}},
		{"head, nothing kept", []string{"cache=off"}, 6, 0, []string{"fc."}},
		{"head of random crops", []string{"pictures.augment=crop"}, 6, 0, []string{"fc."}},
		{"layer4 and head", []string{"phases[0].train=top 1", "phases[0].epochs=1"}, 4, 48 * 256 * 2 * 2 * 4, []string{"fc.", "layer4."}},
		{"layer4 by name, mixed", []string{"phases[0].train=layer4", "phases[0].epochs=1", "pictures.mixup=0.2", "pictures.cutmix=1"}, 4, 0, []string{"fc.", "layer4."}},
		{"all", []string{"phases[0].train=all", "phases[0].lr=1e-3"}, 0, 0, []string{""}},
		{"all, with everything random", []string{"phases[0].train=all", "phases[0].lr=1e-3", "phases[0].epochs=1", "pictures.augment=randaugment", "pictures.erase=0.3", "pictures.mixup=0.2"}, 0, 0, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := fineTune(t, spec, c.overrides...)
			plan := o.plans[0]
			assert.Equal(t, c.prefix, plan.Prefix)
			assert.Equal(t, c.cached, plan.CacheBytes)
			assert.Equal(t, c.cached > 0, plan.Cached)
			assert.Equal(t, o.of(c.moved...), o.moved())
			assert.Contains(t, o.notes, "frozen tensors unchanged")

			model, data, err := vision.OpenRun(o.result.Folder, readSpec(t, o.result.Folder), "")
			require.NoError(t, err)
			defer model.Close()
			assert.Equal(t, 16, data.Len())
			inference, err := finetune.NewInference(model, "cpu", "auto")
			require.NoError(t, err)
			metrics, err := inference.Evaluate(t.Context(), data, 16, nil)
			require.NoError(t, err)
			assert.Equal(t, o.result.Best.Confusion, metrics.Confusion)
			assert.InDelta(t, o.result.Best.Loss, metrics.Loss, 1e-5) // kept features go through the head in other groups
			last, err := vision.OpenClassifier(filepath.Join(o.result.Folder, "weights"), filepath.Join(o.result.Folder, "weights", "last.safetensors"))
			require.NoError(t, err)
			defer last.Close()
			assert.Equal(t, o.after, digests(last.Net))
			assert.Equal(t, o.model.Input, last.Input)
			assert.Equal(t, o.model.Classes, last.Classes)
		})
	}
}

func readSpec(t testing.TB, run string) *finetune.Spec {
	t.Helper()
	s, err := finetune.ReadSpec(filepath.Join(run, "spec.yaml"))
	require.NoError(t, err)
	return &s
}

// A cache of the frozen stages changes nothing but the time.
func TestKeptFeaturesAreTheFeatures(t *testing.T) {
	spec := workplace(t, 3, 6)
	kept, anew := fineTune(t, spec), fineTune(t, spec, "cache=off")
	for i := range kept.result.Epochs {
		assert.InDelta(t, anew.result.Epochs[i].TrainLoss, kept.result.Epochs[i].TrainLoss, 1e-4)
		assert.InDelta(t, anew.result.Epochs[i].Test.Loss, kept.result.Epochs[i].Test.Loss, 1e-4)
	}
}

// A seed decides a run to the byte, whatever the workers; another seed is another run.
func TestFineTuneIsRepeatable(t *testing.T) {
	spec := workplace(t, 3, 6)
	all := []string{"phases[0].train=all", "phases[0].lr=1e-3", "pictures.augment=trivialaugment", "pictures.cutmix=1", "threads=1"}
	want := fineTune(t, spec, append(all, "pictures.workers=1")...)
	same := fineTune(t, spec, append(all, "pictures.workers=5")...)
	assert.True(t, maps.Equal(want.weights, same.weights))
	other := fineTune(t, spec, append(all, "seed=4")...)
	assert.NotEqual(t, want.weights["last.safetensors"], other.weights["last.safetensors"])
}

// It learns: pictures of three plain colours are told apart.
func TestFineTuneLearns(t *testing.T) {
	o := fineTune(t, workplace(t, 3, 8), "phases[0].train=all", "phases[0].lr=1e-3", "phases[0].head_lr=1e-3", "phases[0].epochs=8", "batch.size=4")
	assert.Greater(t, o.result.Best.Accuracy, 0.6, "a third is chance")
	assert.Less(t, o.result.Epochs[len(o.result.Epochs)-1].TrainLoss, 0.75*o.result.Epochs[0].TrainLoss)
}

// Damaged pictures in training and in test are left out by a run that says so.
func TestFineTuneSkips(t *testing.T) {
	spec := workplace(t, 3, 6)
	a := openAlbum(t, filepath.Join(filepath.Dir(spec), "pictures"))
	for _, i := range []int{0, 1, 4, 10, 13} { // the first of all, too
		damage(t, a, i)
	}
	task, s, err := prepare(t, spec, "out="+filepath.Join(t.TempDir(), "run"))
	require.NoError(t, err)
	_, err = finetune.Run(t.Context(), s, task.Model, task.Train, task.Test, nil)
	require.ErrorContains(t, err, "cut off")
	assert.NoDirExists(t, s.Out)
	for _, o := range []string{"pictures.augment=none", "pictures.augment=crop", "batch={size: 1, eval_size: 1}"} { // batches of nothing
		task, s, err := prepare(t, spec, "pictures.unreadable=skip", o, "out="+filepath.Join(t.TempDir(), "run"))
		require.NoError(t, err)
		result, err := finetune.Run(t.Context(), s, task.Model, task.Train, task.Test, nil)
		require.NoError(t, err)
		skipped := len(task.Train.Skipped()) + len(task.Test.Skipped())
		assert.Equal(t, 5, skipped)
		assert.Equal(t, 6-len(task.Test.Skipped()), result.Last.Rows)
		assert.Regexp(t, `^5 pictures left out, unreadable; the first: reading picture .*cut off`, task.Skipped())
	}
}

func TestPrepareOfWrongSpecs(t *testing.T) {
	picture := func(path string) func(t *testing.T, folder string) {
		return func(t *testing.T, folder string) {
			require.NoError(t, os.WriteFile(filepath.Join(folder, path), []byte("\x89PNG\r\n\x1a\n"), 0o644))
		}
	}
	for _, c := range []struct {
		name      string
		overrides []string
		change    func(t *testing.T, folder string)
		want      string
	}{
		{"no such architecture", []string{"model=resnet19"}, nil, `command line: model=resnet19: no architecture is named "resnet19"; did you mean "resnet18"?`},
		{"no data", []string{"data.train=FOLDER/picture"}, nil, `: there is no file or folder FOLDER/picture`},
		{"no such weights", []string{"weights=FOLDER/r.pth"}, nil, `: there is no file FOLDER/r.pth`},
		{"a name with weights", []string{"model=resnet19", "weights=FOLDER/spec.yaml"}, nil, `did you mean "resnet18"?`},
		{"no such model file", []string{"model=FOLDER/x.pth", `weights=""`}, nil, `: stat FOLDER/x.pth: no such file or directory`},
		{"one class", nil, func(t *testing.T, folder string) {
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "pictures", "class1")))
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "pictures", "class2")))
		}, `FOLDER/pictures has pictures of one class alone, [class0]: a classifier needs two or more`},
		{"no folders", nil, func(t *testing.T, folder string) {
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "pictures")))
			require.NoError(t, os.Mkdir(filepath.Join(folder, "pictures"), 0o755))
		}, "opening pictures: FOLDER/pictures: it holds no folders: make a folder for each class, named as the class, and put its pictures there, or open a table (.csv, .tsv, .jsonl) of paths and labels"},
		{"an empty folder", nil, func(t *testing.T, folder string) {
			require.NoError(t, os.Mkdir(filepath.Join(folder, "pictures", "class3"), 0o755))
		}, `"class3"`},
		{"missing class", []string{"head.classes=[class0, class1, class2, class3]"}, nil, `there is no picture of the class "class3"`},
		{"class not named", []string{"head.classes=[class0, class1]"}, nil, `the folder "class2" is not a class; the classes are "class0", "class1"; did you mean "class0"? (data.other_classes=skip leaves pictures of other classes out)`},
		{"no header", nil, picture("pictures/class1/a.png"), "cannot read 1 picture (pictures.unreadable=skip leaves such out); the first: reading picture FOLDER/pictures/class1/a.png: PNG: its header is cut off"},
		{"resize below the model's size", []string{"pictures.size=0", "pictures.resize=100"}, nil, `command line: pictures.resize=100: 100 is less than the 224 pixels of the model's input: give a larger one, or pictures.size too`},
		{"test of another class", []string{"data.test=FOLDER/other"}, func(t *testing.T, folder string) {
			require.NoError(t, os.Rename(drawings(t, 4, 1), filepath.Join(folder, "other")))
		}, `opening pictures: FOLDER/other: the folder "class3" is not a class; the classes are "class0", "class1", "class2"`},
		{"share", []string{"data.test=0.99999"}, func(t *testing.T, folder string) {
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "pictures")))
			require.NoError(t, os.Rename(drawings(t, 2, 1), filepath.Join(folder, "pictures")))
		}, `command line: data.test=0.99999: split "0.99999": of the 2 pictures of FOLDER/pictures it puts 2 into training and 0 into the test`},
		{"stage", []string{"phases[0].train=layer5"}, nil, `command line: phases[0].train=layer5: no stage matches "layer5"; this model has stem, layer1 ... layer4, head`},
		{"the pooling", []string{"phases[0].train=pool"}, nil, `command line: phases[0].train=pool: no stage matches "pool"; this model has stem, layer1 ... layer4, head`},
		{"weights that are none", []string{"weights=FOLDER/spec.yaml"}, nil, `FOLDER/spec.yaml: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := workplace(t, 3, 6)
			folder := filepath.Dir(spec)
			if c.change != nil {
				c.change(t, folder)
			}
			for i := range c.overrides {
				c.overrides[i] = strings.ReplaceAll(c.overrides[i], "FOLDER", folder)
			}
			_, _, err := prepare(t, spec, c.overrides...)
			require.Error(t, err)
			assert.Contains(t, without(err, folder), c.want)
		})
	}
}

// A table of paths and labels is opened as a folder is.
func TestPrepareOfTable(t *testing.T) {
	spec := workplace(t, 3, 6)
	folder := filepath.Dir(spec)
	f, err := os.Create(filepath.Join(folder, "rows.csv"))
	require.NoError(t, err)
	w := csv.NewWriter(f)
	require.NoError(t, w.Write([]string{"file", "kind"}))
	a := openAlbum(t, filepath.Join(folder, "pictures"))
	for i := range a.Len() {
		path, err := filepath.Rel(folder, a.Name(i))
		require.NoError(t, err)
		require.NoError(t, w.Write([]string{path, fmt.Sprint("kind ", a.Class(i))}))
	}
	w.Flush()
	require.NoError(t, f.Close())
	task, s, err := prepare(t, spec, "data.train="+f.Name(), "data.columns.image=file", "data.columns.label=kind")
	require.NoError(t, err)
	assert.Equal(t, []string{"kind 0", "kind 1", "kind 2"}, s.Head.Classes)
	assert.Equal(t, [2]int{12, 6}, [2]int{task.Train.Len(), task.Test.Len()})
	folders, _, err := prepare(t, spec)
	require.NoError(t, err)
	assert.Equal(t, batch(t, folders.Test, 0, 0, 3, 5).Pixels, batch(t, task.Test, 0, 0, 3, 5).Pixels)
}

// Other pictures, or classes that are no longer the run's, are noticed.
func TestOpenRun(t *testing.T) {
	spec := workplace(t, 3, 6)
	o := fineTune(t, spec)
	run := o.result.Folder
	s := readSpec(t, run)

	model, data, err := vision.OpenRun(run, s, drawings(t, 2, 2)) // not all classes need be there
	require.NoError(t, err)
	defer model.Close()
	assert.Equal(t, 4, data.Len())
	assert.Equal(t, []string{"class0", "class1", "class2"}, data.Classes())
	other := drawings(t, 4, 1)
	_, _, err = vision.OpenRun(run, s, other)
	assert.EqualError(t, err, "opening pictures: "+other+`: the folder "class3" is not a class; the classes are "class0", "class1", "class2"; did you mean "class0"?`)

	swapped := *s
	swapped.Head.Classes = []string{"class1", "class0", "class2"}
	_, _, err = vision.OpenRun(run, &swapped, "")
	assert.ErrorContains(t, err, "the classes of its weights are [class0 class1 class2], those of its spec [class1 class0 class2]")

	none := *s
	none.Data.Test = ""
	_, _, err = vision.OpenRun(run, &none, "")
	assert.EqualError(t, err, run+" has no test pictures: name some with --data")
	require.NoError(t, os.RemoveAll(s.Data.Train))
	_, _, err = vision.OpenRun(run, s, "")
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "the test pictures of "+run+": ")
	own := *s // of a run with test pictures of its own the training pictures may be gone
	own.Data.Test = drawings(t, 2, 2)
	last, data, err := vision.OpenRun(run, &own, "")
	require.NoError(t, err)
	defer last.Close()
	assert.Equal(t, 4, data.Len())
	require.NoError(t, os.Truncate(filepath.Join(run, "weights", "best.safetensors"), 1000))
	_, _, err = vision.OpenRun(run, s, "")
	assert.ErrorContains(t, err, filepath.Join(run, "weights", "best.safetensors"))
}

func TestPredict(t *testing.T) {
	a := openAlbum(t, drawings(t, 3, 3))
	c := scratch(t, "resnet18", 7)
	nn.SetTraining(c, false)
	var paths []string
	for i := range a.Len() {
		paths = append(paths, a.Name(i))
	}
	one, err := c.Predict(t.Context(), paths, 1)
	require.NoError(t, err)
	require.Len(t, one, 9)
	for i, p := range one {
		assert.Equal(t, paths[i], p.Input)
		require.Len(t, p.Logits, 7)
		assert.Equal(t, slices.Index(p.Logits, slices.Max(p.Logits)), p.Class)
		assert.Equal(t, c.Classes[p.Class], p.Label)
		require.Len(t, p.Top, 5)
		assert.Equal(t, vision.Guess{Label: p.Label, Class: p.Class, Score: p.Score}, p.Top[0])
		for k := 1; k < 5; k++ {
			assert.GreaterOrEqual(t, p.Top[k-1].Score, p.Top[k].Score)
		}
	}
	for _, size := range []int{0, 2, 9, 100} {
		many, err := c.Predict(t.Context(), paths, size)
		require.NoError(t, err)
		for i := range many {
			assert.Equal(t, paths[i], many[i].Input)
			assert.InDeltaSlice(t, one[i].Logits, many[i].Logits, 1e-4)
		}
	}
	none, err := c.Predict(t.Context(), nil, 4)
	require.NoError(t, err)
	assert.Empty(t, none)
	damage(t, a, 4)
	for _, size := range []int{1, 3, 4, 5, 100} { // what stands before the damaged one is known
		before, err := c.Predict(t.Context(), paths, size)
		assert.ErrorContains(t, err, "reading picture "+paths[4]+": ")
		require.Len(t, before, 4, "batches of %d", size)
		for i := range before {
			assert.Equal(t, paths[i], before[i].Input)
			assert.InDeltaSlice(t, one[i].Logits, before[i].Logits, 1e-4)
		}
	}
	_, err = c.Predict(t.Context(), []string{paths[0], "none.png"}, 4)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.EqualError(t, err, "reading picture none.png: no such file or directory")
	torch.Scoped(func() { torch.NoGrad(func() { c.Net.FC.Bias.MulScalar_(math.Inf(1)) }) })
	c.Source = "weights.pth"
	_, err = c.Predict(t.Context(), paths[2:4], 4)
	assert.EqualError(t, err, paths[2]+": the network gives scores that are no finite numbers: the weights, weights.pth, are damaged")
}
