package text_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// A BERT whose layers are computed again in the backward pass comes to the same weights to the last bit, and takes less memory.
func TestGradientCheckpointing(t *testing.T) {
	for name, pooling := range map[string]text.Pooling{"cls": text.CLS, "mean": text.Mean} {
		t.Run(name, func(t *testing.T) {
			run := func(checkpointing string) (weights map[string]uint64, peak int64) {
				model := small(t, pooling, 0.1)
				set := text.NewSynthetic(evenly(64, 48), 1000, 1)
				before := torch.Stats().Bytes
				torch.ResetPeak()
				_, err := finetune.Fit(t.Context(), model, set, nil, finetune.Options{
					Device: "cpu", Precision: "float32", Batch: finetune.Batching{Size: 32}, GradientCheckpointing: checkpointing,
					Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 2, LR: 1e-3}},
				})
				require.NoError(t, err)
				weights = map[string]uint64{}
				for key, p := range nn.Params(model) {
					weights[key] = p.Digest()
				}
				return weights, torch.Stats().PeakBytes - before
			}
			want, most := run("off")
			got, least := run("on")
			assert.Equal(t, want, got)
			assert.Less(t, least, most*4/5)
		})
	}
}
