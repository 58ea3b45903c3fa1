package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
)

// small is a machine with little memory.
type small struct {
	train.CPU
	free int64
}

func (s small) FreeMemory() int64 { return s.free }

func TestCheckMemory(t *testing.T) {
	r := onHost(newNet(t), newSamples(1, 8, nil))
	trained := 0
	plan, err := newPlan(Phase{Train: All()}, r.forward.Stages)
	require.NoError(t, err)
	for _, s := range plan.Stages {
		trained += s.Trainable
	}
	needed := int64(trained) * 12 // a gradient and AdamW's two averages, four bytes each
	o, err := Options{Phases: []Phase{{}, {Train: All()}}}.resolved()
	require.NoError(t, err)
	r.options = o
	for _, c := range []struct {
		free int64
		want string
	}{
		{0, ""}, // unknown
		{needed, ""},
		{needed - 1, "phase 2 trains "},
	} {
		r.backend = small{free: c.free}
		err := r.checkMemory()
		if c.want == "" {
			assert.NoError(t, err)
			continue
		}
		assert.ErrorContains(t, err, c.want)
		assert.ErrorContains(t, err, "their gradients and the optimizer's state take")
		assert.ErrorContains(t, err, "train fewer stages, or allow more memory")
	}
	r.options.Optimizer = Optimizer{Name: "sgd", Momentum: 0}
	r.backend = small{free: needed / 3}
	assert.NoError(t, r.checkMemory(), "SGD without momentum keeps nothing but gradients")
}
