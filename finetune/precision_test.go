package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// onCPUWithBFloat16 has runs find a CPU that multiplies bfloat16 until the test ends.
func onCPUWithBFloat16(t testing.TB) {
	before := multipliesBFloat16
	multipliesBFloat16 = func() bool { return true }
	t.Cleanup(func() { multipliesBFloat16 = before })
}

// astray is a net that computes something else in bfloat16.
type astray struct {
	*net
	by float64
}

func (m astray) Stages() []nn.Stage[*rows] {
	out := m.net.Stages()
	last := len(out) - 1
	plain := out[last].Forward
	out[last].Forward = func(b *rows, in nn.Values) nn.Values {
		y := plain(b, in)
		if y[0].DType() == torch.BFloat16 {
			y[0] = y[0].MulScalar(m.by)
		}
		return y
	}
	return out
}

// settled is a run after it has settled its precision.
func settled(t testing.TB, model Model[*rows], change func(*Options), events *events) *run[*rows] {
	o := quick(t, Phase{Train: All(), Epochs: 80, LR: 1e-2})
	o.Precision, o.OnEvent = "auto", events.add
	change(&o)
	o, err := o.resolved()
	require.NoError(t, err)
	backend, precision, err := newBackend(o)
	require.NoError(t, err)
	r := newRun(backend, precision, model, newSamples(1, 40, nil), newSamples(2, 16, nil), o)
	before := torch.Stats().Tensors
	require.NoError(t, r.settlePrecision(t.Context()))
	assert.Equal(t, before, torch.Stats().Tensors)
	for _, n := range nn.StageState(r.forward.Stages) {
		assert.False(t, n.Tensor.RequiresGrad(), n.Name)
	}
	return r
}

// A CPU that multiplies bfloat16 is asked both ways, and what it answers decides; a step that comes to something else is told.
func TestPrecisionIsTried(t *testing.T) {
	onCPUWithBFloat16(t)
	var seen events
	r := settled(t, astray{newNet(t), 1}, func(*Options) {}, &seen)
	chosen := eventsOf[PrecisionChosen](&seen)
	require.Len(t, chosen, 1)
	assert.Positive(t, chosen[0].Faster)
	assert.Positive(t, chosen[0].Away, "bfloat16 rounds")
	assert.Less(t, chosen[0].Away, bfloat16Gradient/4)
	assert.Equal(t, chosen[0].Faster >= bfloat16Faster, r.forward.Precision == torch.BFloat16)
	assert.Equal(t, chosen[0].Precision, r.forward.Precision)

	for _, by := range []float64{2, 1e30} { // the latter overflows in the loss
		seen = events{}
		r = settled(t, astray{newNet(t), by}, func(*Options) {}, &seen)
		assert.Equal(t, torch.Float32, r.forward.Precision)
		assert.Empty(t, eventsOf[PrecisionChosen](&seen))
		warnings := eventsOf[train.Warning](&seen)
		require.Len(t, warnings, 1)
		assert.Equal(t, train.NotBFloat16, warnings[0].Kind)
		assert.Contains(t, warnings[0].Text, "the run computes in float32")
	}
}

// Nothing is tried where the precision is named, where the run is short, and on a CPU that does not multiply bfloat16.
func TestPrecisionIsNotTried(t *testing.T) {
	t.Run("named", func(t *testing.T) {
		onCPUWithBFloat16(t)
		var seen events
		assert.Equal(t, torch.BFloat16, settled(t, newNet(t), func(o *Options) { o.Precision = "bfloat16" }, &seen).forward.Precision)
		assert.Equal(t, torch.Float32, settled(t, newNet(t), func(o *Options) { o.Precision = "float32" }, &seen).forward.Precision)
		assert.Equal(t, torch.Float32, settled(t, newNet(t), func(o *Options) { o.Phases[0].Epochs = 74 }, &seen).forward.Precision)
		assert.Empty(t, seen.all)
	})
	t.Run("other CPU", func(t *testing.T) {
		before := multipliesBFloat16
		defer func() { multipliesBFloat16 = before }()
		multipliesBFloat16 = func() bool { return false }
		var seen events
		assert.Equal(t, torch.Float32, settled(t, newNet(t), func(*Options) {}, &seen).forward.Precision)
		assert.Empty(t, seen.all)
	})
}

// A run that goes on takes the precision of its checkpoint, whatever a trial would say now.
func TestPrecisionOfCheckpointIsKept(t *testing.T) {
	onCPUWithBFloat16(t)
	for _, precision := range []string{"bfloat16", "float32"} {
		var seen events
		o := quick(t, Phase{Train: All(), Epochs: 80, LR: 1e-2})
		o.Precision, o.Checkpoint = precision, Checkpointing{Steps: 3}
		steps := 0
		o.OnEvent = func(e Event) error {
			if _, ok := e.(train.StepDone); ok {
				if steps++; steps == 7 {
					return ErrTimeUp
				}
			}
			return nil
		}
		_, err := Fit[*rows](t.Context(), newNet(t), newSamples(1, 40, nil), newSamples(2, 16, nil), o)
		require.ErrorIs(t, err, ErrTimeUp)
		r := settled(t, newNet(t), func(again *Options) { again.Folder, again.Resume = o.Folder, true }, &seen)
		assert.Equal(t, precision, r.forward.Precision.String())
		assert.Empty(t, seen.all, "nothing is tried")
	}
}
