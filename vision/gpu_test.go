package vision_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// These tests need a GPU; elsewhere each skips with a line that says why.

func needGPU(t testing.TB) {
	t.Helper()
	if err := cuda.Check(); err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
}

// captured are the shapes of steps that became CUDA graphs, and the warnings of a run.
type captured struct{ shapes, warnings []string }

func (c *captured) add(e finetune.Event) error {
	switch e := e.(type) {
	case train.GraphsCaptured:
		c.shapes = append(c.shapes, e.Shapes...)
	case train.Warning:
		c.warnings = append(c.warnings, e.Text)
	}
	return nil
}

// trainOn trains a ResNet-18 on random pictures of 64 pixels.
func trainOn(t *testing.T, o finetune.Options) (*finetune.Result, map[string]uint64, captured) {
	t.Helper()
	model, err := vision.NewClassifier("resnet18", 4, 1)
	require.NoError(t, err)
	defer model.Close()
	model.Input.Crop, model.Input.Resize = 64, 64
	var seen captured
	o.Optimizer = finetune.Optimizer{Name: "sgd", Momentum: 0.9}
	o.Seed, o.Batch.Size, o.OnEvent = 1, 8, seen.add
	data := vision.NewSynthetic(model, 40, 40, 1)
	result, err := finetune.Fit[*vision.Batch](t.Context(), model, data, vision.NewSynthetic(model, 16, 16, 2), o)
	require.NoError(t, err)
	digests := map[string]uint64{}
	for _, s := range nn.State(model) {
		require.Equal(t, torch.CPU, s.Tensor.Device(), "the model is back")
		digests[s.Name] = s.Tensor.Digest()
	}
	return result, digests, seen
}

// In float32 a few steps on the GPU are the CPU's. cuDNN's convolutions sum in another order, and batch norms of 8
// pictures make much of little differences: the losses of the first epoch, five steps, stay within a hundredth.
func TestGPUTrainsResNetsAsTheCPU(t *testing.T) {
	needGPU(t)
	for _, trained := range []finetune.Selection{finetune.All(), finetune.Top(1), finetune.HeadOnly()} {
		t.Run(fmt.Sprint(trained), func(t *testing.T) {
			losses, counted := map[string]float64{}, map[string]map[string]uint64{}
			for _, device := range []string{"cpu", "cuda:0"} {
				result, digests, _ := trainOn(t, finetune.Options{
					Device: device, Precision: "float32", Phases: []finetune.Phase{{Train: trained, Epochs: 1, LR: 1e-3}},
				})
				losses[device] = result.Epochs[0].TrainLoss
				maps.DeleteFunc(digests, func(name string, _ uint64) bool { return !strings.HasSuffix(name, "num_batches_tracked") })
				counted[device] = digests
			}
			assert.Len(t, counted["cpu"], 20)
			assert.Equal(t, counted["cpu"], counted["cuda:0"])
			assert.InEpsilon(t, losses["cpu"], losses["cuda:0"], 1e-2)
		})
	}
}

// With deterministic kernels a run by graphs equals one operator by operator bit for bit, running statistics included.
func TestGPUGraphsOfResNetsAreTheSteps(t *testing.T) {
	needGPU(t)
	for _, precision := range []string{"float32", "bfloat16"} {
		for _, trained := range []finetune.Selection{finetune.All(), finetune.Top(1)} {
			t.Run(fmt.Sprint(precision, trained), func(t *testing.T) {
				run := func(noGraphs bool) (*finetune.Result, map[string]uint64, captured) {
					return trainOn(t, finetune.Options{
						Device: "cuda:0", Precision: precision, NoGraphs: noGraphs, Deterministic: true,
						Phases: []finetune.Phase{{Train: trained, Epochs: 3, LR: 1e-3}},
					})
				}
				want, eager, _ := run(true)
				got, replayed, seen := run(false)
				assert.Equal(t, eager, replayed)
				assert.Equal(t, want.Last, got.Last)
				assert.Equal(t, []string{"8 samples"}, seen.shapes)
				assert.Empty(t, seen.warnings)
			})
		}
	}
}

// Without determinism what is recorded still passes its check against the eager step.
func TestGPUResNetsAreRecorded(t *testing.T) {
	needGPU(t)
	_, _, seen := trainOn(t, finetune.Options{Device: "cuda:0", Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 3, LR: 1e-3}}})
	assert.Equal(t, []string{"8 samples"}, seen.shapes)
	assert.Empty(t, seen.warnings)
}
