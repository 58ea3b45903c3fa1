package vision_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
)

// inMemory are drawings of so many classes, class after class, in memory and as an album of PNGs.
func inMemory(t testing.TB, classes, each, first int) (items data.Items[vision.Item], folder string) {
	t.Helper()
	folder = t.TempDir()
	for class := range classes {
		require.NoError(t, os.Mkdir(filepath.Join(folder, fmt.Sprint("class", class)), 0o755))
		for i := range each {
			m := drawing(class, first+i, 30+3*i+class, 44-2*i)
			items = append(items, vision.Item{Image: vision.Pixels(fmt.Sprint("frame ", i), m), Class: class})
			path := filepath.Join(folder, fmt.Sprint("class", class), fmt.Sprintf("%c.png", 'a'+i))
			require.NoError(t, os.WriteFile(path, encoded(t, m), 0o644))
		}
	}
	return items, folder
}

// Pixels of items are those of the same pictures in files, of whatever transforms, epoch and batch.
func TestItemsAreTheirAlbum(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	items, folder := inMemory(t, 3, 4, 0)
	a := openAlbum(t, folder)
	for name, o := range map[string]vision.DatasetOptions{
		"crop": {}, "none": {Augment: "none"}, "flip": {Augment: "flip"}, "narrow": {Scale: [2]float64{0.1, 0.3}},
		"everything": {Augment: "randaugment", Erase: 0.5, MixUp: 0.4, CutMix: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o.Seed = 7
			memory, err := c.NewDataset(items, o)
			require.NoError(t, err)
			files, err := vision.NewDataset(a, tiny, o)
			require.NoError(t, err)
			assert.Equal(t, files.Len(), memory.Len())
			for epoch := range 4 {
				// Pictures before each of these are of another size: nothing of their transforms is left.
				assert.Equal(t, batch(t, files, epoch, 3, 11, 4, 0, 7), batch(t, memory, epoch, 3, 11, 4, 0, 7), "epoch %d", epoch)
				assert.Equal(t, batch(t, files, epoch, 9), batch(t, memory, epoch, 9), "epoch %d", epoch)
			}
		})
	}
	// A source may make its images when they are asked for, and give bytes in place of pixels.
	lazy := data.Slice([]int{0, 1, 2, 3}, func(i int) (vision.Item, error) {
		return vision.Item{Image: vision.Encoded("upload", encoded(t, drawing(0, i, 30+3*i, 44-2*i)))}, nil
	})
	memory, err := c.NewDataset(lazy, vision.DatasetOptions{Seed: 7})
	require.NoError(t, err)
	files, err := vision.NewDataset(a, tiny, vision.DatasetOptions{Seed: 7})
	require.NoError(t, err)
	assert.Equal(t, batch(t, files, 2, 2, 0, 3), batch(t, memory, 2, 2, 0, 3))
}

// fitted is what a run came to.
type fitted struct {
	result *finetune.Result
	plan   *finetune.Plan
	after  map[string]uint64
}

func fit(t testing.TB, c *vision.Classifier, trainSet, testSet *vision.Dataset, o finetune.Options) (f fitted) {
	t.Helper()
	o.OnEvent = func(e finetune.Event) error {
		if e, ok := e.(finetune.Planned); ok && f.plan == nil {
			f.plan = e.Plan
		}
		return nil
	}
	var err error
	f.result, err = finetune.Fit[*vision.Batch](t.Context(), c, trainSet, testSet, o)
	require.NoError(t, err)
	f.after = digests(c.Net)
	return f
}

