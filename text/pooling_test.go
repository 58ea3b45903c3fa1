package text_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
)

// planned is a reporter that remembers what a phase will do.
type planned struct {
	notes
	plan finetune.Plan
}

func (p *planned) Planned(_ int, plan *finetune.Plan) { p.plan = *plan }

// What is kept of a text whose head alone is trained is what its tokens were pooled to, and trains as the text does.
func TestHeadKeepsOneRowOfAText(t *testing.T) { headAlone(t, "cpu") }

// headAlone trains a head on a device with the frozen stages' output kept, and with the stages run at every step.
func headAlone(t *testing.T, device string) {
	for _, pooling := range []text.Pooling{text.CLS, text.Mean} {
		losses := map[string][]float64{}
		for _, cache := range []string{"auto", "off"} {
			model := small(t, pooling, 0)
			data, test := text.NewSynthetic(text.ShortTexts(100, 1), 1000, 1), text.NewSynthetic(text.ShortTexts(40, 2), 1000, 2)
			spec := finetune.Spec{
				Device: device, Precision: "float32", Cache: cache, Seed: 1, Batch: finetune.Batch{Size: 16}, Out: t.TempDir() + "/run",
				Phases: []finetune.Phase{{Train: finetune.HeadOnly(), Epochs: 3, LR: 1e-3}},
			}
			var report planned
			result, err := finetune.Run[*text.Batch](t.Context(), spec, unsaved{model}, data, test, &report)
			require.NoError(t, err)
			for _, e := range result.Epochs {
				losses[cache] = append(losses[cache], e.TrainLoss, e.Test.Loss)
			}
			assert.Equal(t, cache == "auto", report.plan.Cached)
			if cache == "auto" {
				assert.EqualValues(t, (100+40)*128*4, report.plan.CacheBytes, "a vector of float32 a text, whatever its length")
			}
		}
		// Batches are padded to other lengths when their output is kept: sums in another order.
		assert.InEpsilonSlice(t, losses["off"], losses["auto"], 1e-5, pooling)
		assert.NotEqual(t, losses["auto"][0], losses["auto"][2], "something was learnt")
	}
}
