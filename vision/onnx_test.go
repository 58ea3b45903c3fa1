package vision_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/onnx/onnxtest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// randomNorms gives norms statistics as those of a trained network.
func randomNorms(c *vision.Classifier, seed uint64) {
	g := torch.NewGenerator(seed)
	torch.NoGrad(func() {
		for _, b := range nn.Modules[*nn.BatchNorm](c.Net) {
			b.Weight.Uniform_(0.3, 0.7, g)
			b.Bias.Uniform_(-0.2, 0.2, g)
			b.RunningMean.Uniform_(-0.2, 0.2, g)
			b.RunningVar.Uniform_(0.5, 1.5, g)
		}
	})
}

// requireGraph compares an exported graph with the network.
func requireGraph(t *testing.T, c *vision.Classifier, folder string) {
	t.Helper()
	size := c.Input.Crop
	torch.Scoped(func() {
		torch.NoGrad(func() {
			m := onnxtest.Read(t, filepath.Join(folder, vision.ONNXFile))
			for _, batch := range []int{1, 3} {
				x := torch.Randn(torch.NewGenerator(uint64(batch)), torch.Float32, torch.CPU, batch, 3, size, size)
				nn.SetTraining(c.Net, false)
				want := torch.ToSlice[float32](c.Net.Forward(x))
				got := torch.ToSlice[float32](m.Run(t, map[string]torch.Tensor{"pixel_values": x}))
				assert.InDeltaSlice(t, want, got, 1e-5*max(1, float64(slices.Max(want)), -float64(slices.Min(want))))
			}
		})
	})
}

func TestSaveONNX(t *testing.T) {
	for _, name := range []string{"resnet18", "resnet50", "resnext50_32x4d"} {
		t.Run(name, func(t *testing.T) {
			c, err := vision.NewClassifier(name, 3, 1)
			require.NoError(t, err)
			defer c.Close()
			c.Classes, c.Input = []string{"cat", "a \"dog\"\n", "owl"}, c.Input.Sized(64, 0)
			randomNorms(c, 2)
			folder := filepath.Join(t.TempDir(), "out")
			require.NoError(t, c.SaveONNX(folder))
			requireGraph(t, c, folder)
			torch.Scoped(func() {
				m := onnxtest.Read(t, filepath.Join(folder, vision.ONNXFile))
				assert.Equal(t, []onnxtest.Port{{Name: "pixel_values", Type: 1, Dims: []string{"batch", "3", "64", "64"}}}, m.Inputs)
				assert.Equal(t, []onnxtest.Port{{Name: "logits", Type: 1, Dims: []string{"batch", "3"}}}, m.Outputs)
				assert.Equal(t, map[string]string{
					"architecture": name, "classes": `["cat","a \"dog\"\n","owl"]`, "problem_type": "single_label_classification",
					"transforms": `{"crop_size":64,"resize_size":73,"mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225],"interpolation":"bilinear","antialias":true}`,
				}, m.Metadata)
			})
		})
	}
}

func TestSaveONNXWithAdapters(t *testing.T) {
	c, err := vision.NewClassifier("resnet18", 2, 1)
	require.NoError(t, err)
	defer c.Close()
	c.Input = c.Input.Sized(64, 0)
	randomNorms(c, 2)
	adapters, err := lora.Apply(c.Stages(), lora.Config{Rank: 2, Alpha: 4, Targets: []string{lora.AllLinear}, Seed: 1})
	require.NoError(t, err)
	defer adapters.Close()
	torch.NoGrad(func() {
		for key, p := range nn.Params(c.Net) {
			if strings.Contains(key, "lora_") {
				p.AddScalar_(0.01)
			}
		}
	})
	folder := filepath.Join(t.TempDir(), "out")
	require.NoError(t, c.SaveONNX(folder))
	requireGraph(t, c, folder)
}

// The folder for torchvision is one that Thaw reads too.
func TestSaveTorchvision(t *testing.T) {
	c, err := vision.NewClassifier("resnext50_32x4d", 2, 1)
	require.NoError(t, err)
	defer c.Close()
	c.Classes = []string{"cat", "dog"}
	folder := filepath.Join(t.TempDir(), "out")
	require.NoError(t, c.SaveTorchvision(folder))
	again, err := vision.OpenClassifier(folder, "")
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, c.Classes, again.Classes)
	assert.Equal(t, c.Input, again.Input)
	assert.Equal(t, digests(c.Net), digests(again.Net))
	data, err := os.ReadFile(filepath.Join(folder, "config.json"))
	require.NoError(t, err)
	var config struct{ Torchvision json.RawMessage }
	require.NoError(t, json.Unmarshal(data, &config))
	assert.JSONEq(t, `{"architecture": "resnext50_32x4d", "num_classes": 2, "transforms": {"crop_size": 224, "resize_size": 256,
		"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "interpolation": "bilinear", "antialias": true}}`, string(config.Torchvision))
	require.ErrorContains(t, c.SaveTorchvision("/dev/null/x"), "write /dev/null/x: ")
}
