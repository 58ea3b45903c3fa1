package vision_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
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

// told is a Reporter that keeps what was noted.
type told []string

func (*told) Planned(int, *finetune.Plan) {}
func (*told) Begin(string, int)           {}
func (*told) Advance(int, float64)        {}
func (*told) End(*finetune.Metrics)       {}
func (n *told) Note(subject, text string) { *n = append(*n, subject+" "+text) }

// trainOn trains a ResNet-18 on random pictures of 64 pixels.
func trainOn(t *testing.T, spec finetune.Spec) (*finetune.Result, map[string]uint64, string) {
	t.Helper()
	model, err := vision.NewClassifier("resnet18", 4, 1)
	require.NoError(t, err)
	defer model.Close()
	model.Input.Crop, model.Input.Resize = 64, 64
	momentum := 0.9
	spec.Optimizer = finetune.Optimizer{Name: "sgd", Momentum: &momentum}
	spec.Seed, spec.Out, spec.Batch.Size = 1, t.TempDir()+"/run", 8
	var notes told
	data := vision.NewSynthetic(model, 40, 40, 1)
	result, err := finetune.Run[*vision.Batch](context.Background(), spec, model, data, vision.NewSynthetic(model, 16, 16, 2), &notes)
	require.NoError(t, err)
	digests := map[string]uint64{}
	for _, s := range nn.State(model) {
		require.Equal(t, torch.CPU, s.Tensor.Device(), "the model is back")
		digests[s.Name] = s.Tensor.Digest()
	}
	return result, digests, strings.Join(notes, "\n")
}

// In float32 a few steps on the GPU are the CPU's. cuDNN's convolutions sum in another order, and batch norms of 8 pictures
// make much of little differences: the losses of the first epoch, five steps, stay within a hundredth.
func TestGPUTrainsResNetsAsTheCPU(t *testing.T) {
	needGPU(t)
	for _, train := range []finetune.Selection{finetune.All(), finetune.Top(1), finetune.HeadOnly()} {
		t.Run(fmt.Sprint(train), func(t *testing.T) {
			losses, counted := map[string]float64{}, map[string]map[string]uint64{}
			for _, device := range []string{"cpu", "cuda:0"} {
				result, digests, _ := trainOn(t, finetune.Spec{
					Device: device, Precision: "float32", Phases: []finetune.Phase{{Train: train, Epochs: 1, LR: 1e-3}},
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
		for _, train := range []finetune.Selection{finetune.All(), finetune.Top(1)} {
			t.Run(fmt.Sprint(precision, train), func(t *testing.T) {
				run := func(graph string) (*finetune.Result, map[string]uint64, string) {
					return trainOn(t, finetune.Spec{
						Device: "cuda:0", Precision: precision, Graph: graph, Deterministic: true,
						Phases: []finetune.Phase{{Train: train, Epochs: 3, LR: 1e-3}},
					})
				}
				want, eager, _ := run("off")
				got, replayed, notes := run("auto")
				assert.Equal(t, eager, replayed)
				assert.Equal(t, want.Last, got.Last)
				assert.Contains(t, notes, "graphs steps of 8 samples are replayed")
				assert.NotContains(t, notes, "warning")
			})
		}
	}
}

// Without determinism what is recorded still passes its check against the eager step.
func TestGPUResNetsAreRecorded(t *testing.T) {
	needGPU(t)
	_, _, notes := trainOn(t, finetune.Spec{Device: "cuda:0", Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 3, LR: 1e-3}}})
	assert.Contains(t, notes, "graphs steps of 8 samples are replayed")
	assert.NotContains(t, notes, "warning")
}
