package finetune

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// sines are the numbers of testdata/loop.py.
func sines(n int, salt, scale float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(scale * math.Sin(0.7*float64(i)+salt))
	}
	return out
}

// loopNet is the network of testdata/loop.py.
func loopNet(t testing.TB) *net {
	model := newNet(t)
	fill := func(to torch.Tensor, salt, scale float64) {
		torch.Scoped(func() {
			torch.NoGrad(func() { to.Copy_(torch.FromSlice(sines(to.Numel(), salt, scale), to.Shape()...)) })
		})
	}
	for i, l := range model.Layers {
		fill(l.Linear.Weight, 1+float64(i), 0.5)
		fill(l.Linear.Bias, 11+float64(i), 0.1)
		fill(l.Mean, 21+float64(i), 0.1)
		l.Dropout.P = 0
	}
	fill(model.Head.Weight, 31, 0.5)
	fill(model.Head.Bias, 41, 0.1)
	return model
}

func loopSamples(n int, salt float64) *samples {
	s := &samples{}
	values := sines(n*width, salt, 1.5)
	for i := range n {
		label := 0
		if 7*i%5 < 2 {
			label = 1
		}
		s.vectors = append(s.vectors, values[i*width:(i+1)*width])
		s.labels = append(s.labels, label)
	}
	return s
}

// hot is the objective of labels on class numbers, which it makes one-hot.
type hot struct{ objective.Labels }

func (h hot) Loss(output, target nn.Values) torch.Tensor {
	return h.Labels.Loss(output, oneHot(target))
}

func (h hot) NewMetric() metric.Metric { return hotMetric{h.Labels.NewMetric()} }

type hotMetric struct{ metric.Metric }

func (m hotMetric) Add(output, target nn.Values) error { return m.Metric.Add(output, oneHot(target)) }

func oneHot(classes nn.Values) nn.Values {
	return nn.Values{torch.FromSlice([]float32{1, 0, 0, 1}, 2, 2).IndexSelect(0, classes[0])}
}

// Every option of the loop makes of the same start, in 30 steps, the losses that PyTorch makes: within 1e-4, and 2e-2
// where products are in 16 bits, whose rounding depends on how a processor multiplies.
func TestLoopIsPyTorchs(t *testing.T) {
	text, err := os.ReadFile("testdata/loop.json")
	require.NoError(t, err)
	var golden struct {
		Cases map[string]struct{ Losses, Tested, Rates []float64 }
	}
	require.NoError(t, json.Unmarshal(text, &golden))
	classes := objective.Classification{Classes: []string{"minus", "plus"}}
	labels := objective.Labels{Names: []string{"minus", "plus"}}
	weights := []float64{0.7, 2.5}
	weighted, smoothed, focal, focalWeighted := classes, classes, classes, classes
	weighted.Weights, smoothed.Weights, focalWeighted.Weights = weights, weights, weights
	smoothed.LabelSmoothing = 0.1
	focal.FocalGamma, focalWeighted.FocalGamma = 2, 2
	posWeighted, labelsFocal := labels, labels
	posWeighted.PosWeights = weights
	labelsFocal.FocalGamma, labelsFocal.FocalAlpha = 2, 0.25

	for name, change := range map[string]func(o *Options){
		"plain":                 func(*Options) {},
		"sgd":                   func(o *Options) { o.Optimizer = Optimizer{Name: "sgd", WeightDecay: Off} },
		"accumulated":           func(o *Options) { o.Batch = Batching{Size: 8, Accumulate: 4} },
		"accumulated, weighted": func(o *Options) { o.Batch, o.Objective = Batching{Size: 8, Accumulate: 4}, weighted },
		"ema":                   func(o *Options) { o.EMA = 0.9 },
		"polynomial": func(o *Options) {
			o.Phases[0].Schedule, o.Phases[0].Power, o.Phases[0].EndLR, o.Phases[0].WarmUp = Polynomial, 2, 1e-4, 0.1
		},
		"step":                    func(o *Options) { o.Phases[0].Schedule, o.Phases[0].StepEpochs, o.Phases[0].Gamma = Step, 7, 0.3 },
		"plateau":                 plateau,
		"class weights":           func(o *Options) { o.Objective = weighted },
		"class weights, smoothed": func(o *Options) { o.Objective = smoothed },
		"focal":                   func(o *Options) { o.Objective = focal },
		"focal, weighted":         func(o *Options) { o.Objective = focalWeighted },
		"labels, weighted":        func(o *Options) { o.Objective = hot{posWeighted} },
		"labels, focal":           func(o *Options) { o.Objective = hot{labelsFocal} },
		"bfloat16":                func(o *Options) { o.Precision = "bfloat16" },
		"bfloat16, accumulated":   func(o *Options) { o.Precision, o.Batch = "bfloat16", Batching{Size: 8, Accumulate: 4} },
		"float16":                 func(o *Options) { o.Precision = "float16" },
	} {
		t.Run(name, func(t *testing.T) {
			o := quick(t, Phase{Train: All(), Epochs: 30, LR: 0.01, HeadLR: 0.01, WarmUp: Off, Schedule: Constant})
			o.Batch, o.Objective = Batching{Size: 28}, classes
			change(&o)
			want, ok := golden.Cases[name]
			require.True(t, ok)
			tolerance := 1e-4
			if o.Precision != "float32" {
				tolerance = 2e-2
			}
			var losses, rates []float64
			o.OnEvent = func(e Event) error {
				if s, ok := e.(train.StepDone); ok {
					losses, rates = append(losses, s.Loss), append(rates, s.LR)
				}
				return nil
			}
			model := loopNet(t)
			for _, l := range model.Layers {
				l.still = o.Batch.Accumulate > 1
			}
			result, err := Fit(t.Context(), model, loopSamples(28, 3), orNil(loopSamples(20, 5)), o)
			require.NoError(t, err)
			require.Len(t, losses, 30)
			for i := range losses {
				assert.InDelta(t, want.Losses[i], losses[i], tolerance, "step %d", i+1)
				assert.InDelta(t, want.Rates[i], rates[i], 1e-9, "step %d", i+1)
				assert.InDelta(t, want.Tested[i], result.Epochs[i].Test.Loss, tolerance, "evaluation %d", i+1)
			}
		})
	}
	assert.Len(t, golden.Cases, 17, "a case without a test")
}

