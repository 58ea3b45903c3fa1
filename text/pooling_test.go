package text_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
)

// What is kept of a text whose head alone is trained is what its tokens were pooled to, and trains as the text does.
func TestHeadKeepsOneRowOfAText(t *testing.T) { headAlone(t, "cpu") }

// headAlone trains a head on a device with the frozen stages' output kept, and with the stages run at every step.
func headAlone(t *testing.T, device string) {
	for _, pooling := range []text.Pooling{text.CLS, text.Mean} {
		losses := map[bool][]float64{}
		for _, noCache := range []bool{false, true} {
			model := small(t, pooling, 0)
			data, test := text.NewSynthetic(text.ShortTexts(100, 1), 1000, 1), text.NewSynthetic(text.ShortTexts(40, 2), 1000, 2)
			var plan *finetune.Plan
			result, err := finetune.Fit(t.Context(), model, data, test, finetune.Options{
				Device: device, Precision: "float32", NoCache: noCache, Seed: 1, Batch: finetune.Batching{Size: 16},
				Phases: []finetune.Phase{{Train: finetune.HeadOnly(), Epochs: 3, LR: 1e-3}},
				OnEvent: func(e finetune.Event) error {
					if planned, ok := e.(finetune.Planned); ok {
						plan = planned.Plan
					}
					return nil
				},
			})
			require.NoError(t, err)
			for _, e := range result.Epochs {
				losses[noCache] = append(losses[noCache], e.TrainLoss, e.Test.Loss)
			}
			require.NotNil(t, plan)
			assert.Equal(t, !noCache, plan.Cached)
			if !noCache {
				assert.EqualValues(t, (100+40)*128*4, plan.CacheBytes, "a vector of float32 a text, whatever its length")
			}
		}
		// Batches are padded to other lengths when their output is kept: sums in another order.
		assert.InEpsilonSlice(t, losses[true], losses[false], 1e-5, pooling)
		assert.NotEqual(t, losses[false][0], losses[false][2], "something was learnt")
	}
}
