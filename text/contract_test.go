package text_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Softmax does not see the keys' biases: their gradients are 0 but for rounding, and with SGD they may stay as they are.
func TestKeyBiasesMayStay(t *testing.T) {
	for _, rate := range []float64{1e-2, 2e-5} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			model := small(t, text.CLS, 0)
			g := torch.NewGenerator(5)
			for key, p := range nn.Params(model) {
				if strings.HasSuffix(key, ".bias") {
					p.Normal_(0, 0.02, g)
				}
			}
			spec := finetune.Spec{
				Device: "cpu", Precision: "float32", Batch: finetune.Batch{Size: 16}, Out: t.TempDir() + "/run",
				Optimizer: finetune.Optimizer{Name: "sgd"},
				Phases:    []finetune.Phase{{Train: finetune.All(), Epochs: 1, LR: rate, HeadLR: rate}},
			}
			data, none := text.NewSynthetic(evenly(64, 12), 1000, 1), text.NewSynthetic(nil, 1000, 2)
			_, err := finetune.Run[*text.Batch](t.Context(), spec, unsaved{model}, data, none, nil)
			assert.NoError(t, err)
		})
	}
}