func plateau(o *Options) {
	o.Phases[0].Schedule, o.Phases[0].LR, o.Phases[0].HeadLR, o.Phases[0].Patience, o.Phases[0].Factor = Plateau, 0.05, 0.05, 2, 0.5
	o.Best = "loss"
}

// Accumulated over parts, also with a last short batch and a last short part, a run is that with the large batch:
// gradients add up in another order, so all but the rounding of float32.
func TestAccumulatedIsTheLargeBatch(t *testing.T) {
	run := func(b Batching, lengths func(int) int) ([]float64, map[string][]byte) {
		model := loopNet(t)
		for _, l := range model.Layers {
			l.still = true
		}
		o := quick(t, Phase{Train: All(), Epochs: 5, LR: 0.01, HeadLR: 0.01})
		o.Batch = b
		var losses []float64
		o.OnEvent = func(e Event) error {
			if s, ok := e.(train.StepDone); ok {
				losses = append(losses, s.Loss)
			}
			return nil
		}
		_, err := Fit(t.Context(), model, newSamples(1, 45, lengths), orNil(newSamples(2, 10, lengths)), o)
		require.NoError(t, err)
		return losses, model.bytes()
	}
	for name, lengths := range map[string]func(int) int{"vectors": nil, "sequences": mixed} {
		t.Run(name, func(t *testing.T) {
			large, _ := run(Batching{Size: 20}, lengths)
			require.Len(t, large, 15, "the last batch of an epoch has 5 samples")
			for _, b := range []Batching{{Size: 10, Accumulate: 2}, {Size: 4, Accumulate: 5}} {
				parts, _ := run(b, lengths)
				require.Len(t, parts, len(large))
				for i := range large {
					assert.InDelta(t, large[i], parts[i], 2e-6, "%+v, step %d", b, i+1)
				}
			}
		})
	}
}

// Where parts have rows by a budget of tokens, none has more.
func TestAccumulationKeepsToTheBudget(t *testing.T) {
	o := quick(t, Phase{Train: All(), Epochs: 1, LR: 0.01})
	o.Batch = Batching{Size: 8, Tokens: 20, Accumulate: 3}
	model := newNet(t)
	most := 0
	model.seen = func(_ *rows, x torch.Tensor) {
		if torch.GradEnabled() {
			most = max(most, x.Size(0)*x.Size(1))
		}
	}
	_, err := Fit(t.Context(), model, newSamples(1, 60, mixed), orNil(newSamples(2, 10, mixed)), o)
	require.NoError(t, err)
	assert.LessOrEqual(t, most, 20)
	assert.Greater(t, most, 10)
}

