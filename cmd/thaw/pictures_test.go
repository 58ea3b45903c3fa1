package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision"
)

const pictureSpec = `model: resnet18
weights: none
data: {train: pictures, test: "0.25"}
images: {size: 32, augment: none}
batch: {size: 8}
device: cpu
phases:
  - {train: head, epochs: 2, lr: 1e-2}
`

// album makes a folder with a spec and 24 pictures of three classes, in a folder a class, and goes there.
func album(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	t.(*testing.T).Chdir(folder)
	t.Setenv("TORCH_HOME", t.TempDir())
	t.Setenv("HF_HOME", t.TempDir())
	for c, class := range []string{"blue", "green", "red"} {
		require.NoError(t, os.MkdirAll("pictures/"+class, 0o755))
		for i := range 8 {
			m := image.NewRGBA(image.Rect(0, 0, 20+i, 28-i))
			for p := range m.Pix {
				m.Pix[p] = byte((p*p + 31*i + p/7) % 90)
				if p%4 == 2-c || p%4 == 3 {
					m.Pix[p] = 255
				}
			}
			var b bytes.Buffer
			if i%2 == 0 {
				require.NoError(t, png.Encode(&b, m))
			} else {
				require.NoError(t, jpeg.Encode(&b, m, nil))
			}
			write(t, fmt.Sprintf("pictures/%s/%d.%s", class, i, []string{"png", "jpg"}[i%2]), b.String())
		}
	}
	write(t, "spec.yaml", pictureSpec)
	return folder
}

// albumTrained is an album with a run folder "run".
func albumTrained(t testing.TB, overrides ...string) string {
	t.Helper()
	folder := album(t)
	ok(t, "", append([]string{"train", "spec.yaml", "out=run"}, overrides...)...)
	return folder
}

func TestTrainPictures(t *testing.T) {
	folder := album(t)
	got := ok(t, "", "train", "spec.yaml")
	for _, want := range []string{
		"^thaw 0", "\nmodel     ResNet-18  11\\.2M parameters  random\n", "\nhead      new: 512 -> 3 \\[blue green red\\]\n",
		"\ndata      18 train · 6 test · 32 x 32 pixels · 0 test images also in train · ", "\nbefore ", "\nepoch 1 ", "\nepoch 2 ", "\nbest      accuracy ",
		"\nrun       " + folder + "/runs/spec-1\nreport    " + folder + "/runs/spec-1/report.html\n$",
	} {
		assert.Regexp(t, want, got)
	}
	assert.NotContains(t, got, "warning")
	for _, name := range []string{"spec.yaml", "plan.txt", "metrics.csv", "summary.json", "weights/best.safetensors", "weights/last.safetensors", "weights/config.json"} {
		assert.FileExists(t, "runs/spec-1/"+name)
	}
	// The resolved spec, in which classes and sizes now stand, is the same run.
	ok(t, "", "train", "runs/spec-1/spec.yaml", "out=again")
	assert.Equal(t, metrics(t, "runs/spec-1"), metrics(t, "again"))
	for _, name := range []string{"best.safetensors", "config.json"} {
		want, err := os.ReadFile("runs/spec-1/weights/" + name)
		require.NoError(t, err)
		got, err := os.ReadFile("again/weights/" + name)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(want, got), name)
	}

	// A further run starts from this one's weights.
	got = ok(t, "", "train", "spec.yaml", "model="+folder+"/again/weights", `weights=""`, "out=further", "phases[0].train=top 1")
	assert.Contains(t, got, folder+"/again/weights/best.safetensors\n")
	assert.Contains(t, got, "32 x 32 pixels")
}

