package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const boxesSpec = `model: fcos_resnet18_fpn
weights: none
data: {train: squares.json, test: "0.25"}
boxes: {min_size: 64, max_size: 96}
phases: [{train: all, epochs: 1, lr: 1e-3, head_lr: 1e-3}]
device: cpu
`

// squares makes a folder with a spec and 8 pictures of red squares, annotated in COCO's format, and goes there.
func squares(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("TORCH_HOME", t.TempDir())
	t.Setenv("HF_HOME", t.TempDir())
	var pictures, boxes []string
	for i := range 8 {
		m := image.NewRGBA(image.Rect(0, 0, 96, 64))
		draw.Draw(m, m.Bounds(), image.NewUniform(color.RGBA{90, 90, 90, 255}), image.Point{}, draw.Src)
		draw.Draw(m, image.Rect(8*i, 10, 8*i+24, 34), image.NewUniform(color.RGBA{220, 30, 30, 255}), image.Point{}, draw.Src)
		f, err := os.Create(fmt.Sprintf("%d.png", i))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, m))
		require.NoError(t, f.Close())
		pictures = append(pictures, fmt.Sprintf(`{"id": %d, "file_name": "%d.png", "width": 96, "height": 64}`, 100+i, i))
		boxes = append(boxes, fmt.Sprintf(`{"id": %d, "image_id": %d, "category_id": 5, "bbox": [%d, 10, 24, 24], "area": 576, "iscrowd": 0}`, i, 100+i, 8*i))
	}
	write(t, "squares.json", fmt.Sprintf(`{"images": [%s], "annotations": [%s], "categories": [{"id": 5, "name": "red"}]}`,
		strings.Join(pictures, ", "), strings.Join(boxes, ", ")))
	write(t, "spec.yaml", boxesSpec)
}

func TestBoxes(t *testing.T) {
	squares(t)
	assert.Contains(t, ok(t, "", "check", "spec.yaml"), "red")
	out := ok(t, "", "train", "spec.yaml", "out=run")
	assert.Contains(t, out, "fcos_resnet18_fpn")
	assert.Contains(t, out, "6 pictures with 6 boxes to train on · 2 pictures with 2 boxes to test on")

	out = ok(t, "", "eval", "run", "--detections", "found.json")
	for _, name := range []string{"ap ", "ap50", "ar_large", "voc_ap", "class    count", "red"} {
		assert.Contains(t, out, name)
	}
	var found []struct {
		ImageID    int `json:"image_id"`
		CategoryID int `json:"category_id"`
	}
	text, err := os.ReadFile("found.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &found))
	for _, f := range found {
		assert.GreaterOrEqual(t, f.ImageID, 100)
		assert.Equal(t, 5, f.CategoryID)
	}

	out = ok(t, "", "predict", "run", "0.png", "1.png", "--json", "--draw", "drawn")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[0], `{"input":"0.png","width":96,"height":64,"boxes":[`)
	assert.Equal(t, []string{"0.png", "1.png"}, names(t, "drawn"))
	assert.Contains(t, ok(t, "2.png\n", "predict", "run", "--min-score", "0.99"), "-  2.png\n")

	for _, wrong := range []struct{ says, args string }{
		{"drawn is not empty; nothing is overwritten", "predict run 0.png --draw drawn"},
		{"--min-score 2", "predict run 0.png --min-score 2"},
		{"absent.png", "predict run 0.png absent.png"},
		{"detectors are not written for transformers: there are --to torchvision and --to onnx", "export run out --to transformers"},
		{`there is no such metric of boxes; did you mean`, "train spec.yaml metrics=[ap5]"},
		{"did you mean \"fcos_resnet18_fpn\"", "train spec.yaml model=fcos_resnet18_fp"},
		{"lora", `train spec.yaml phases=[{train: lora, epochs: 1, lr: 1e-3}]`},
		{"boxes.min_size", "train spec.yaml boxes.min_size=7"},
	} {
		args := strings.Fields(wrong.args)
		if i := strings.Index(wrong.args, "phases="); i > 0 {
			args = append(strings.Fields(wrong.args[:i]), wrong.args[i:])
		}
		got := invoke(t, "", args...)
		assert.NotZero(t, got.code, wrong.args)
		assert.Contains(t, got.err, wrong.says, wrong.args)
	}
	ok(t, "", "export", "run", "exported", "--to", "torchvision")
	assert.Contains(t, names(t, "exported"), "model.safetensors")
	ok(t, "", "export", "run", "graph", "--to", "onnx")
	assert.Equal(t, []string{"README.md", "config.json", "model.onnx"}, names(t, "graph"))
}

// names are those in a folder.
func names(t *testing.T, folder string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}