// A ResNet is fine-tuned on images that no file has, and none is written; the same pictures in files give the same
// network, to the bit.
func TestFitOfImagesInMemory(t *testing.T) {
	items, folder := inMemory(t, 3, 6, 0)
	testItems, testFolder := inMemory(t, 3, 2, 100)
	empty := t.TempDir()
	t.Chdir(empty)
	for _, c := range []struct {
		name    string
		augment string
		phase   finetune.Phase
		cached  bool
	}{
		{"all, random crops", "", finetune.Phase{Train: finetune.All(), Epochs: 2, LR: 1e-3}, false},
		{"head, random crops", "crop", finetune.HeadFor(2), false},
		{"head, kept features", "none", finetune.HeadFor(2), true},
		{"layer4, kept features", "none", finetune.Phase{Train: finetune.Top(1), Epochs: 2, LR: 1e-3}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := finetune.Options{Phases: []finetune.Phase{c.phase}, Batch: finetune.Batching{Size: 8}, Seed: 3, Device: "cpu"}
			set := vision.DatasetOptions{Augment: c.augment, Seed: 3}

			memory := scratch(t, "resnet18", 3)
			trainSet, err := memory.NewDataset(items, set)
			require.NoError(t, err)
			testSet, err := memory.NewDataset(testItems, set)
			require.NoError(t, err)
			before := digests(memory.Net)
			got := fit(t, memory, trainSet, testSet, o)
			assert.Equal(t, c.cached, got.plan.Cached)
			assert.NotEqual(t, before["fc.weight"], got.after["fc.weight"])
			written, err := os.ReadDir(empty)
			require.NoError(t, err)
			assert.Empty(t, written)
			assert.Empty(t, got.result.Folder)

			files := scratch(t, "resnet18", 3)
			require.Equal(t, before, digests(files.Net))
			trainSet, err = vision.NewDataset(openAlbum(t, folder), tiny, set)
			require.NoError(t, err)
			testSet, err = vision.NewDataset(openAlbum(t, testFolder), tiny, set)
			require.NoError(t, err)
			want := fit(t, files, trainSet, testSet, o)
			assert.Equal(t, want.after, got.after)
			require.Len(t, got.result.Epochs, 2)
			for i, e := range want.result.Epochs {
				assert.Equal(t, e.TrainLoss, got.result.Epochs[i].TrainLoss)
				assert.Equal(t, e.Test, got.result.Epochs[i].Test)
			}
			assert.Equal(t, 6, got.result.Last.Rows)
		})
	}
}

// plain is a picture of one colour with a little noise.
func plain(red, green, blue uint8, number int) image.Image {
	m := drawing(0, number, 40, 40).(*image.RGBA)
	for i := 0; i < len(m.Pix); i += 4 {
		noise := m.Pix[i] / 4 // below 10
		m.Set(i/4%40, i/160, color.RGBA{red + noise, green + noise, blue + noise, 255})
	}
	return m
}

// readConfig reads what lies beside a run's weights.
func readConfig(t testing.TB, f *finetune.Folder) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.Weights(), "config.json"))
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.NewDecoder(bytes.NewReader(text)).Decode(&config))
	return config
}

