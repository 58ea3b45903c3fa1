package recipe

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
)

// drawSquares leaves pictures of red and green squares on grey in a folder, with their boxes in COCO's format, and gives the
// file's path.
func drawSquares(t *testing.T, folder string, pictures int) string {
	t.Helper()
	type object map[string]any
	file := struct {
		Images      []object `json:"images"`
		Annotations []object `json:"annotations"`
		Categories  []object `json:"categories"`
	}{Categories: []object{{"id": 3, "name": "red"}, {"id": 7, "name": "green"}}}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range pictures {
		m := image.NewRGBA(image.Rect(0, 0, 96, 64))
		grey := uint8(60 + rng.IntN(120))
		draw.Draw(m, m.Bounds(), image.NewUniform(color.RGBA{grey, grey, grey, 255}), image.Point{}, draw.Src)
		name := fmt.Sprintf("%02d.png", i)
		file.Images = append(file.Images, object{"id": 10 + i, "file_name": name, "width": 96, "height": 64})
		for k := range i % 3 {
			side := 16 + rng.IntN(16)
			x, y := k*48+rng.IntN(48-side), rng.IntN(64-side)
			kind := rng.IntN(2)
			paint := []color.RGBA{{220, 30, 30, 255}, {30, 200, 40, 255}}[kind]
			draw.Draw(m, image.Rect(x, y, x+side, y+side), image.NewUniform(paint), image.Point{}, draw.Src)
			file.Annotations = append(file.Annotations, object{
				"id": len(file.Annotations), "image_id": 10 + i, "category_id": []int{3, 7}[kind],
				"bbox": []int{x, y, side, side}, "area": side * side, "iscrowd": 0,
			})
		}
		f, err := os.Create(filepath.Join(folder, name))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, m))
		require.NoError(t, f.Close())
	}
	path := filepath.Join(folder, "squares.json")
	text, err := json.Marshal(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o644))
	return path
}

const squaresSpec = `model: fcos_resnet18_fpn
weights: none
data: {train: %s, test: "0.25"}
boxes: {min_size: 64, max_size: 96}
phases: [{train: all, epochs: 8, lr: 1e-3, head_lr: 1e-3}]
batch: {size: 4}
device: cpu
threads: 2
seed: 1
out: %s
`

func TestBoxesTrainPredictAndExport(t *testing.T) {
	before := torch.Stats().Tensors
	t.Cleanup(func() { assert.Equal(t, before, torch.Stats().Tensors) })
	folder := t.TempDir()
	annotations := drawSquares(t, folder, 40)
	out := filepath.Join(folder, "run")
	s, err := Parse("squares.yaml", fmt.Appendf(nil, squaresSpec, annotations, out))
	require.NoError(t, err)
	assert.Equal(t, "boxes", s.Kind)
	task, err := Open(t.Context(), &s)
	require.NoError(t, err)
	assert.Equal(t, []string{"red", "green"}, s.Head.Classes)
	result, err := task.Train(t.Context(), nil)
	require.NoError(t, err)
	task.Close()
	t.Log(result.Before, result.Best)
	assert.Greater(t, result.Best.Value("ap50"), 0.5, "red and green squares are easy")
	checkDetectorReport(t, out, result)

	run, err := OpenRun(out)
	require.NoError(t, err)
	defer run.Close()
	score, err := run.Evaluate(t.Context(), EvalOptions{Device: "cpu"})
	require.NoError(t, err)
	assert.InDelta(t, result.Best.Value("ap"), score.Value("ap"), 0.02, "batches of another size have other canvases")
	found, err := run.Model.(Finder).Find(t.Context(), []string{filepath.Join(folder, "01.png"), filepath.Join(folder, "02.png")}, finetune.PredictOptions{})
	require.NoError(t, err)
	require.Len(t, found, 2)
	for _, p := range found {
		assert.Equal(t, [2]int{96, 64}, [2]int{p.Width, p.Height})
		t.Log(p)
	}
	require.NoError(t, run.Export(filepath.Join(folder, "exported"), Torchvision))
	assert.FileExists(t, filepath.Join(folder, "exported", "model.safetensors"))
	require.NoError(t, run.Export(filepath.Join(folder, "graph"), ONNX))
	matter, rest := card(t, filepath.Join(folder, "graph"))
	assert.Equal(t, "object-detection", matter["pipeline_tag"])
	assert.Contains(t, rest, `session.run(["boxes", "labels", "scores"]`)
	assert.Contains(t, rest, "| label | class |\n|---|---|\n| 0 | red |\n")
	_, err = OpenModel(filepath.Join(folder, "graph"), "")
	require.ErrorContains(t, err, "was exported for ONNX, which Thaw writes and does not read: name the run")
}
