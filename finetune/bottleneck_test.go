package finetune

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Whichever part is slow is the one that is named.
func TestBottleneckIsNamed(t *testing.T) {
	const pause = 20 * time.Millisecond
	for _, c := range []struct {
		name, want string
		change     func(*Options, *net, *samples)
	}{
		{"data", DataPart, func(_ *Options, _ *net, s *samples) {
			s.before = func([]int) error { time.Sleep(pause); return nil }
		}},
		{"frozen stages that run at every step", PrefixPart, func(o *Options, m *net, _ *samples) {
			o.NoCache = true
			m.before = func(stage int) {
				if stage == 0 {
					time.Sleep(pause)
				}
			}
		}},
		{"frozen stages that run once", PrefixPart, func(_ *Options, m *net, _ *samples) {
			m.before = func(stage int) {
				if stage == 0 {
					time.Sleep(pause)
				}
			}
		}},
		{"trained stages", SuffixPart, func(_ *Options, m *net, _ *samples) {
			m.before = func(stage int) {
				if stage == 3 && torch.GradEnabled() {
					time.Sleep(pause)
				}
			}
		}},
		{"evaluation", EvaluationPart, func(_ *Options, m *net, _ *samples) {
			m.measure = func(output nn.Values) nn.Values { time.Sleep(4 * pause); return output }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			model, set := newNet(t), newSamples(1, 64, nil)
			o := quick(t, Phase{Train: Top(2), Epochs: 2, LR: 1e-3})
			c.change(&o, model, set)
			held := torch.Stats()
			f, err := EstimateCost[*rows](t.Context(), model, set, newSamples(2, 64, nil), o)
			require.NoError(t, err)
			requireAtRest(t, model, held)
			name, share := f.Phases[0].Bottleneck()
			assert.Equal(t, c.want, name, "%+v", f.Phases[0].Parts)
			assert.Greater(t, share, 0.4)
			sum := 0.0
			for _, p := range f.Phases[0].Parts {
				sum += p.Seconds
				assert.GreaterOrEqual(t, p.Seconds, 0.0)
				assert.Contains(t, PartNames, p.Name)
			}
			assert.InDelta(t, f.Total(), sum, 1e-9)
		})
	}
}

// On a GPU samples are made while it computes: they are waited for where making them takes as long as the steps.
func TestPartsBehindAQueue(t *testing.T) {
	f := PhaseForecast{Prefix: 1, Train: 10, Evaluate: 2}
	f.divide(true, stepParts{data: 5, optimizer: 1})
	assert.Equal(t, []Part{{SuffixPart, 9}, {EvaluationPart, 2}, {PrefixPart, 1}, {OptimizerPart, 1}, {DataPart, 0}}, f.Parts)
	f.divide(true, stepParts{data: 9.5, optimizer: 1, frozen: 3})
	assert.Equal(t, []Part{{DataPart, 9.5}, {EvaluationPart, 2}, {PrefixPart, 1}, {OptimizerPart, 0.5}, {SuffixPart, 0}}, f.Parts)
	f.divide(false, stepParts{data: 5, optimizer: 1, frozen: 2, taken: 1.5})
	assert.Equal(t, []Part{{DataPart, 5}, {PrefixPart, 3}, {SuffixPart, 2}, {EvaluationPart, 2}, {OptimizerPart, 1}}, f.Parts)
	assert.InDelta(t, 1.5, f.Taken, 0)
	var none PhaseForecast
	name, _ := none.Bottleneck()
	assert.Empty(t, name)
}
