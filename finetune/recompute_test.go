package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// Activations that are computed again in the backward pass give the numbers of those that are kept, to the last bit.
func TestGradientCheckpointingChangesNoBit(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		norms  bool
	}{
		"all":         {change: func(*Options) {}},
		"kept prefix": {change: func(o *Options) { o.Phases[0].Train = Top(2) }},
		"run prefix":  {change: func(o *Options) { o.Phases[0].Train, o.NoCache = Top(2), true }},
		"head":        {change: func(o *Options) { o.Phases[0].Train = HeadOnly() }},
		"parts":       {change: func(o *Options) { o.Batch.Accumulate = 3 }},
		"averages":    {change: func(o *Options) { o.EMA = 0.9 }},
		"bfloat16":    {change: func(o *Options) { o.Precision = "bfloat16" }},
		"float16":     {change: func(o *Options) { o.Precision = "float16" }},
		"batch norms": {change: func(*Options) {}, norms: true},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(checkpointing string) (map[string][]byte, []float64) {
				var seen events
				model := newNet(t)
				for _, l := range model.Layers {
					l.Dropout.P = 0.2
				}
				o := quick(t, Phase{Train: All(), Epochs: 2, LR: 0.01})
				c.change(&o)
				o.GradientCheckpointing, o.OnEvent = checkpointing, seen.add
				var m Model[*rows] = model
				lengths := mixed
				if c.norms {
					m, lengths = newNormed(t, model), nil
				}
				held := torch.Stats().Tensors
				_, err := Fit[*rows](t.Context(), m, newSamples(1, 50, lengths), newSamples(2, 20, lengths), o)
				require.NoError(t, err)
				assert.Equal(t, held, torch.Stats().Tensors)
				return model.bytes(), seen.losses()
			}
			want, losses := run("off")
			got, again := run("on")
			assert.NotEmpty(t, losses)
			assert.Equal(t, losses, again)
			assert.Equal(t, want, got)
		})
	}
}

// A loss that is not finite ends the run as it does where activations are kept.
func TestGradientCheckpointingFindsNaN(t *testing.T) {
	o := quick(t, Phase{Train: All(), Epochs: 2, LR: 0.01})
	want := func(checkpointing string) string {
		o.GradientCheckpointing, o.Folder = checkpointing, nil
		model := newNet(t)
		model.change = func(loss torch.Tensor) torch.Tensor { return loss.Log().Neg().Log() }
		held := torch.Stats().Tensors
		_, err := Fit[*rows](t.Context(), model, newSamples(1, 50, mixed), nil, o)
		require.Error(t, err)
		assert.Equal(t, held, torch.Stats().Tensors)
		return err.Error()
	}
	assert.Equal(t, want("off"), want("on"))
}

// Where a container's memory is too small for a step that keeps all, and large enough for one that does not, auto chooses that.
func TestGradientCheckpointingByItself(t *testing.T) {
	within(t, 64<<30)
	prepared := func(checkpointing string, free int64, seen *events) *run[*rows] {
		o, err := Options{
			Phases: []Phase{{Train: All()}}, Batch: Batching{Size: 2048}, Seed: 1, Device: "cpu", GradientCheckpointing: checkpointing, OnEvent: seen.add,
		}.resolved()
		require.NoError(t, err)
		return newRun[*rows](small{free: free}, torch.Float32, newNet(t), newSamples(1, 4000, mixed), nil, o)
	}
	needs := func(checkpointing string) int64 {
		r := prepared(checkpointing, 64<<30, new(events))
		needed, err := r.checkPhase(t.Context(), 0, 64<<30)
		require.NoError(t, err)
		return needed
	}
	most, least := needs("off"), needs("on")
	require.Less(t, least, most)
	for _, c := range []struct {
		checkpointing string
		free          int64
		recomputes    bool
		refused       bool
	}{
		{"auto", 2 * most, false, false}, {"auto", (most + least) / 2, true, false}, {"auto", spare, true, true},
		{"off", (most + least) / 2, false, true}, {"on", 2 * most, true, false},
	} {
		var seen events
		r := prepared(c.checkpointing, c.free, &seen)
		err := r.checkMemory(t.Context())
		assert.Equal(t, c.refused, err != nil, "%+v: %v", c, err)
		assert.Equal(t, c.recomputes, r.recompute, "%+v", c)
		require.NoError(t, r.agreeOnSparing())
		assert.Equal(t, c.recomputes && c.checkpointing == "auto", len(eventsOf[ActivationsRecomputed](&seen)) == 1, "%+v", c)
	}
	_, err := Options{Phases: []Phase{{Train: All()}}, GradientCheckpointing: "yes"}.resolved()
	assert.ErrorContains(t, err, `GradientCheckpointing must be auto, on or off, found "yes"`)
}
