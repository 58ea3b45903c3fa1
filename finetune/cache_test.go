package finetune

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// onHost is as much of a run on the CPU as a cache needs.
func onHost(model *net) *run[*rows] { return &run[*rows]{model: model, machine: host{}} }

// filled is a cache of a data set behind the first stages of a model, made in batches of 4.
func filled(t *testing.T, model *net, data *samples, prefix int) (c *cache[*rows], groups [][]int) {
	t.Helper()
	groups = newSampler(data, 4, 0).sorted()
	done := 0
	c, err := onHost(model).fillCache(t.Context(), &Plan{Prefix: prefix}, data, requests(groups, 0), torch.CPU, func(n int) { done += n })
	require.NoError(t, err)
	assert.Equal(t, data.Len(), done)
	return c, groups
}

func TestCacheHoldsThePrefixesOutput(t *testing.T) {
	for _, lengths := range []func(int) int{mixed, distinct, nil} {
		for _, prefix := range []int{1, 3, 4} {
			t.Run(fmt.Sprintf("padded %t, %d stages", lengths != nil, prefix), func(t *testing.T) {
				model, data := newNet(t), newSamples(1, 30, lengths)
				torchtest.Scoped(t, func() {
					c, groups := filled(t, model, data, prefix)
					defer c.Close()
					for _, group := range groups {
						requireSameRows(t, model, data, c, group, prefix)
					}
				})
			})
		}
	}
}

// requireSameRows checks a batch from the cache against the model, bit for bit.
func requireSameRows(t *testing.T, model *net, data *samples, c *cache[*rows], group []int, prefix int) {
	t.Helper()
	b, err := data.Batch(Request{Indices: group})
	require.NoError(t, err)
	torchtest.Scoped(t, func() {
		var want torch.Tensor
		torch.NoGrad(func() { want = model.Forward(b, torch.Tensor{}, 0, prefix) })
		got := c.batch(b, torch.CPU)
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
	model, data := newNet(t), newSamples(1, 12, mixed)
	torchtest.Scoped(t, func() {
		c, _ := filled(t, model, data, 2)
		defer c.Close()
		group := []int{8, 0, 5, 5, 11} // any order, and a row twice
		b, err := data.Batch(Request{Indices: group})
		require.NoError(t, err)
		torchtest.Scoped(t, func() {
			together := c.batch(b, torch.CPU)
			for k, i := range group {
				one, err := data.Batch(Request{Indices: []int{i}})
				require.NoError(t, err)
				assert.True(t, c.batch(one, torch.CPU).Select(0, 0).Equal(together.Select(0, k).Narrow(0, 0, data.Length(i))), "row %d", k)
			}
		})
	})
}

func TestCacheRowsTakePartInAutograd(t *testing.T) {
	model, data := newNet(t), newSamples(1, 12, mixed)
	torchtest.Scoped(t, func() {
		c, groups := filled(t, model, data, 2)
		defer c.Close()
		b, err := data.Batch(Request{Indices: groups[2]})
		require.NoError(t, err)
		torchtest.Scoped(t, func() {
			w := model.Layers[2].Linear.Weight.RequiresGrad_(true)
			defer w.RequiresGrad_(false)
			defer w.ZeroGrad()
			x := c.batch(b, torch.CPU)
			assert.False(t, x.RequiresGrad())
			model.Loss(b, model.Forward(b, x, 2, 5), 0).Backward()
			assert.True(t, w.Grad().Defined())
			// A product saves its factors, which tensors of inference mode refuse.
			x.Mul(model.Head.Weight.RequiresGrad_(true).Select(0, 0)).Sum().Backward()
			assert.True(t, model.Head.Weight.Grad().Defined())
			model.Head.Weight.RequiresGrad_(false).ZeroGrad()
		})
	})
}

func TestCacheChangesNoLoss(t *testing.T) {
	// Lengths that all differ, so that the cache is filled in the batches that are trained on. Dropout is in trained stages
	// alone: a mask drawn in the prefix would shift all that come after.
	for _, selection := range []Selection{HeadOnly(), Top(2), {"stage.2"}} {
		t.Run(fmt.Sprint(selection), func(t *testing.T) {
			losses := map[string][]float64{}
			results := map[string]*Result{}
			weights := map[string]map[string][]byte{}
			for _, cache := range []string{"auto", "off"} {
				spec := quick(t, Phase{Train: selection, Epochs: 2, LR: 1e-2})
				spec.Cache, spec.Batch = cache, Batch{Size: 6, EvalSize: 6}
				model := newNet(t)
				var report record
				result, err := start(t, spec, model, newSamples(1, 30, distinct), newSamples(2, 18, distinct), &report)
				require.NoError(t, err)
				losses[cache], weights[cache], results[cache] = report.losses, model.bytes(), result
				assert.Equal(t, cache == "auto", report.lines[0] == "begin prefix 48", "%v", report.lines)
			}
			require.Len(t, losses["auto"], 10)
			assert.Equal(t, losses["off"], losses["auto"])
			assert.Equal(t, weights["off"], weights["auto"])
			assert.Equal(t, results["off"].Before, results["auto"].Before)
			assert.Equal(t, results["off"].Last, results["auto"].Last)
		})
	}
}

func TestCacheRunsThePrefixOnce(t *testing.T) {
	runs := func(cache string) (prefix, suffix int) {
		spec := quick(t, Phase{Train: Top(1), Epochs: 3, LR: 1e-3})
		spec.Cache = cache
		model := newNet(t)
		model.before = func(stage int) {
			switch stage {
			case 0:
				prefix++
			case 3:
				suffix++
			}
		}
		_, err := start(t, spec, model, newSamples(1, 24, nil), newSamples(2, 16, nil), nil)
		require.NoError(t, err)
		return prefix, suffix
	}
	// 3 batches and 1 of the test rows; the plan finds out the shape of a row.
	prefix, suffix := runs("auto")
	assert.Equal(t, 3+1+1, prefix)
	assert.Equal(t, 3*3+4*1, suffix)
	prefix, suffix = runs("off")
	assert.Equal(t, suffix, prefix)
}

func TestFrozenStagesRecordNothing(t *testing.T) {
	for _, cache := range []string{"auto", "off"} {
		spec := quick(t, Phase{Train: Top(1), Epochs: 1, LR: 1e-3})
		spec.Cache = cache
		model := newNet(t)
		recorded := map[int]bool{}
		model.before = func(stage int) { recorded[stage] = recorded[stage] || torch.GradEnabled() }
		_, err := start(t, spec, model, newSamples(1, 24, nil), newSamples(2, 16, nil), nil)
		require.NoError(t, err)
		assert.Equal(t, map[int]bool{0: false, 1: false, 2: false, 3: true, 4: true}, recorded, cache)
	}
}

func TestCacheOfAFailure(t *testing.T) {
	broken := errors.New("row 9 is broken")
	model, data := newNet(t), newSamples(1, 20, mixed)
	groups := newSampler(data, 4, 0).sorted()
	before := torch.Stats()
	data.before = func(indices []int) error {
		if indices[0] == groups[3][0] {
			return broken
		}
		return nil
	}
	_, err := onHost(model).fillCache(t.Context(), &Plan{Prefix: 2}, data, requests(groups, 0), torch.CPU, func(int) {})
	require.ErrorIs(t, err, broken)
	assert.EqualError(t, err, "running the frozen stages: row 9 is broken")
	after := torch.Stats()
	assert.Equal(t, before.Tensors+before.Collected, after.Tensors+after.Collected, "live tensors")
}
