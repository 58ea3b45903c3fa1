package finetune

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// fork is a net whose stages hand on two tensors: what they make of their input, and the input before. Where together
// is set, each stage before the last layer can also be computed together with the next one.
type fork struct {
	*net
	together   bool
	calls      map[string]int // of stages' functions, by name
	maskOfRows bool           // the first stage hands on a tensor of the batch
	perSample  bool           // a stage behind the layers makes one row a sample
}

func (f *fork) count(what string) {
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[what]++
}

// layerOf is a layer's two values.
func (f *fork) layerOf(i int, b *rows, in nn.Values) nn.Values {
	x, skipped := b.first(in), torch.Tensor{}
	if len(in) > 1 {
		skipped = in[1]
	}
	y := f.Layers[i].forward(x)
	if skipped.Defined() {
		y = y.Add(skipped.MulScalar(0.125))
	}
	if i == 0 && f.maskOfRows {
		return nn.Values{y, x} // x is the batch's own
	}
	return nn.Values{y, x.MulScalar(0.5)}
}

func (f *fork) Stages() []nn.Stage[*rows] {
	stages := f.net.Stages()
	for i := range f.Layers {
		stages[i].Forward = func(b *rows, in nn.Values) nn.Values {
			f.count(fmt.Sprint("stage ", i))
			return f.layerOf(i, b, in)
		}
		if f.together && i+1 < len(f.Layers) {
			stages[i].ForwardWithNext = func(b *rows, in nn.Values) nn.Values {
				f.count(fmt.Sprint("stages ", i, " and ", i+1))
				return f.layerOf(i+1, b, f.layerOf(i, b, in))
			}
		}
	}
	head := &stages[len(f.Layers)]
	last := head.Forward
	head.Forward = func(b *rows, in nn.Values) nn.Values {
		sum := in[0].Add(in[1])
		if f.perSample {
			return nn.Values{f.Head.Forward(sum)}
		}
		return last(b, nn.Values{sum})
	}
	if f.perSample {
		pool := nn.Stage[*rows]{Name: "pool", PerSample: true, Forward: func(b *rows, in nn.Values) nn.Values {
			mean := func(x torch.Tensor) torch.Tensor {
				if b.lengths == nil {
					return x.MulScalar(1)
				}
				return b.tensor(1).BMM(x).View(b.Size(), width)
			}
			return nn.Values{mean(in[0]), mean(in[1])}
		}}
		stages = append(stages[:len(f.Layers):len(f.Layers)], pool, *head)
	}
	return stages
}

var _ Model[*rows] = (*fork)(nil)

// fitFork is a Fit of a fork with dropout in the trained stages alone; batches of training and of the cache are the
// same.
func fitFork(t *testing.T, on train.Backend, f *fork, o Options, lengths func(int) int) (*Result, *events) {
	t.Helper()
	o.Batch = Batching{Size: 6, EvalSize: 6}
	o, err := o.resolved()
	require.NoError(t, err)
	seen := &events{}
	o.OnEvent = seen.add
	before := torch.Stats()
	result, err := fitOn[*rows](t.Context(), on, torch.Float32, f, newSamples(1, 30, lengths), newSamples(2, 18, lengths), o)
	requireAtRest(t, f.net, before)
	require.NoError(t, err)
	return result, seen
}

// Several tensors between stages are kept like one: with and without a cache of them, the steps are the same to the
// last bit.
func TestSeveralValuesBetweenStages(t *testing.T) {
	for name, lengths := range map[string]func(int) int{"padded": distinct, "unpadded": nil} {
		for _, selection := range []Selection{HeadOnly(), Top(2)} {
			for _, perSample := range []bool{false, true} {
				for _, graphs := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %v, one row a sample %t, graphs %t", name, selection, perSample, graphs), func(t *testing.T) {
						losses, weights := map[bool][]float64{}, map[bool]map[string][]byte{}
						last := map[bool]*Result{}
						for _, noCache := range []bool{false, true} {
							o := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-2})
							o.NoCache, o.Deterministic = noCache, true
							f := &fork{net: newNet(t), perSample: perSample}
							var on train.Backend = train.CPU{}
							if graphs {
								on = &replayer{t: t}
							}
							result, seen := fitFork(t, on, f, o, lengths)
							plan := seen.plans()[0]
							assert.Equal(t, !noCache, plan.Cached)
							if graphs {
								assert.Empty(t, eventsOf[train.Warning](seen))
								assert.NotEmpty(t, seen.captured())
							}
							if !noCache {
								rows := 30 + 18
								if lengths != nil && !(perSample && plan.NumFrozen == 5) {
									rows = 30*31/2 + 18*19/2
								}
								assert.Equal(t, int64(rows*width*4*2), plan.CacheBytes, "two values a row")
							}
							losses[noCache], weights[noCache], last[noCache] = seen.losses(), f.bytes(), result
						}
						if graphs && lengths != nil {
							return // training pads otherwise than the cache was filled: equal but for rounding
						}
						assert.Equal(t, losses[true], losses[false])
						assert.Equal(t, weights[true], weights[false])
						assert.Equal(t, last[true].Before, last[false].Before)
						assert.Equal(t, last[true].Last, last[false].Last)
					})
				}
			}
		}
	}
}

