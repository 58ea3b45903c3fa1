package detection_test

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/onnx/onnxtest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection"
)

// opened is a detector with the formula's weights, for small pictures.
func opened(t *testing.T, name string) *detection.Detector {
	t.Helper()
	n, err := detection.New(detection.Options{Architecture: name, Classes: 5})
	require.NoError(t, err)
	defer n.Close()
	fill(n, false)
	d, err := detection.OpenCheckpoint(saved(t, name, n, nil))
	require.NoError(t, err)
	t.Cleanup(d.Close)
	d.Input.MinSize, d.Input.MaxSize = 64, 96
	if f, ok := d.Network.(*detection.FasterRCNN); ok {
		f.Head.Sampling.AfterNMS = 60
	}
	return d
}

// patches is a picture of patches with noise.
func patches(width, height int, seed uint64) *image.NRGBA {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	var row []color.NRGBA
	for y := range height {
		for x := range width {
			if y%9 == 0 && x%9 == 0 {
				if x == 0 {
					row = row[:0]
				}
				row = append(row, color.NRGBA{uint8(rng.IntN(220)), uint8(rng.IntN(220)), uint8(rng.IntN(220)), 255})
			}
			c, noise := row[x/9], uint8(rng.IntN(30))
			m.SetNRGBA(x, y, color.NRGBA{c.R + noise, c.G + noise/2, c.B + noise, 255})
		}
	}
	return m
}

// graphInput is a picture as the graph takes it.
func graphInput(m *image.NRGBA) torch.Tensor {
	b := m.Bounds()
	pixels := make([]float32, 0, 3*b.Dx()*b.Dy())
	for c := range 3 {
		for i := c; i < len(m.Pix); i += 4 {
			pixels = append(pixels, float32(m.Pix[i])/255)
		}
	}
	return torch.FromSlice(pixels, 3, b.Dy(), b.Dx())
}

// requireFound compares a graph's outputs with detections; those whose scores differ by the last digits may stand in another order.
func requireFound(t *testing.T, want []detection.Detection, got []torch.Tensor) {
	t.Helper()
	require.Len(t, got, 3)
	boxes, labels, scores := torch.ToSlice[float32](got[0]), torch.ToSlice[int](got[1]), torch.ToSlice[float32](got[2])
	require.Equal(t, []int{len(want), 4}, got[0].Shape())
	require.Len(t, labels, len(want))
	require.Len(t, scores, len(want))
	taken := make([]bool, len(want))
	for j, d := range want {
		require.InDelta(t, d.Score, scores[j], 1e-5)
		nearest, k := math.Inf(1), -1
		for i := range labels {
			if taken[i] || labels[i] != d.Label || math.Abs(float64(scores[i]-d.Score)) > 1e-5 {
				continue
			}
			apart := 0.0
			for e, edge := range []float32{d.X1, d.Y1, d.X2, d.Y2} {
				apart = max(apart, math.Abs(float64(edge-boxes[4*i+e])))
			}
			if apart < nearest {
				nearest, k = apart, i
			}
		}
		require.Less(t, nearest, 2e-3, "%v", d)
		taken[k] = true
	}
}

// What the graph computes, operator by operator, is what Predict finds.
func TestSaveONNX(t *testing.T) {
	for _, name := range allKinds {
		t.Run(name, func(t *testing.T) {
			count := 0
			d := opened(t, name)
			d.Classes[2] = "a \"dog\"\n"
			for _, minScore := range []float64{0.05, 0.9999} {
				limits := detection.LimitsOf(d.Network)
				limits.MinScore, limits.PerPicture = minScore, 20
				folder := filepath.Join(t.TempDir(), "out")
				require.NoError(t, d.SaveONNX(folder))
				torchtest.Scoped(t, func() {
					m := onnxtest.Read(t, filepath.Join(folder, detection.ONNXFile))
					for i, size := range [][2]int{{70, 90}, {150, 61}, {5, 40}} {
						picture := patches(size[0], size[1], uint64(i))
						want, err := d.Predict(t.Context(), []vision.Image{vision.Pixels("x", picture)}, finetune.PredictOptions{})
						require.NoError(t, err)
						requireFound(t, want[0].Detections, m.RunAll(t, map[string]torch.Tensor{"image": graphInput(picture)}))
						count += len(want[0].Detections)
						if minScore > 0.9 {
							require.Empty(t, want[0].Detections)
						}
					}
					assert.Equal(t, []onnxtest.Port{{Name: "image", Type: 1, Dims: []string{"3", "height", "width"}}}, m.Inputs)
					assert.Equal(t, []onnxtest.Port{
						{Name: "boxes", Type: 1, Dims: []string{"detections", "4"}}, {Name: "labels", Type: 7, Dims: []string{"detections"}},
						{Name: "scores", Type: 1, Dims: []string{"detections"}},
					}, m.Outputs)
					assert.Equal(t, int64(17), m.Opset)
					requireMetadata(t, d, folder, m.Metadata)
				})
			}
			assert.Greater(t, count, 10)
			t.Log(count, "boxes")
		})
	}
}

// The labels' names are those of config.json.
func requireMetadata(t *testing.T, d *detection.Detector, folder string, metadata map[string]string) {
	t.Helper()
	var names map[string]string
	require.NoError(t, json.Unmarshal([]byte(metadata["id2label"]), &names))
	assert.Len(t, names, len(d.Classes))
	assert.Equal(t, d.Classes[2], names[fmt.Sprint(d.FirstLabel()+2)])
	assert.Equal(t, d.Name(), metadata["architecture"])
	assert.JSONEq(t, `{"min_size": 64, "max_size": 96, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}`, metadata["input"])
	assert.Contains(t, metadata["limits"], `"per_picture":20`)
	data, err := os.ReadFile(filepath.Join(folder, "config.json"))
	require.NoError(t, err)
	var config struct {
		ID2Label map[string]string `json:"id2label"`
	}
	require.NoError(t, json.Unmarshal(data, &config))
	assert.Equal(t, names, config.ID2Label)
}

// ownNetwork is one that a program might bring.
type ownNetwork struct{ detection.Network }

func TestSaveONNXRefuses(t *testing.T) {
	d := opened(t, "fcos_resnet18_fpn")
	require.ErrorContains(t, d.SaveONNX("/dev/null/x"), "write /dev/null/x: ")
	folder := filepath.Join(t.TempDir(), "out")
	own := &detection.Detector{Network: ownNetwork{d.Network}, Input: d.Input, Classes: d.Classes}
	require.EqualError(t, own.SaveONNX(folder), "write "+folder+": a detection_test.ownNetwork has no form in ONNX; FCOS, RetinaNet and FasterRCNN have")
	d.Input.MinSize = 0
	require.ErrorContains(t, d.SaveONNX(folder), "min_size must be 1 or more")
	assert.NoDirExists(t, folder)
}
