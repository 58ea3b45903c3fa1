package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
)

// wronglyFolded is a net that computes something else where norms are folded.
type wronglyFolded struct {
	*normed
	by float64
}

func (m wronglyFolded) Stages() []nn.Stage[*rows] {
	out := m.normed.Stages()
	plain := out[1].Forward
	out[1].Forward = func(b *rows, in nn.Values) nn.Values {
		y := plain(b, in)
		if fused.FoldsNorms() {
			y[0] = y[0].MulScalar(1 + m.by)
		}
		return y
	}
	return out
}

// Where folded norms give other numbers nothing is folded in the run, which says so and comes to the numbers of one that never folds.
func TestWrongFoldIsFound(t *testing.T) {
	run := func(by float64) (*Result, *events) {
		var seen events
		o := quick(t, Phase{Train: Selection{"head"}, Epochs: 2, LR: 1e-2})
		o.OnEvent = seen.add
		result, err := Fit[*rows](t.Context(), wronglyFolded{newNormed(t, newNet(t)), by}, newSamples(1, 40, nil), newSamples(2, 16, nil), o)
		require.NoError(t, err)
		require.True(t, fused.FoldsNorms(), "it is on again for other runs")
		return result, &seen
	}
	want, seen := run(0)
	assert.Empty(t, eventsOf[train.Warning](seen))
	got, seen := run(0.01)
	assert.Equal(t, want.Last, got.Last)
	warnings := eventsOf[train.Warning](seen)
	require.Len(t, warnings, 1)
	assert.Equal(t, train.NotFolded, warnings[0].Kind)
	assert.Contains(t, warnings[0].Text, "nothing is folded in this run")
	_, seen = run(1e-6)
	assert.Empty(t, eventsOf[train.Warning](seen), "rounding is none")
}
