package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch/nn"
)

// planOf is the plan of a net for a phase at a rate of 1e-3 that is trained as the selection says.
func planOf(t *testing.T, selection Selection, change ...func(*Phase)) (*Plan, error) {
	t.Helper()
	o := Options{Phases: []Phase{{Train: selection, Epochs: 3, LR: 1e-3}}}
	for _, f := range change {
		f(&o.Phases[0])
	}
	o, err := o.resolved()
	require.NoError(t, err)
	return newPlan(o.Phases[0], newNet(t).Stages())
}

func TestPlanFindsThePrefix(t *testing.T) {
	const frozen, trained = 0, -1 // or the elements that are trained
	layer, head := width*width+width, 2*width+2
	for _, c := range []struct {
		train  Selection
		prefix int
		stages [5]int
	}{
		{HeadOnly(), 4, [5]int{frozen, frozen, frozen, frozen, trained}},
		{Top(1), 3, [5]int{frozen, frozen, frozen, trained, trained}},
		{Top(3), 1, [5]int{frozen, trained, trained, trained, trained}},
		{Top(4), 0, [5]int{trained, trained, trained, trained, trained}},
		{All(), 0, [5]int{trained, trained, trained, trained, trained}},
		{Selection{"stage.1"}, 1, [5]int{frozen, trained, frozen, frozen, trained}},
		{Selection{"stage.[13]"}, 1, [5]int{frozen, trained, frozen, trained, trained}},
		{Selection{"stage.2.linear.bias"}, 2, [5]int{frozen, frozen, width, frozen, trained}},
		{Selection{"stage.2.linear.bia"}, 4, [5]int{}}, // there is none: see below
		{Selection{"stage.2.linear.bia?"}, 2, [5]int{frozen, frozen, width, frozen, trained}},
		{Selection{"*.bias"}, 0, [5]int{width, width, width, width, trained}},
		{Selection{"stage.[3].linear.*", "stage.1.*.weight"}, 1, [5]int{frozen, width * width, frozen, trained, trained}},
		{Selection{"*.weight", "top 1"}, 0, [5]int{width * width, width * width, width * width, trained, trained}},
	} {
		plan, err := planOf(t, c.train)
		if c.stages == [5]int{} {
			assert.ErrorContains(t, err, `no stage matches "stage.2.linear.bia"`)
			continue
		}
		require.NoError(t, err, "%v", c.train)
		assert.Equal(t, c.prefix, plan.NumFrozen, "%v", c.train)
		require.Len(t, plan.Stages, 5)
		total := 0
		for i, s := range plan.Stages {
			params := layer
			if i == 4 {
				params = head
			}
			moving := c.stages[i]
			if moving == trained {
				moving = params
			}
			assert.Equal(t, params, s.Params, "%v, %s", c.train, s.Name)
			assert.Equal(t, moving, s.Trainable, "%v, %s", c.train, s.Name)
			assert.Equal(t, moving > 0, s.Trained, "%v, %s", c.train, s.Name)
			total += moving
		}
		tensors := 0
		for _, g := range plan.groups(0) {
			for _, p := range g.Params {
				total -= p.Numel()
			}
			tensors += len(g.Params)
		}
		assert.Zero(t, total, "%v: the groups hold what the stages count", c.train)
		assert.Equal(t, tensors, plan.numTrained(), "%v", c.train)
	}
}

func TestPlanPassesOverStagesWithoutParameters(t *testing.T) {
	model := newNet(t)
	stages := append(model.Stages()[:1:1], nn.Stage[*rows]{Name: "pool", Module: &struct{}{}}, nn.Stage[*rows]{Name: "head", Module: model.Head, Key: "head."})
	plan, err := newPlan(Phase{Train: HeadOnly(), LR: 1, HeadLR: 1, LayerDecay: 1}, stages)
	require.NoError(t, err)
	assert.Equal(t, 2, plan.NumFrozen, "the output of the pool is kept")
	assert.NotContains(t, plan.String(), "pool")

	plan, err = newPlan(Phase{Train: Top(1), LR: 2, HeadLR: 1, LayerDecay: 0.5}, stages)
	require.NoError(t, err)
	assert.Equal(t, 0, plan.NumFrozen, "it is no stage below the head")
	assert.Equal(t, 2.0, plan.Stages[0].LR)

	_, err = newPlan(Phase{Train: HeadOnly(), LR: 1, HeadLR: 1, LayerDecay: 1}, stages[1:2])
	assert.EqualError(t, err, "this model has no stages to choose from")
}

