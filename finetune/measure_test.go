package finetune

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

func TestMeasure(t *testing.T) {
	for _, selection := range []Selection{All(), HeadOnly()} {
		o := quick(t, Phase{Train: selection, Epochs: 1, LR: 1e-3})
		model := newNet(t)
		held := torch.Stats()
		speed, err := Measure[*rows](t.Context(), model, newSamples(1, 40, mixed), o, Effort{Round: 20 * time.Millisecond, Rounds: 3})
		require.NoError(t, err)
		assert.Len(t, speed.Rounds, 3)
		assert.Greater(t, speed.SamplesPerSecond, 100.0)
		assert.Positive(t, speed.Batches)
		assert.Positive(t, speed.PeakBytes)
		assert.Positive(t, speed.Loss)
		assert.Empty(t, speed.Captured)
		assert.NoDirExists(t, o.Folder.Path(), "nothing is written")
		assert.Equal(t, held.Tensors, torch.Stats().Tensors)
	}

	o, err := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3}).resolved()
	require.NoError(t, err)
	m := &replayer{t: t}
	speed, err := measureOn[*rows](t.Context(), m, torch.Float32, newNet(t), newSamples(1, 40, mixed), o, Effort{Round: 20 * time.Millisecond, Rounds: 2})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"8 x 8", "8 x 16"}, speed.Captured)
	assert.Greater(t, m.played, speed.Batches)
	assert.Empty(t, speed.Warnings)

	m = &replayer{t: t, refuse: errors.New("graph capture: no")}
	speed, err = measureOn[*rows](t.Context(), m, torch.Float32, newNet(t), newSamples(1, 40, mixed), o, Effort{Round: 20 * time.Millisecond, Rounds: 2})
	require.NoError(t, err)
	assert.Empty(t, speed.Captured)
	assert.ElementsMatch(t, []string{
		"steps of 8 x 8 run operator by operator, which is slower: graph capture: no",
		"steps of 8 x 16 run operator by operator, which is slower: graph capture: no",
	}, speed.Warnings)
}

func TestMeasureRefuses(t *testing.T) {
	o := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3}, Phase{Train: All(), Epochs: 1, LR: 1e-3})
	_, err := Measure[*rows](t.Context(), newNet(t), newSamples(1, 8, nil), o, Effort{Rounds: 1})
	assert.EqualError(t, err, "one phase and some samples are measured")
}
