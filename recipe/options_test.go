package recipe

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
)

func TestOptions(t *testing.T) {
	s, err := Parse("reviews.yaml", []byte(reviews), "clip_norm=0", "phases[0].warm_up=0", "optimizer.weight_decay=0", "cache=off", "best=macro_f1")
	require.NoError(t, err)
	assert.Equal(t, finetune.Options{
		Phases: []finetune.Phase{
			{Train: finetune.HeadOnly(), Epochs: 1, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: finetune.Off, Schedule: finetune.Linear},
			{Train: finetune.Top(2), Epochs: 2, LR: 2e-4, HeadLR: 2e-3, LayerDecay: 0.9, WarmUp: 0.1, Schedule: finetune.Linear},
		},
		Batch:     finetune.Batching{Size: 32, EvalSize: 64},
		Optimizer: finetune.Optimizer{Name: "adamw", WeightDecay: finetune.Off, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8},
		Best:      "macro_f1", ClipNorm: finetune.Off, Device: "auto", Precision: "auto", NoCache: true, Seed: 1,
		Checkpoint: finetune.Checkpointing{Every: 10 * time.Minute, Keep: 2},
	}, s.Options())

	s, err = Parse("reviews.yaml", []byte(reviews), "optimizer={name: sgd, momentum: 0}", "graph=off", "threads=2")
	require.NoError(t, err)
	o := s.Options()
	assert.Equal(t, finetune.Optimizer{Name: "sgd", WeightDecay: 1e-4, Momentum: finetune.Off}, o.Optimizer)
	assert.True(t, o.NoGraphs)
	assert.Equal(t, 2, o.Threads)
}