func TestPlanRates(t *testing.T) {
	rates := func(plan *Plan) (out []float64) {
		for _, s := range plan.Stages {
			out = append(out, s.LR)
		}
		return out
	}
	plan, err := planOf(t, All())
	require.NoError(t, err)
	assert.Equal(t, []float64{1e-3, 1e-3, 1e-3, 1e-3, 1e-2}, rates(plan))
	plan, err = planOf(t, All(), func(p *Phase) { p.LayerDecay, p.HeadLR = 0.5, 0.25 })
	require.NoError(t, err)
	assert.Equal(t, []float64{1e-3 / 8, 1e-3 / 4, 1e-3 / 2, 1e-3, 0.25}, rates(plan))
	plan, err = planOf(t, HeadOnly())
	require.NoError(t, err)
	assert.Equal(t, 1e-3, plan.Stages[4].LR, "a head that trains alone has the phase's own rate")
}

func TestPlanGroups(t *testing.T) {
	plan, err := planOf(t, Selection{"top 1", "stage.1.*.bias"}, func(p *Phase) { p.LayerDecay = 0.5 })
	require.NoError(t, err)
	type group struct {
		name      string
		lr, decay float64
		shapes    [][]int
	}
	var got []group
	for _, g := range plan.groups(0.02) {
		out := group{g.Name, g.LR, g.WeightDecay, nil}
		for _, p := range g.Params {
			out.shapes = append(out.shapes, p.Shape())
		}
		got = append(got, out)
	}
	assert.Equal(t, []group{
		{"stage.1 biases and norms", 0.25e-3, 0, [][]int{{width}}},
		{"stage.3", 1e-3, 0.02, [][]int{{width, width}}},
		{"stage.3 biases and norms", 1e-3, 0, [][]int{{width}}},
		{"head", 1e-2, 0.02, [][]int{{2, width}}},
		{"head biases and norms", 1e-2, 0, [][]int{{2}}},
	}, got)
}

func TestStagesOfOneRateShareAGroup(t *testing.T) {
	plan, err := planOf(t, All())
	require.NoError(t, err)
	var names []string
	params := 0
	for _, g := range plan.groups(0.02) {
		names = append(names, g.Name)
		params += len(g.Params)
	}
	assert.Equal(t, []string{"stage.0", "stage.0 biases and norms", "head", "head biases and norms"}, names)
	assert.Equal(t, plan.numTrained(), params)
}

func TestPlanAppliesAndReleases(t *testing.T) {
	model := newNet(t)
	plan, err := newPlan(Phase{Train: Selection{"*.bias"}, LR: 1, HeadLR: 1, LayerDecay: 1}, model.Stages())
	require.NoError(t, err)
	plan.apply()
	assert.True(t, model.Layers[0].Linear.Bias.RequiresGrad())
	assert.False(t, model.Layers[0].Linear.Weight.RequiresGrad())
	assert.True(t, model.Head.Weight.RequiresGrad())
	plan.release()
	assert.False(t, model.Layers[0].Linear.Bias.RequiresGrad())
	assert.False(t, model.Head.Weight.RequiresGrad())
}