// Every problem type is trained, saved as transformers spells it, and opened again to the same predictions, by
// whatever opens it.
func TestProblemTypesFromGoToAFolder(t *testing.T) {
	bit := func(i, b int) int { return i >> b & 1 }
	for _, c := range []struct {
		head    vision.Head
		item    func(i int) vision.Item // its image aside
		metrics []string
		config  map[string]any
	}{
		{
			vision.Head{Problem: objective.Regression, Seed: 1},
			func(i int) vision.Item { return vision.Item{Value: float64(bit(i, 0)+2*bit(i, 1)) - 1.5} },
			[]string{"mse", "mae", "pearson", "spearman"},
			map[string]any{
				"problem_type": "regression", "num_labels": 1.,
				"id2label": map[string]any{"0": "LABEL_0"}, "label2id": map[string]any{"LABEL_0": 0.},
			},
		},
		{
			vision.Head{Classes: []string{"red", "green", "blue"}, Problem: objective.MultiLabel, Seed: 1},
			func(i int) (item vision.Item) {
				for b := range 3 {
					if bit(i, b) == 1 {
						item.Labels = append(item.Labels, b)
					}
				}
				return item
			},
			[]string{"micro_f1", "macro_f1", "subset_accuracy"},
			map[string]any{
				"problem_type": "multi_label_classification", "num_labels": 3.,
				"id2label": map[string]any{"0": "red", "1": "green", "2": "blue"},
				"label2id": map[string]any{"red": 0., "green": 1., "blue": 2.},
			},
		},
		{
			vision.NewHead("dark", "bright"),
			func(i int) vision.Item { return vision.Item{Class: bit(i, 0)} },
			[]string{"accuracy", "macro_f1"},
			map[string]any{
				"problem_type": "single_label_classification", "num_labels": 2.,
				"id2label": map[string]any{"0": "dark", "1": "bright"}, "label2id": map[string]any{"dark": 0., "bright": 1.},
			},
		},
	} {
		t.Run(string(c.config["problem_type"].(string)), func(t *testing.T) {
			model, err := vision.LoadClassifier("resnet18", "none", c.head)
			require.NoError(t, err)
			defer model.Close()
			model.Input = tiny
			var items data.Items[vision.Item]
			var images []vision.Image
			for i := range 24 {
				item := c.item(i)
				m := plain(uint8(200*bit(i, 0)), uint8(200*bit(i, 1)), uint8(200*bit(i, 2)), i)
				item.Image = vision.Pixels(fmt.Sprint("frame ", i), m)
				items, images = append(items, item), append(images, item.Image)
			}
			set, err := model.NewDataset(items, vision.DatasetOptions{Augment: "flip", Seed: 1})
			require.NoError(t, err)
			folder := finetune.NewFolder(filepath.Join(t.TempDir(), "run"))
			f := fit(t, model, set, set, finetune.Options{
				Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 8, LR: 1e-3, HeadLR: 1e-3}},
				Batch:  finetune.Batching{Size: 8}, Seed: 1, Device: "cpu", Folder: folder,
			})
			first, last := f.result.Epochs[0], f.result.Epochs[7]
			assert.Less(t, last.TrainLoss, 0.5*first.TrainLoss)
			var names []string
			for _, v := range f.result.Last.Values {
				names = append(names, v.Name)
			}
			assert.Equal(t, c.metrics, names)

			config := readConfig(t, folder)
			for key, want := range c.config {
				assert.Equal(t, want, config[key], key)
			}
			want, err := model.Predict(t.Context(), images, finetune.PredictOptions{})
			require.NoError(t, err)
			wrong := 0
			for i, p := range want {
				switch c.head.Problem {
				case objective.Regression:
					require.NotNil(t, p.Value)
					assert.Equal(t, float64(p.Logits[0]), *p.Value)
					assert.Empty(t, p.Label)
					if math.Abs(*p.Value-items[i].Value) > 1 {
						wrong++
					}
				case objective.MultiLabel:
					var labels []int
					for k, name := range c.head.Classes {
						assert.InDelta(t, 1/(1+math.Exp(-float64(p.Logits[k]))), p.Scores[name], 1e-12)
						if p.Scores[name] > 0.5 {
							labels = append(labels, k)
						}
					}
					assert.Len(t, p.Labels, len(labels))
					if !assert.ObjectsAreEqual(items[i].Labels, labels) {
						wrong++
					}
				default:
					if p.Class != items[i].Class {
						wrong++
					}
				}
			}
			assert.LessOrEqual(t, wrong, 6, "of 24 that were trained on")

			exported := filepath.Join(t.TempDir(), "exported")
			require.NoError(t, model.SaveTransformers(exported))
			last24 := filepath.Join(folder.Weights(), "last.safetensors")
			for name, open := range map[string]func() (*vision.Classifier, error){
				"OpenClassifier":             func() (*vision.Classifier, error) { return vision.OpenClassifier(folder.Weights(), last24) },
				"OpenPretrained":             func() (*vision.Classifier, error) { return vision.OpenPretrained(last24, "") },
				"OpenClassifier of exported": func() (*vision.Classifier, error) { return vision.OpenClassifier(exported, "") },
				"OpenPretrained of exported": func() (*vision.Classifier, error) { return vision.OpenPretrained(exported, "") },
			} {
				again, err := open()
				require.NoError(t, err, name)
				defer again.Close()
				assert.Equal(t, objective.ProblemType(c.config["problem_type"].(string)), again.ProblemType, name)
				assert.Equal(t, model.Classes, again.Classes, name)
				got, err := again.Predict(t.Context(), images, finetune.PredictOptions{})
				require.NoError(t, err, name)
				assert.Equal(t, want, got, name)
			}
		})
	}
}