// The same pictures by a table and out of an idx file.
func TestTrainTableAndIdx(t *testing.T) {
	album(t)
	var rows strings.Builder
	rows.WriteString("kind,file\n")
	for i := range 24 {
		class := []string{"blue", "green", "red"}[i%3]
		fmt.Fprintf(&rows, "%s,pictures/%s/%d.%s\n", class, class, i/3, []string{"png", "jpg"}[i/3%2])
	}
	write(t, "rows.csv", rows.String())
	table := ok(t, "", "train", "spec.yaml", "data.train=rows.csv", "data.columns.image=file", "data.columns.label=kind", "out=table")
	assert.Contains(t, table, "[blue green red]")
	assert.Contains(t, ok(t, "", "eval", "table"), "rows             6\n")
	assert.Contains(t, ok(t, "", "eval", "table", "--data=rows.csv"), "rows             24\n")
	assert.Contains(t, ok(t, "", "eval", "table", "--data=pictures"), "rows             24\n")

	for name, label := range map[string]byte{"train": 7, "t10k": 3} {
		images := binary.BigEndian.AppendUint32(nil, 0x803)
		labels := binary.BigEndian.AppendUint32(nil, 0x801)
		for _, n := range []uint32{20, 12, 12} {
			images = binary.BigEndian.AppendUint32(images, n)
		}
		labels = binary.BigEndian.AppendUint32(labels, 20)
		for i := range 20 {
			labels = append(labels, []byte{3, 7}[i%2])
			for p := range 144 {
				images = append(images, byte(i%2*150)+byte(p%int(label)*10))
			}
		}
		write(t, name+"-images-idx3-ubyte", string(images))
		write(t, name+"-labels-idx1-ubyte", string(labels))
	}
	idx := ok(t, "", "train", "spec.yaml", "data.train=train-images-idx3-ubyte", "data.test=t10k-images-idx3-ubyte", "out=idx")
	assert.Contains(t, idx, "[3 7]")
	assert.Contains(t, idx, "20 train · 20 test")
	assert.Contains(t, ok(t, "", "eval", "idx"), "rows             20\n")
}

func TestEvalAndPredictPictures(t *testing.T) {
	folder := albumTrained(t, "phases[0].train=all", "phases[0].lr=1e-3", "phases[0].head_lr=1e-3")
	got := ok(t, "", "eval", "run")
	assert.Regexp(t, `(?s)^rows             6\naccuracy         [01]\.\d{4}\nmacro_f1         .*\ntrue \\ predicted +blue +green +red\n`, got)
	var m struct {
		Rows           int
		Accuracy, Loss float64
	}
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "eval", "run", "--json")), &m))
	var summary struct {
		Best struct{ Accuracy, Loss float64 }
	}
	data, err := os.ReadFile("run/summary.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &summary))
	assert.Equal(t, summary.Best.Accuracy, m.Accuracy)
	assert.InDelta(t, summary.Best.Loss, m.Loss, 1e-5)
	assert.Contains(t, ok(t, "", "eval", "run", "--data=pictures"), "rows             24\n")

	paths := []string{"pictures/red/0.png", folder + "/pictures/blue/1.jpg"}
	plain := ok(t, "", append([]string{"predict", "run"}, paths...)...)
	assert.Regexp(t, `^(red  |green|blue )  [01]\.\d{3}  pictures/red/0.png\n(red  |green|blue )  [01]\.\d{3}  `+folder+`/pictures/blue/1\.jpg\n$`, plain)
	assert.Equal(t, plain, ok(t, strings.Join(paths, "\n")+"\n", "predict", "run"), "paths from the standard input")
	for _, model := range [][]string{{"--model=run/weights"}, {"--model=run/weights/best.safetensors"}, {"--model=run/weights", "--weights=run/weights/best.safetensors"}} {
		assert.Equal(t, plain, ok(t, "", append(append([]string{"predict"}, model...), paths...)...), model)
	}

	lines := strings.Split(strings.TrimSpace(ok(t, "", append([]string{"predict", "run", "--json", "--batch=1"}, paths...)...)), "\n")
	require.Len(t, lines, 2)
	for i, line := range lines {
		var p vision.Prediction
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&p))
		assert.Equal(t, paths[i], p.Input)
		assert.Len(t, p.Logits, 3)
		assert.Len(t, p.Top, 3)
		assert.Equal(t, p.Label, p.Top[0].Label)
		assert.InDelta(t, 1, p.Top[0].Score+p.Top[1].Score+p.Top[2].Score, 1e-9)
		for _, key := range []string{`"input":`, `"label":`, `"class":`, `"score":`, `"top":`, `"logits":`} {
			assert.Contains(t, line, key)
		}
	}
	// What came before one that cannot be read is printed, whatever is read with it.
	for _, batch := range []string{"1", "2", "3", "32"} {
		for _, before := range []int{0, 1, 3, 8} {
			many := append(slices.Repeat(paths[:1], before), "none.png", paths[0], "nor.png")
			broken := invoke(t, "", append([]string{"predict", "run", "--batch=" + batch}, many...)...)
			assert.Equal(t, outcome{exitFailed, strings.Repeat(plain[:strings.Index(plain, "\n")+1], before),
				"thaw: reading picture none.png: no such file or directory\n"}, broken, "batch %s, %d before", batch, before)
		}
	}
	// The same weights without the run's config: classes have numbers, and the input is torchvision's.
	require.NoError(t, os.Rename("run/weights/best.safetensors", "bare.safetensors"))
	assert.Regexp(t, `^[012]  [01]\.\d{3}  pictures/red/0\.png\n$`, ok(t, "", "predict", "--model=resnet18", "--weights=bare.safetensors", "pictures/red/0.png"))
}

