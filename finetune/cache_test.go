package finetune

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// onHost is a run on the CPU with what a cache needs of it: batches of 4.
func onHost(model *net, set *samples) *run[*rows] {
	return newRun[*rows](train.CPU{}, torch.Float32, model, set, nil, Options{Batch: Batching{Size: 4, EvalSize: 4}})
}

// frozen is a plan in which n stages run once.
func frozen(t *testing.T, model *net, n int) *Plan {
	t.Helper()
	plan, err := newPlan(Phase{Train: topFrom(n), LR: 1, HeadLR: 1, LayerDecay: 1}, model.Stages())
	require.NoError(t, err)
	require.Equal(t, n, plan.NumFrozen)
	return plan
}

// topFrom trains all stages of a net from the one of a number on.
func topFrom(n int) Selection {
	if n == 4 {
		return HeadOnly()
	}
	return Top(4 - n)
}

// filled is a cache of a data set behind the first stages of a model, made in batches of 4.
func filled(t *testing.T, model *net, set *samples, n int) (c *cache[*rows], groups [][]int) {
	t.Helper()
	r := onHost(model, set)
	for _, asked := range r.trainSampler.Evaluation() {
		groups = append(groups, asked.Indices)
	}
	slices.Reverse(groups)
	samples := 0
	plan, err := frozen(t, model, n), error(nil)
	plan.values, err = r.valuesOf(plan)
	require.NoError(t, err)
	c, err = r.filledCache(t.Context(), plan, r.training(), func(n int) error { samples += n; return nil })
	require.NoError(t, err)
	assert.Equal(t, set.Len(), samples)
	return c, groups
}

func TestCacheHoldsThePrefixesOutput(t *testing.T) {
	for _, lengths := range []func(int) int{mixed, distinct, nil} {
		for _, prefix := range []int{1, 3, 4} {
			t.Run(fmt.Sprintf("padded %t, %d stages", lengths != nil, prefix), func(t *testing.T) {
				model, set := newNet(t), newSamples(1, 30, lengths)
				torchtest.Scoped(t, func() {
					c, groups := filled(t, model, set, prefix)
					defer c.Close()
					for _, group := range groups {
						requireSameRows(t, model, set, c, group, prefix)
					}
				})
			})
		}
	}
}

// fromCache is the kept output of a batch, which is one tensor.
func fromCache(c *cache[*rows], b *rows) torch.Tensor { return c.Output(b, c.Inputs(b))[0] }

// requireSameRows checks a batch from the cache against the model, bit for bit.
func requireSameRows(t *testing.T, model *net, set *samples, c *cache[*rows], group []int, prefix int) {
	t.Helper()
	b, err := set.Batch(data.Request{Indices: group})
	require.NoError(t, err)
	torchtest.Scoped(t, func() {
		var want torch.Tensor
		torch.NoGrad(func() { want = nn.RunStages(model.Stages()[:prefix], b, nil)[0] })
		got := fromCache(c, b)
		require.Equal(t, want.Shape(), got.Shape())
		for k := range group {
			if b.Lengths() == nil {
				require.True(t, want.Select(0, k).Equal(got.Select(0, k)), "row %d", k)
				continue
			}
			n := b.Lengths()[k]
			require.True(t, want.Select(0, k).Narrow(0, 0, n).Equal(got.Select(0, k).Narrow(0, 0, n)), "row %d", k)
			for _, x := range torch.ToSlice[float32](got.Select(0, k).Narrow(0, n, b.longest-n)) {
				require.Zero(t, x, "padding of row %d", k)
			}
		}
	})
}

func TestCacheGivesAnyGrouping(t *testing.T) {
	model, set := newNet(t), newSamples(1, 12, mixed)
	torchtest.Scoped(t, func() {
		c, _ := filled(t, model, set, 2)
		defer c.Close()
		group := []int{8, 0, 5, 5, 11} // any order, and a row twice
		b, err := set.Batch(data.Request{Indices: group})
		require.NoError(t, err)
		torchtest.Scoped(t, func() {
			together := fromCache(c, b)
			for k, i := range group {
				one, err := set.Batch(data.Request{Indices: []int{i}})
				require.NoError(t, err)
				assert.True(t, fromCache(c, one).Select(0, 0).Equal(together.Select(0, k).Narrow(0, 0, set.Length(i))), "row %d", k)
			}
		})
	})
}

