package vision_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// A ResNet whose layers are computed again in the backward pass comes to the same weights, and counts each batch once in its norms.
func TestGradientCheckpointing(t *testing.T) {
	run := func(checkpointing string) (state map[string]uint64) {
		model := scratch(t, "resnet18", 4)
		o := allStages
		o.Precision, o.GradientCheckpointing = "float32", checkpointing
		_, err := finetune.Fit[*vision.Batch](t.Context(), model, vision.NewSynthetic(model, 24, 24, 1), nil, o)
		require.NoError(t, err)
		state = map[string]uint64{}
		for _, n := range nn.State(model) {
			state[n.Name] = n.Tensor.Digest()
		}
		return state
	}
	assert.Equal(t, run("off"), run("on"))
}
