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

// Softmax does not see the keys' biases: their gradients are 0 but for rounding, and with SGD they may stay as they
// are.
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
			_, err := finetune.Fit(t.Context(), model, text.NewSynthetic(evenly(64, 12), 1000, 1), nil, finetune.Options{
				Device: "cpu", Precision: "float32", Batch: finetune.Batching{Size: 16},
				Optimizer: finetune.Optimizer{Name: "sgd"},
				Phases:    []finetune.Phase{{Train: finetune.All(), Epochs: 1, LR: rate, HeadLR: rate}},
			})
			assert.NoError(t, err)
		})
	}
}
