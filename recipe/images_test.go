package recipe_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/torch"
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

	_, _, err = openImages(t, folder, "data.test="+test, "images.unreadable=skip")
	assert.ErrorContains(t, err, "the data is not fit to train on: 5 test images (83.3 %) are in the training data too")
	task, _, err := openImages(t, folder, "data.test="+test, "images.unreadable=skip", "accept=[duplicates]", "out="+filepath.Join(folder, "run"))
	require.NoError(t, err)
	lines := task.Describe()[3:]
	for i := range lines {
		lines[i][1] = strings.ReplaceAll(without(lines[i][1], folder), test, "TEST")
	}
	assert.Equal(t, [][2]string{
		{"warning", "5 images in training and test alike, which makes the measures too good; the first: FOLDER/images/class0/a.jpg and TEST/class0/a.jpg"},
		{"warning", "1 image left out; the first: " + noPicture},
		{"warning", "1 file that is no image passed over; the first: FOLDER/images/class1/notes.txt"},
		{"accepted", "duplicates: 5 test images (83.3 %) are in the training data too: a score on them tells nothing of new images; remove them from either"},
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