// A stage is computed together with the next one where both run in one call, and by itself where the next is on the
// other side of the cut between frozen and trained stages. Either way comes to the same.
func TestForwardWithNext(t *testing.T) {
	for _, c := range []struct {
		train          Selection
		noCache        bool
		called, absent []string
	}{
		// Frozen: 0 1 2 3, trained: the head.
		{HeadOnly(), false, []string{"stages 0 and 1", "stages 2 and 3"}, []string{"stage 0", "stage 1", "stage 2", "stage 3", "stages 1 and 2"}},
		// Frozen: 0 1 2, trained: 3 and the head.
		{Top(1), false, []string{"stages 0 and 1", "stage 2", "stage 3"}, []string{"stage 0", "stage 1", "stages 2 and 3"}},
		{Top(1), true, []string{"stages 0 and 1", "stage 2", "stage 3"}, []string{"stage 0", "stage 1", "stages 2 and 3"}},
		// Frozen: 0, trained: 1 2 3 and the head.
		{Top(3), true, []string{"stage 0", "stages 1 and 2", "stage 3"}, []string{"stages 0 and 1", "stages 2 and 3"}},
		{All(), false, []string{"stages 0 and 1", "stages 2 and 3"}, []string{"stage 0", "stages 1 and 2"}},
	} {
		t.Run(fmt.Sprint(c.train, c.noCache), func(t *testing.T) {
			var losses [][]float64
			var weights []map[string][]byte
			for _, together := range []bool{false, true} {
				o := quick(t, Phase{Train: c.train, Epochs: 2, LR: 1e-2})
				o.NoCache = c.noCache
				f := &fork{net: newNet(t), together: together}
				_, seen := fitFork(t, train.CPU{}, f, o, mixed)
				losses, weights = append(losses, seen.losses()), append(weights, f.bytes())
				if !together {
					continue
				}
				for _, what := range c.called {
					assert.NotZero(t, f.calls[what], what)
				}
				for _, what := range c.absent {
					assert.Zero(t, f.calls[what], what)
				}
			}
			assert.Equal(t, losses[0], losses[1])
			assert.Equal(t, weights[0], weights[1])
		})
	}
}

// A stage may hand on a tensor that it did not make, such as one of the batch: it stays the batch's.
func TestStagesMayHandOnABatchsTensor(t *testing.T) {
	var weights []map[string][]byte
	for _, graphs := range []bool{false, true} {
		for _, noCache := range []bool{false, true} {
			o := quick(t, Phase{Train: Top(1), Epochs: 4, LR: 1e-2})
			o.NoCache, o.Deterministic = noCache, true
			f := &fork{net: newNet(t), maskOfRows: true}
			var on train.Backend = train.CPU{}
			if graphs {
				on = &replayer{t: t}
			}
			fitFork(t, on, f, o, nil)
			weights = append(weights, f.bytes())
		}
	}
	assert.Equal(t, weights[0], weights[1])
	assert.Equal(t, weights[2], weights[3])
}

// The same tensor twice is two values.
func TestStagesMayHandOnATensorTwice(t *testing.T) {
	torch.Scoped(func() {
		x := torch.Ones(torch.Float32, torch.CPU, 2, 3)
		twice := nn.Stage[*rows]{Forward: func(_ *rows, in nn.Values) nn.Values {
			y := in[0].AddScalar(1)
			return nn.Values{y, y}
		}}
		sum := nn.Stage[*rows]{Forward: func(_ *rows, in nn.Values) nn.Values { return nn.Values{in[0].Add(in[1])} }}
		var out nn.Values
		require.NoError(t, torch.TryErr(func() error {
			out = nn.RunStages([]nn.Stage[*rows]{twice, sum}, nil, nn.Values{x})
			return nil
		}))
		assert.Equal(t, []float32{4, 4, 4, 4, 4, 4}, torch.ToSlice[float32](out[0]))
		assert.False(t, x.Closed())
	})
}