func TestCacheRowsTakePartInAutograd(t *testing.T) {
	model, set := newNet(t), newSamples(1, 12, mixed)
	torchtest.Scoped(t, func() {
		c, groups := filled(t, model, set, 2)
		defer c.Close()
		b, err := set.Batch(data.Request{Indices: groups[2]})
		require.NoError(t, err)
		torchtest.Scoped(t, func() {
			w := model.Layers[2].Linear.Weight.RequiresGrad_(true)
			defer w.RequiresGrad_(false)
			defer w.ZeroGrad()
			x := fromCache(c, b)
			assert.False(t, x.RequiresGrad())
			model.Objective().Loss(nn.RunStages(model.Stages()[2:], b, nn.Values{x}), b.Targets()).Backward()
			assert.True(t, w.Grad().Defined())
			// A product saves its factors, which tensors of inference mode refuse.
			x.Mul(model.Head.Weight.RequiresGrad_(true).Select(0, 0)).Sum().Backward()
			assert.True(t, model.Head.Weight.Grad().Defined())
			model.Head.Weight.RequiresGrad_(false).ZeroGrad()
		})
	})
}

func TestCacheChangesNoLoss(t *testing.T) {
	// Lengths that all differ, so that the cache is filled in the batches that are trained on. Dropout is in trained
	// stages alone: a mask drawn in the prefix would shift all that come after.
	for _, selection := range []Selection{HeadOnly(), Top(2), {"stage.2"}} {
		t.Run(fmt.Sprint(selection), func(t *testing.T) {
			losses := map[bool][]float64{}
			results := map[bool]*Result{}
			weights := map[bool]map[string][]byte{}
			for _, noCache := range []bool{false, true} {
				o := quick(t, Phase{Train: selection, Epochs: 2, LR: 1e-2})
				o.NoCache, o.Batch = noCache, Batching{Size: 6, EvalSize: 6}
				model := newNet(t)
				var seen events
				result, err := start(t, o, model, newSamples(1, 30, distinct), newSamples(2, 18, distinct), &seen)
				require.NoError(t, err)
				losses[noCache], weights[noCache], results[noCache] = seen.losses(), model.bytes(), result
				assert.Equal(t, !noCache, seen.milestones()[0] == milestone{"started", prefixTask, 48, false})
			}
			require.Len(t, losses[false], 10)
			assert.Equal(t, losses[true], losses[false])
			assert.Equal(t, weights[true], weights[false])
			assert.Equal(t, results[true].Before, results[false].Before)
			assert.Equal(t, results[true].Last, results[false].Last)
		})
	}
}

func TestCacheRunsThePrefixOnce(t *testing.T) {
	runs := func(noCache bool) (prefix, suffix int) {
		o := quick(t, Phase{Train: Top(1), Epochs: 3, LR: 1e-3})
		o.NoCache = noCache
		model := newNet(t)
		model.before = func(stage int) {
			switch stage {
			case 0:
				prefix++
			case 3:
				suffix++
			}
		}
		_, err := start(t, o, model, newSamples(1, 24, nil), newSamples(2, 16, nil), nil)
		require.NoError(t, err)
		return prefix, suffix
	}
	// 3 batches and 1 of the test rows; the plan finds out the shape of a row.
	prefix, suffix := runs(false)
	assert.Equal(t, 3+1+1, prefix)
	assert.Equal(t, 3*3+4*1, suffix)
	prefix, suffix = runs(true)
	assert.Equal(t, suffix, prefix)
}

func TestFrozenStagesRecordNothing(t *testing.T) {
	for _, noCache := range []bool{false, true} {
		o := quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-3})
		o.NoCache = noCache
		model := newNet(t)
		recorded := map[int]bool{}
		model.before = func(stage int) { recorded[stage] = recorded[stage] || torch.GradEnabled() }
		_, err := start(t, o, model, newSamples(1, 24, nil), newSamples(2, 16, nil), nil)
		require.NoError(t, err)
		assert.Equal(t, map[int]bool{0: false, 1: false, 2: false, 3: true, 4: true}, recorded, "%t", noCache)
	}
}

func TestCacheOfAFailure(t *testing.T) {
	broken := errors.New("row 9 is broken")
	model, set := newNet(t), newSamples(1, 20, mixed)
	r := onHost(model, set)
	groups := r.trainSampler.Evaluation()
	plan, err := frozen(t, model, 2), error(nil)
	plan.values, err = r.valuesOf(plan)
	require.NoError(t, err)
	before := torch.Stats()
	set.before = func(indices []int) error {
		if indices[0] == groups[3].Indices[0] {
			return broken
		}
		return nil
	}
	_, err = r.filledCache(t.Context(), plan, r.training(), func(int) error { return nil })
	require.ErrorIs(t, err, broken)
	assert.EqualError(t, err, "running the frozen stages: row 9 is broken")
	after := torch.Stats()
	assert.Equal(t, before.Tensors+before.Collected, after.Tensors+after.Collected, "live tensors")
}
