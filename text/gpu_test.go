package text_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// notes keeps what a run tells of graphs, and its warnings.
type notes []string

func (n *notes) event(e finetune.Event) error {
	switch e := e.(type) {
	case train.GraphsCaptured, train.Warning:
		*n = append(*n, e.String())
	}
	return nil
}

func (n notes) String() string { return strings.Join(n, "\n") }

// small is a BERT of four layers with heads as wide as BERT-base's, so that the same kernels run.
func small(t testing.TB, pooling text.Pooling, dropout float64) *text.Classifier {
	t.Helper()
	config := text.BertBase()
	config.HiddenSize, config.NumAttentionHeads, config.NumHiddenLayers, config.IntermediateSize = 128, 2, 4, 256
	config.HiddenDropoutProb, config.AttentionDropoutProb = dropout, dropout
	c, err := text.NewClassifier(config, text.Head{Classes: classes(2), Pooling: pooling, Seed: 1})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func needGPU(t testing.TB) {
	t.Helper()
	if err := cuda.Check(); err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
}

// trainSmall trains a small BERT on random texts of real lengths.
func trainSmall(t *testing.T, pooling text.Pooling, dropout float64, o finetune.Options) (*finetune.Result, map[string]uint64, string) {
	t.Helper()
	model := small(t, pooling, dropout)
	var seen notes
	o.Seed, o.Batch.Size, o.OnEvent = 1, 16, seen.event
	trainSet, test := text.NewSynthetic(text.ShortTexts(400, 1), 1000, 1), text.NewSynthetic(text.ShortTexts(100, 2), 1000, 2)
	result, err := finetune.Fit(t.Context(), model, trainSet, test, o)
	require.NoError(t, err)
	digests := map[string]uint64{}
	for key, p := range nn.Params(model) {
		digests[key] = p.Digest()
	}
	return result, digests, seen.String()
}

// Batches for the GPU, padded to a bucket and masked, give what those for the CPU give.
func TestPaddingFurtherChangesNothing(t *testing.T) {
	for _, pooling := range []text.Pooling{text.CLS, text.Mean} {
		unchanged(t)
		model := small(t, pooling, 0)
		set := text.NewSynthetic([]int{5, 9, 9, 3}, 1000, 1)
		loss := objective.Classification{Classes: model.Classes, LabelSmoothing: 0.1}.Loss
		torch.Scoped(func() {
			torch.NoGrad(func() {
				tight, err := set.Batch(data.Request{Indices: []int{0, 1, 3}})
				require.NoError(t, err)
				wide, err := set.Batch(data.Request{Indices: []int{0, 1, 3}, Length: 16})
				require.NoError(t, err)
				assert.Equal(t, 16, wide.Width())
				a, b := model.Logits(tight), model.Logits(wide.With(wide.Tensors()))
				assert.Less(t, a.Sub(b).Abs().Max().Item(), 1e-6)
				assert.InDelta(t, loss(nn.Values{a}, tight.Targets()).Item(), loss(nn.Values{b}, wide.Targets()).Item(), 1e-6)

				even, err := set.Batch(data.Request{Indices: []int{1, 2}, Length: 9})
				require.NoError(t, err)
				assert.True(t, even.Tensors()[2].Defined(), "a mask, so that all batches of the length are alike")
			})
		})
	}
}

// Losses of a run on the GPU in float32 are the CPU's; see TestGPUTrainsAsTheCPU of package finetune. Batches differ,
// as the GPU's are padded to buckets, so that it is what the runs come to that is compared: a fixed batch's losses are
// compared in TestGPUStepsAreTheCPUs.
func TestGPUStepsAreTheCPUs(t *testing.T) {
	needGPU(t)
	for _, pooling := range []text.Pooling{text.CLS, text.Mean} {
		t.Run(string(pooling), func(t *testing.T) {
			losses := map[string][]float64{}
			for _, device := range []string{"cpu", "cuda:0"} {
				model := small(t, pooling, 0)
				set := text.NewSynthetic(evenly(64, 24), 1000, 1) // of one length: the batches are the same
				result, err := finetune.Fit(t.Context(), model, set, nil, finetune.Options{
					Device: device, Precision: "float32", Seed: 1, Batch: finetune.Batching{Size: 16},
					Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 8, LR: 1e-4}},
				})
				require.NoError(t, err)
				for _, e := range result.Epochs {
					losses[device] = append(losses[device], e.TrainLoss)
				}
			}
			for i, want := range losses["cpu"] {
				assert.InEpsilon(t, want, losses["cuda:0"][i], 1e-3, "epoch %d: %v", i+1, losses)
			}
		})
	}
}