// Each is told in full, and nothing is written.
func TestWrongPictures(t *testing.T) {
	const list = "resnet18, resnet34, resnet50, resnet101, resnet152, resnext50_32x4d, resnext101_32x8d, resnext101_64x4d, wide_resnet50_2, wide_resnet101_2"
	for _, c := range []struct {
		name   string
		edits  []string // of the spec: old, new, ...
		change func(t *testing.T)
		code   int
		want   string // with FOLDER
	}{
		{"empty folder", nil, func(t *testing.T) {
			require.NoError(t, os.RemoveAll("pictures"))
			require.NoError(t, os.Mkdir("pictures", 0o755))
		}, exitFailed, "thaw: opening pictures: FOLDER/pictures: it holds no folders: make a folder for each class, named as the class, and put its pictures there, or open a table (.csv, .tsv, .jsonl) of paths and labels\n"},
		{"no folder", []string{"train: pictures", "train: picture"}, nil, exitUsage, "spec.yaml:3: data.train: there is no file or folder FOLDER/picture\n"},
		{"one class", nil, func(t *testing.T) {
			require.NoError(t, os.RemoveAll("pictures/red"))
			require.NoError(t, os.RemoveAll("pictures/blue"))
		}, exitFailed, "thaw: FOLDER/pictures has images of one class alone, [green]: a classifier needs two or more\n"},
		{"missing class", []string{"device", "head: {classes: [red, green, blue, black]}\ndevice"}, nil, exitFailed,
			"thaw: opening pictures: FOLDER/pictures: there is no picture of the class \"black\"; the folders are \"blue\", \"green\", \"red\"\n"},
		{"class list mismatch", []string{"device", "head: {classes: [red, green]}\ndevice"}, nil, exitFailed,
			"thaw: opening pictures: FOLDER/pictures: the folder \"blue\" is not a class; the classes are \"red\", \"green\" (data.other_classes=skip leaves images of other classes out)\n"},
		{"corrupt header", nil, func(t *testing.T) { write(t, "pictures/green/3.jpg", "no picture") }, exitFailed,
			"thaw: cannot read 1 image (images.unreadable=skip leaves such out); the first: reading picture FOLDER/pictures/green/3.jpg: it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM\n"},
		{"corrupt pixels", nil, func(t *testing.T) {
			info, err := os.Stat("pictures/green/3.jpg")
			require.NoError(t, err)
			require.NoError(t, os.Truncate("pictures/green/3.jpg", info.Size()-20))
		}, exitFailed, "thaw: running the frozen stages: reading picture FOLDER/pictures/green/3.jpg: JPEG of 23 x 25 pixels: it is cut off: the data ends early (images.unreadable=skip leaves such images out)\n"},
		{"truncated checkpoint", []string{"weights: none", "weights: half.safetensors"}, func(t *testing.T) {
			write(t, "half.safetensors", "\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":")
		}, exitFailed, "thaw: FOLDER/half.safetensors: byte 0: the header's length is 16, but only 5 bytes follow\n"},
		{"text as checkpoint", []string{"weights: none", "weights: text.pth"}, func(t *testing.T) { write(t, "text.pth", "hello") }, exitFailed, "thaw: FOLDER/text.pth: "},
		{"no weights file", []string{"weights: none", "weights: none.pth"}, nil, exitUsage, "spec.yaml:2: weights: there is no file FOLDER/none.pth\n"},
		{"no architecture", []string{"resnet18", "resnet19"}, nil, exitUsage, "spec.yaml:1: model: no architecture is named \"resnet19\"; did you mean \"resnet18\"?; there are " + list + "\n"},
		{"not downloaded", []string{"weights: none\n", ""}, nil, exitUsage, "spec.yaml:1: model: there is no folder resnet18, and resnet18 is not here: thaw download resnet18 brings it\n"},
		{"detector", []string{"weights: none\n", "", "resnet18", "fcos_resnet50_fpn"}, nil, exitUsage, "spec.yaml:1: model: fcos_resnet50_fpn.coco_v1 is a detector: a spec with a section boxes trains it\n"},
		{"text keys", []string{"device", "head: {pooling: mean}\ndevice", `test: "0.25"`, "max_length: 64"}, nil, exitUsage,
			"spec.yaml:3: data.max_length: is for texts\nspec.yaml:6: head.pooling: is for texts\n"},
		{"a column of texts", []string{`test: "0.25"`, "columns: {text: t, label: l}"}, nil, exitUsage, "spec.yaml:3: data.columns.text: is for texts, and data.columns.image or images is for images\n"},
		{"picture keys with texts", []string{"train: pictures", "train: rows.csv", `test: "0.25"`, "columns: {text: t, label: l}"}, nil, exitUsage,
			"spec.yaml:3: data.columns.image: missing: the name of the column with the images' paths\nspec.yaml:3: data.columns.text: is for texts, and data.columns.image or images is for images\n"},
		{"unknown augment", []string{"augment: none", "augment: autoaugment"}, nil, exitUsage, "spec.yaml:4: images.augment: expected crop, flip, randaugment, trivialaugment, none, found \"autoaugment\"; did you mean \"randaugment\"?\n"},
		{"unknown key", []string{"augment: none", "augmentation: none"}, nil, exitUsage, "spec.yaml:4: images.augmentation: unknown key; the keys here are size, resize, augment, scale, erase, mixup, cutmix, unreadable, workers\n"},
		{"small size", []string{"size: 32", "size: 4"}, nil, exitUsage, "spec.yaml:4: images.size: must be 0 (the model's own) or from 8 to 4096 pixels, found 4\n"},
		{"resize below size", []string{"size: 32", "size: 32, resize: 30"}, nil, exitUsage, "spec.yaml:4: images.resize: must be 0 (the model's own) or from images.size, 32, to 8192 pixels, found 30\n"},
		{"resize below the model's size", []string{"size: 32", "resize: 30"}, nil, exitUsage, "spec.yaml:4: images.resize: 30 is less than the 224 pixels of the model's input: give a larger one, or images.size too\n"},
		{"stage", []string{"train: head", "train: layer.4"}, nil, exitUsage, "spec.yaml:8: phases[0].train: no stage matches \"layer.4\"; this model has stem, layer1 ... layer4, head; did you mean \"layer4\"?\n"},
		{"run folder that exists", []string{"device", "out: pictures\ndevice"}, nil, exitUsage, "spec.yaml:6: out: FOLDER/pictures exists; nothing is overwritten\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := album(t)
			write(t, "spec.yaml", strings.NewReplacer(c.edits...).Replace(pictureSpec))
			if c.change != nil {
				c.change(t)
			}
			before := listing(t)
			args := []string{"train", "spec.yaml"}
			if c.name != "run folder that exists" {
				args = append(args, "out=run")
			}
			got := invoke(t, "", args...)
			got.err = strings.ReplaceAll(got.err, folder, "FOLDER")
			assert.Equal(t, c.code, got.code)
			if strings.HasSuffix(c.want, "\n") {
				assert.Equal(t, c.want, got.err)
			} else {
				assert.True(t, strings.HasPrefix(got.err, c.want), got.err)
				assert.Equal(t, 1, strings.Count(got.err, "\n"), got.err)
			}
			assert.Equal(t, before[1:], listing(t)[1:], "no run folder is left")
		})
	}
}