func TestPlanOfAPatternThatMatchesNothing(t *testing.T) {
	_, err := planOf(t, Selection{"*.bias", "bert.*"})
	assert.EqualError(t, err, `no parameter matches "bert.*"; they are named like head.weight`)

	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1}, Phase{Train: Selection{"bert.*"}, Epochs: 1, LR: 1})
	_, err = start(t, o, newNet(t), newSamples(1, 8, nil), newSamples(2, 8, nil), nil)
	var fault *PhaseError
	require.ErrorAs(t, err, &fault)
	assert.Equal(t, 1, fault.Phase)
	assert.EqualError(t, err, `Phases[1].Train: no parameter matches "bert.*"; they are named like head.weight`)
	assert.NoDirExists(t, o.Folder.Path(), "every phase is planned before the first runs")
}

func TestPlanPrints(t *testing.T) {
	var seen events
	o := quick(t,
		Phase{Train: Top(1), Epochs: 3, LR: 1e-3},
		Phase{Train: Selection{"stage.[12]", "*.bias"}, Epochs: 1, LR: 1e-3, LayerDecay: 0.5},
		Phase{Train: All(), Epochs: 2, LR: 3e-5})
	trainSet, testSet := newSamples(1, 44, mixed), newSamples(2, 10, mixed)
	_, err := start(t, o, newNet(t), trainSet, testSet, &seen)
	require.NoError(t, err)
	plans := seen.plans()
	require.Len(t, plans, 3)
	assert.Equal(t, `stage.0 ... stage.2      frozen      216   run once, kept: 1 MB in memory
stage.3                  trained      72   lr 0.001
head                     trained      18   lr 0.01
18 steps in 3 epochs of 6 batches`, plans[0].String())
	assert.Equal(t, `stage.0                  trained       8   of 72, lr 0.000125
stage.1                  trained      72   lr 0.00025
stage.2                  trained      72   lr 0.0005
stage.3                  trained       8   of 72, lr 0.001
head                     trained      18   lr 0.01
6 steps in 1 epoch of 6 batches`, plans[1].String())
	assert.Equal(t, `stage.0 ... stage.3      trained     288   lr 3e-05
head                     trained      18   lr 0.0003
12 steps in 2 epochs of 6 batches`, plans[2].String())
}

func TestPlanPrintsFrozenStagesBetweenTrainedOnes(t *testing.T) {
	plan, err := planOf(t, Selection{"stage.1"})
	require.NoError(t, err)
	plan.Batches, plan.Steps, plan.Cached, plan.CacheBytes = 6, 18, true, 1.25e9
	assert.Equal(t, `stage.0                  frozen       72   run once, kept: 1.2 GB in memory
stage.1                  trained      72   lr 0.001
stage.2 ... stage.3      frozen      144
head                     trained      18   lr 0.01
18 steps in 3 epochs of 6 batches`, plan.String())
	plan.Cached = false
	assert.Contains(t, plan.String(), "stage.0                  frozen       72\n")
}

func TestPlanCacheBytes(t *testing.T) {
	for name, c := range map[string]struct {
		lengths func(int) int
		rows    int
	}{
		"padded":   {distinct, (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9) + (1 + 2 + 3)},
		"unpadded": {nil, 9 + 3},
	} {
		t.Run(name, func(t *testing.T) {
			for noCache, want := range map[bool]int64{false: int64(c.rows * width * 4), true: 0} {
				o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-3})
				o.NoCache = noCache
				var seen events
				_, err := start(t, o, newNet(t), newSamples(1, 9, c.lengths), newSamples(2, 3, c.lengths), &seen)
				require.NoError(t, err)
				plans := seen.plans()
				assert.Equal(t, want, plans[0].CacheBytes)
				assert.Equal(t, want > 0, plans[0].Cached)
				assert.Equal(t, 9, plans[0].Rows)
			}
		})
	}
}

func TestCountsAndSizes(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1.0k", 85648: "85.6k", 3551232: "3.6M", 109483778: "109.5M"} {
		assert.Equal(t, want, count(n))
	}
	for n, want := range map[int64]string{0: "0 MB", 1: "1 MB", 365e6: "365 MB", 364_000_001: "365 MB", 1.44e9: "1.4 GB"} {
		assert.Equal(t, want, quantity.Bytes(n))
	}
}