func evenly(n, length int) []int {
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = length
	}
	return lengths
}

func TestGPUHeadKeepsOneRowOfAText(t *testing.T) {
	needGPU(t)
	headAlone(t, "cuda:0")
}

// No text is padded to more tokens than there are positions.
func TestPositionsEndBetweenBuckets(t *testing.T)    { positionsEnd(t, "cpu") }
func TestGPUPositionsEndBetweenBuckets(t *testing.T) { needGPU(t); positionsEnd(t, "cuda:0") }

func positionsEnd(t *testing.T, device string) {
	config := text.BertBase()
	config.HiddenSize, config.NumAttentionHeads, config.NumHiddenLayers, config.IntermediateSize = 128, 2, 2, 256
	config.MaxPositionEmbeddings = 60
	model, err := text.NewClassifier(config, text.Head{Classes: classes(2), Pooling: text.CLS, Seed: 1})
	require.NoError(t, err)
	defer model.Close()
	lengths := evenly(20, 60)
	for i := range 40 {
		lengths = append(lengths, 5+i)
	}
	var seen notes
	_, err = finetune.Fit(t.Context(), model, text.NewSynthetic(lengths, 1000, 1), nil, finetune.Options{
		Device: device, Precision: "float32", Batch: finetune.Batching{Size: 4}, OnEvent: seen.event,
		Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 1, LR: 1e-4}},
	})
	require.NoError(t, err)
	if device != "cpu" {
		assert.Contains(t, seen.String(), "4 x 60")
	}
}

// Replayed steps are the steps: bit for bit with deterministic kernels.
func TestGPUGraphsAreTheSteps(t *testing.T) {
	needGPU(t)
	for _, precision := range []string{"float32", "bfloat16"} {
		for pooling, trained := range map[text.Pooling]finetune.Selection{text.Mean: finetune.All(), text.CLS: finetune.Top(2)} {
			t.Run(fmt.Sprint(precision, pooling, trained), func(t *testing.T) {
				run := func(noGraphs bool) (*finetune.Result, map[string]uint64, string) {
					return trainSmall(t, pooling, 0.1, finetune.Options{
						Device: "cuda:0", Precision: precision, NoGraphs: noGraphs, Deterministic: true,
						Phases: []finetune.Phase{{Train: trained, Epochs: 3, LR: 1e-4}},
					})
				}
				want, eager, _ := run(true)
				got, replayed, notes := run(false)
				assert.Equal(t, eager, replayed)
				assert.Equal(t, want.Last, got.Last)
				assert.Contains(t, notes, "are CUDA graphs")
				assert.NotContains(t, notes, "warning")
			})
		}
	}
}

// Without determinism the fused kernels run; what is recorded still passes its check against the eager step.
func TestGPUFusedKernelsAreRecorded(t *testing.T) {
	needGPU(t)
	for _, precision := range []string{"float32", "bfloat16"} {
		for _, pooling := range []text.Pooling{text.CLS, text.Mean} {
			result, _, notes := trainSmall(t, pooling, 0.1, finetune.Options{
				Device: "cuda:0", Precision: precision, Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 3, LR: 1e-4}},
			})
			assert.Contains(t, notes, "are CUDA graphs")
			assert.NotContains(t, notes, "warning")
			assert.Less(t, result.Last.Loss, 2.0)
		}
	}
}
