package recipe_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
)

const imageSpec = `model: resnet18
weights: none
data: {train: images, test: "0.34"}
images: {size: 32, augment: none}
batch: {size: 8}
device: cpu
phases:
  - {train: head, epochs: 2, lr: 1e-2}
`

// sameTensors fails when tensors were left by the test.
func sameTensors(t *testing.T) {
	t.Helper()
	before := torch.Stats()
	t.Cleanup(func() {
		after := torch.Stats()
		assert.Equal(t, [2]int64{before.Tensors, before.Collected}, [2]int64{after.Tensors, after.Collected}, "live tensors, collected ones")
	})
}

// drawing is a noisy image, whose brightness follows from its class.
func drawing(class, number, width, height int) image.Image {
	rng := rand.New(rand.NewPCG(uint64(class), uint64(number)))
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			v := 30*class + rng.IntN(40)
			m.Set(x, y, color.RGBA{byte(v), byte(v + x), byte(255 - v - y), 255})
		}
	}
	return m
}

// drawings makes a folder per class, of JPEGs and PNGs of 16 to 32 pixels: a.jpg comes before b.png, and so on.
func drawings(t testing.TB, classes, each int) string {
	t.Helper()
	folder := t.TempDir()
	for c := range classes {
		at := filepath.Join(folder, fmt.Sprintf("class%d", c))
		require.NoError(t, os.Mkdir(at, 0o755))
		for i := range each {
			var b bytes.Buffer
			name, m := fmt.Sprintf("%c.png", 'a'+i), drawing(c, i, 16+(7*i+c)%17, 16+(5*i+3*c)%17)
			if i%2 == 0 {
				name = strings.Replace(name, "png", "jpg", 1)
				require.NoError(t, jpeg.Encode(&b, m, nil))
			} else {
				require.NoError(t, png.Encode(&b, m))
			}
			require.NoError(t, os.WriteFile(filepath.Join(at, name), b.Bytes(), 0o644))
		}
	}
	return folder
}

// imagePlace is a folder with spec.yaml and images of so many classes.
func imagePlace(t testing.TB, classes, each int) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, os.Rename(drawings(t, classes, each), filepath.Join(folder, "images")))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "spec.yaml"), []byte(imageSpec), 0o644))
	return folder
}

// openImages opens spec.yaml of a folder.
func openImages(t testing.TB, folder string, overrides ...string) (recipe.Task, recipe.Spec, error) {
	t.Helper()
	s, err := recipe.Read(filepath.Join(folder, "spec.yaml"), overrides...)
	require.NoError(t, err)
	task, err := recipe.Open(t.Context(), &s)
	if err == nil {
		t.Cleanup(task.Close)
	}
	return task, s, err
}

// without puts FOLDER in a folder's place.
func without(text, folder string) string { return strings.ReplaceAll(text, folder, "FOLDER") }

func openAlbum(t testing.TB, path string) *album.Album {
	t.Helper()
	a, err := album.Open(path, album.Options{})
	require.NoError(t, err)
	return a
}

// damage cuts an image off within its pixels: its header stays good.
func damage(t testing.TB, a *album.Album, i int) {
	t.Helper()
	content, err := a.Bytes(i)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.Name(i), content[:len(content)-20], 0o644))
}

func TestOpenImages(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 3, 6)
	task, s, err := openImages(t, folder)
	require.NoError(t, err)
	decoder, err := picture.JPEGDecoder()
	require.NoError(t, err)
	assert.Equal(t, []string{"class0", "class1", "class2"}, s.Head.Classes)
	assert.Equal(t, []int{32, 37}, []int{s.Images.Size, s.Images.Resize})
	assert.Equal(t, [][2]string{
		{"model", "ResNet-18  11.2M parameters  random"},
		{"head", "new: 512 -> 3 [class0 class1 class2]"},
		{"data", "12 train · 6 test · 32 x 32 pixels · 0 test images also in train · " + decoder},
	}, task.Describe())

	task, _, err = openImages(t, folder, `data.test=""`)
	require.NoError(t, err)
	assert.Equal(t, [2]string{"data", "18 train · 0 test · 32 x 32 pixels · " + decoder}, task.Describe()[2])
	task, _, err = openImages(t, folder, "data.per_class=2")
	require.NoError(t, err)
	assert.Equal(t, [2]string{"data", "6 train · 6 test · 32 x 32 pixels · 0 test images also in train · " + decoder}, task.Describe()[2])
}