// An average is what evaluation measures and what the run leaves.
func TestAverageIsWhatIsKept(t *testing.T) {
	o := quick(t, Phase{Train: Top(2), Epochs: 3, LR: 0.05, HeadLR: 0.05})
	o.EMA = 0.97
	model := newNet(t)
	result, err := Fit(t.Context(), model, newSamples(1, 80, mixed), orNil(newSamples(2, 40, mixed)), o)
	require.NoError(t, err)
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	defer n.Close()
	score, err := n.Evaluate(t.Context(), newSamples(2, 40, mixed), 16)
	require.NoError(t, err)
	assert.InDelta(t, result.Last.Loss, score.Loss, 1e-6)

	o = quick(t, Phase{Train: Top(2), Epochs: 3, LR: 0.05, HeadLR: 0.05})
	plain, err := Fit(t.Context(), newNet(t), newSamples(1, 80, mixed), orNil(newSamples(2, 40, mixed)), o)
	require.NoError(t, err)
	assert.NotEqual(t, plain.Last.Loss, result.Last.Loss)
	assert.Equal(t, plain.Epochs[0].TrainLoss, result.Epochs[0].TrainLoss, "steps are those of the run without")
}

func TestEarlyStoppingOption(t *testing.T) {
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 40, LR: 1e-6, HeadLR: 1e-6}, Phase{Train: Top(1), Epochs: 2, LR: 0.01, HeadLR: 0.01})
	o.EarlyStopping, o.Best = EarlyStopping{Patience: 3, MinDelta: 0.01}, "loss"
	var seen events
	result, err := start(t, o, newNet(t), newSamples(1, 40, nil), newSamples(2, 30, nil), &seen)
	require.NoError(t, err)
	require.Len(t, result.Epochs, 4+2, "the first epoch is the best, and three are no better")
	assert.Equal(t, []int{1}, result.StoppedEarly)
	assert.False(t, result.Stopped)

	o.Folder = NewFolder(t.TempDir() + "/run")
	_, err = start(t, o, newNet(t), newSamples(1, 40, nil), nil, nil)
	assert.ErrorContains(t, err, "EarlyStopping looks at evaluations, and there are no test samples")
	o.EarlyStopping = EarlyStopping{}
	o.Phases[0].Schedule = Plateau
	_, err = start(t, o, newNet(t), newSamples(1, 40, nil), nil, nil)
	assert.ErrorContains(t, err, `Phases[0].Schedule "plateau" looks at evaluations`)
}

// A step that is not finite says which tensor was the first, whatever it was.
func TestFirstTensorThatIsNotFinite(t *testing.T) {
	nan := float32(math.NaN())
	spoil := func(to torch.Tensor) {
		torch.Scoped(func() { torch.NoGrad(func() { to.Select(0, 0).Fill_(math.NaN()) }) })
	}
	for name, c := range map[string]struct {
		spoil func(model *net, set *samples)
		want  string
	}{
		"input":     {func(_ *net, set *samples) { set.vectors[7][3] = nan }, "batch's input, [8 8]: 1 of 64"},
		"parameter": {func(m *net, _ *samples) { spoil(m.Layers[2].Linear.Bias) }, "parameter stage.2.linear.bias of stage stage.2, [8]: 1 of 8"},
		"output":    {func(m *net, _ *samples) { spoil(m.Layers[1].Mean) }, "output of stage stage.1"},
		"loss": {func(m *net, _ *samples) {
			m.change = func(loss torch.Tensor) torch.Tensor { return loss.MulScalar(math.Inf(1)) }
		}, "loss, []: 1 of 1"},
		"gradient": {func(m *net, _ *samples) {
			// The square root of 0 has an infinite slope.
			m.change = func(loss torch.Tensor) torch.Tensor { return loss.Add(loss.Sub(loss).Sqrt()) }
		}, "gradient of head.weight of stage head, [2 8]"},
	} {
		t.Run(name, func(t *testing.T) {
			model, set := newNet(t), newSamples(1, 8, nil)
			c.spoil(model, set)
			_, err := Fit(t.Context(), model, set, nil, quick(t, Phase{Train: All(), Epochs: 1, LR: 0.01, HeadLR: 0.01}))
			require.ErrorIs(t, err, train.ErrNotFinite)
			found := (*train.NotFiniteError)(nil)
			require.ErrorAs(t, err, &found)
			assert.ErrorContains(t, err, "The first tensor with such values is the "+c.want)
		})
	}
}