// What is wrong with items is told by name before anything is trained, or when the image is read.
func TestWrongItems(t *testing.T) {
	m := drawing(0, 0, 40, 40)
	named, unnamed := vision.Pixels("cat 1", m), vision.Pixels("", m)
	for _, c := range []struct {
		problem objective.ProblemType
		items   data.Source[vision.Item]
		o       vision.DatasetOptions
		want    string
	}{
		{"", data.Items[vision.Item]{{Image: named}, {Image: named, Class: 3}}, vision.DatasetOptions{}, "cat 1: there is no class 3: the classes are 0 to 2"},
		{"", data.Items[vision.Item]{{Image: named}, {Image: unnamed, Class: -1}}, vision.DatasetOptions{}, "image 1: there is no class -1: the classes are 0 to 2"},
		{objective.MultiLabel, data.Items[vision.Item]{{Image: named, Labels: []int{0, 3}}}, vision.DatasetOptions{}, "cat 1: there is no label 3: the labels are 0 to 2"},
		{objective.Regression, data.Items[vision.Item]{{Image: named, Value: math.NaN()}}, vision.DatasetOptions{}, "cat 1: the value is NaN: a finite number is needed"},
		{objective.Regression, data.Items[vision.Item]{{Image: named}}, vision.DatasetOptions{MixUp: 1}, "MixUp and CutMix mix the classes of a classification, and these pictures have none"},
		{"", data.Slice([]int{1}, func(int) (vision.Item, error) { return vision.Item{}, errTest }), vision.DatasetOptions{}, "reading image 0: no more"},
	} {
		model := scratch(t, "resnet18", 3)
		model.ProblemType = c.problem
		_, err := model.NewDataset(c.items, c.o)
		assert.EqualError(t, err, c.want)
	}

	model := scratch(t, "resnet18", 3)
	bad := data.Items[vision.Item]{
		{Image: named}, {Image: vision.Encoded("upload", []byte("no picture"))}, {}, {Image: vision.File("none.png")},
		{Image: vision.Pixels("gone", nil), Class: 1},
	}
	set, err := model.NewDataset(bad, vision.DatasetOptions{})
	require.NoError(t, err)
	for i, want := range []string{
		"", "reading picture upload: it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM",
		"reading picture 2: there is no image: make one with File, Encoded or Pixels", "reading picture none.png: no such file or directory",
		"reading picture gone: the image is nil",
	} {
		for epoch := range 2 {
			b, err := set.Batch(data.Request{Indices: []int{i}, Epoch: epoch})
			b.Close()
			if want == "" {
				assert.NoError(t, err)
				continue
			}
			assert.EqualError(t, err, want)
			assert.ErrorAs(t, err, new(*vision.UnreadableError))
		}
	}
	set, err = model.NewDataset(bad, vision.DatasetOptions{SkipUnreadable: true})
	require.NoError(t, err)
	left := batch(t, set, 1, 0, 1, 2, 3, 4)
	assert.Equal(t, []int{0}, left.Index)
	assert.Equal(t, []int{0}, left.Target.Classes)
	assert.Len(t, set.Skipped(), 4)
	_, err = finetune.Fit[*vision.Batch](context.Background(), model, set, nil, finetune.Options{Device: "cpu"})
	assert.NoError(t, err)
}