// What a person should know of the images is told.
func TestOpenImagesWarns(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 3, 6)
	test := drawings(t, 3, 2) // the first of the same images
	write := func(path, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "images", path), []byte(content), 0o644))
	}
	write("class1/notes.txt", "seen on Monday")
	write("class2/a.jpg", "no picture")
	const noPicture = "reading picture FOLDER/images/class2/a.jpg: it is no picture that can be read (text/plain; charset=utf-8): " +
		"want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM"
	_, _, err := openImages(t, folder, "data.test="+test)
	require.Error(t, err)
	assert.Equal(t, "cannot read 1 image (images.unreadable=skip leaves such out); the first: "+noPicture, without(err.Error(), folder))

	task, _, err := openImages(t, folder, "data.test="+test, "images.unreadable=skip", "out="+filepath.Join(folder, "run"))
	require.NoError(t, err)
	lines := task.Describe()[3:]
	for i := range lines {
		lines[i][1] = strings.ReplaceAll(without(lines[i][1], folder), test, "TEST")
	}
	assert.Equal(t, [][2]string{
		{"warning", "5 images in training and test alike, which makes the measures too good; the first: FOLDER/images/class0/a.jpg and TEST/class0/a.jpg"},
		{"warning", "1 image left out; the first: " + noPicture},
		{"warning", "1 file that is no image passed over; the first: FOLDER/images/class1/notes.txt"},
	}, lines)
	var warnings []train.Warning
	result, err := task.Train(t.Context(), func(e finetune.Event) error {
		if w, ok := e.(train.Warning); ok {
			w.Text = without(w.Text, folder)
			warnings = append(warnings, w)
		}
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, 6, result.Last.Rows)
	assert.Equal(t, []train.Warning{{Kind: train.Skipped, Text: "1 image left out, unreadable; the first: " + noPicture}}, warnings)

	task, s, err := openImages(t, folder, "images.unreadable=skip", "head.classes=[class1, class0]", "data.other_classes=skip")
	require.NoError(t, err)
	assert.Equal(t, []string{"class1", "class0"}, s.Head.Classes)
	assert.Equal(t, [2]string{"warning", "6 images of other classes left out"}, task.Describe()[4])
}

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

func TestOpenImagesRefuses(t *testing.T) {
	sameTensors(t)
	header := func(path string) func(t *testing.T, folder string) {
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
		{"no such model file", []string{"model=FOLDER/x.pth", `weights=""`}, nil, `: there is no file or folder FOLDER/x.pth`},
		{"one class", nil, func(t *testing.T, folder string) {
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "images", "class1")))
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "images", "class2")))
		}, `FOLDER/images has images of one class alone, [class0]: a classifier needs two or more`},
		{"no folders", nil, func(t *testing.T, folder string) {
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "images")))
			require.NoError(t, os.Mkdir(filepath.Join(folder, "images"), 0o755))
		}, "opening pictures: FOLDER/images: it holds no folders: make a folder for each class, named as the class, and put its pictures there, or open a table (.csv, .tsv, .jsonl) of paths and labels"},
		{"an empty folder", nil, func(t *testing.T, folder string) {
			require.NoError(t, os.Mkdir(filepath.Join(folder, "images", "class3"), 0o755))
		}, `"class3"`},
		{"missing class", []string{"head.classes=[class0, class1, class2, class3]"}, nil, `there is no picture of the class "class3"`},
		{"class not named", []string{"head.classes=[class0, class1]"}, nil, `the folder "class2" is not a class; the classes are "class0", "class1"; did you mean "class0"? (data.other_classes=skip leaves images of other classes out)`},
		{"no header", nil, header("images/class1/a.png"), "cannot read 1 image (images.unreadable=skip leaves such out); the first: reading picture FOLDER/images/class1/a.png: PNG: its header is cut off"},
		{"resize below the model's size", []string{"images.size=0", "images.resize=100"}, nil, `command line: images.resize=100: 100 is less than the 224 pixels of the model's input: give a larger one, or images.size too`},
		{"test of another class", []string{"data.test=FOLDER/other"}, func(t *testing.T, folder string) {
			require.NoError(t, os.Rename(drawings(t, 4, 1), filepath.Join(folder, "other")))
		}, `opening pictures: FOLDER/other: the folder "class3" is not a class; the classes are "class0", "class1", "class2"`},
		{"share", []string{"data.test=0.99999"}, func(t *testing.T, folder string) {
			require.NoError(t, os.RemoveAll(filepath.Join(folder, "images")))
			require.NoError(t, os.Rename(drawings(t, 2, 1), filepath.Join(folder, "images")))
		}, `command line: data.test=0.99999: FOLDER/images: split "0.99999": of 2 samples it puts 2 into training and 0 into the test`},
		{"stage", []string{"phases[0].train=layer5"}, nil, `command line: phases[0].train=layer5: no stage matches "layer5"; this model has stem, layer1 ... layer4, head`},
		{"the pooling", []string{"phases[0].train=pool"}, nil, `command line: phases[0].train=pool: no stage matches "pool"; this model has stem, layer1 ... layer4, head`},
		{"weights that are none", []string{"weights=FOLDER/spec.yaml"}, nil, `FOLDER/spec.yaml: `},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := imagePlace(t, 3, 6)
			if c.change != nil {
				c.change(t, folder)
			}
			for i := range c.overrides {
				c.overrides[i] = strings.ReplaceAll(c.overrides[i], "FOLDER", folder)
			}
			_, _, err := openImages(t, folder, c.overrides...)
			require.Error(t, err)
			assert.Contains(t, without(err.Error(), folder), c.want)
		})
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