func TestWrongImagePredictions(t *testing.T) {
	folder := albumTrained(t)
	write(t, "text.png", "no picture")
	write(t, "text.pth", "no checkpoint")
	require.NoError(t, os.Mkdir("empty", 0o755))
	require.NoError(t, os.MkdirAll("other/black", 0o755))
	require.NoError(t, os.Rename("pictures/red/0.png", "other/black/0.png"))
	var b bytes.Buffer
	m := image.NewGray(image.Rect(0, 0, 1, 1))
	m.Set(0, 0, color.White)
	require.NoError(t, png.Encode(&b, m))
	write(t, "dot.png", b.String())
	before := listing(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"predict run none.png", exitFailed, "thaw: reading picture none.png: no such file or directory\n"},
		{"predict run text.png", exitFailed, "thaw: reading picture text.png: it is no picture that can be read (text/plain; charset=utf-8): want JPEG, PNG, GIF, BMP, WebP, TIFF or PPM\n"},
		{"predict run pictures", exitFailed, "thaw: reading picture pictures: it is a folder, not a file\n"},
		{"predict --model none.pth dot.png", exitUsage, "thaw: predict: --model: there is no file or folder none.pth, and "},
		{"predict --model text.pth dot.png", exitFailed, "thaw: text.pth: "},
		{"predict --model empty dot.png", exitFailed, "thaw: empty has no weights: looked for best.safetensors, model.safetensors, model.safetensors.index.json, pytorch_model.bin\n"},
		{"predict --model resnet18 dot.png", exitUsage, "thaw: predict: --model: there is no file or folder resnet18, and resnet18 is not here: thaw download resnet18 brings it\n"},
		{"predict --model fasterrcnn_resnet50_fpn dot.png", exitUsage, "thaw: predict: --model: there is no file or folder fasterrcnn_resnet50_fpn, and fasterrcnn_resnet50_fpn is not here: thaw download fasterrcnn_resnet50_fpn brings it\n"},
		{"predict --model distilbert-base-uncased dot.png", exitUsage, "thaw: predict: --model: distilbert-base-uncased is a text encoder other than BERT, which Thaw does not fine-tune yet\n"},
		{"predict --model resnet5 dot.png", exitUsage, "thaw: predict: --model: there is no file or folder resnet5, and no model is named \"resnet5\"; did you mean \"resnet50\"? "},
		{"predict --model bert-base-uncased dot.png", exitUsage, "thaw: predict: --model: bert-base-uncased is an encoder without a head: fine-tune it first (thaw train)\n"},
		{"predict --model resnet34 --weights run/weights/best.safetensors dot.png", exitFailed, "thaw: FOLDER/run/weights/best.safetensors does not fit the model: 96 keys missing (layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias, layer1.2.conv2.weight, layer1.2.bn2.weight and 91 more)\n"},
		{"predict --model resnet18 --weights text.pth dot.png", exitFailed, "thaw: FOLDER/text.pth: "},
		{"predict --weights run/weights/best.safetensors run dot.png", exitUsage, "thaw: predict: --weights goes with --model\n"},
		{"eval run --data other", exitFailed, "thaw: opening pictures: FOLDER/other: the folder \"black\" is not a class; the classes are \"blue\", \"green\", \"red\"\n"},
		{"eval run --data empty", exitFailed, "thaw: opening pictures: FOLDER/empty: it holds no folders: "},
		{"eval run --data dot.png", exitFailed, "thaw: opening pictures: FOLDER/dot.png: want a folder with a folder of pictures for each class, a table "},
	} {
		got := invoke(t, "", strings.Fields(c.args)...)
		got.err = strings.ReplaceAll(got.err, folder, "FOLDER")
		assert.Equal(t, [2]any{c.code, ""}, [2]any{got.code, got.out}, c.args)
		if strings.HasSuffix(c.want, "\n") {
			assert.Equal(t, c.want, got.err, c.args)
		} else {
			assert.True(t, strings.HasPrefix(got.err, c.want), "%s: %s", c.args, got.err)
			assert.Equal(t, 1, strings.Count(got.err, "\n"), got.err)
		}
	}
	assert.Equal(t, before, listing(t))
	assert.NotEmpty(t, ok(t, "", "predict", "run", "dot.png"), "a picture of one pixel is a picture")
	assert.Empty(t, ok(t, "", "predict", "run"))

	// Damaged pictures are left out where the spec says so, and told.
	info, err := os.Stat("pictures/green/3.jpg")
	require.NoError(t, err)
	require.NoError(t, os.Truncate("pictures/green/3.jpg", info.Size()-20))
	said := ok(t, "", "train", "spec.yaml", "out=skipping", "images.unreadable=skip")
	assert.Contains(t, said, "warning   1 image left out, unreadable; the first: reading picture "+folder+"/pictures/green/3.jpg: ")
	assert.NoFileExists(t, filepath.Join("skipping", "failed.txt"))
}
