package finetune

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// Batches that take a time of their own are predicted by what some of them take.
func TestEstimateCost(t *testing.T) {
	for name, selection := range map[string]Selection{"kept": HeadOnly(), "all": All()} {
		t.Run(name, func(t *testing.T) {
			model, set, test := newNet(t), newSamples(1, 400, mixed), newSamples(2, 64, mixed)
			model.before = func(stage int) {
				if stage == 0 || stage == 4 {
					time.Sleep(2 * time.Millisecond)
				}
			}
			o := quick(t, Phase{Train: selection, Epochs: 2, LR: 1e-3})
			held := torch.Stats()
			f, err := EstimateCost[*rows](t.Context(), model, set, test, o)
			require.NoError(t, err)
			requireAtRest(t, model, held)
			assert.NoDirExists(t, o.Folder.Path())
			require.Len(t, f.Phases, 1)
			assert.Equal(t, 100, f.Phases[0].Steps)
			assert.LessOrEqual(t, f.Phases[0].Measured, 12)
			assert.Positive(t, f.PeakBytes)
			assert.InDelta(t, f.Total(), f.Phases[0].Prefix+f.Phases[0].Train+f.Phases[0].Evaluate, 1e-9)

			result, err := Fit[*rows](t.Context(), model, set, test, o)
			require.NoError(t, err)
			within := func(want, got float64, what string) {
				assert.Less(t, got, 2*want+0.02, what)
				assert.Greater(t, got, want/2-0.02, what)
			}
			within(result.Seconds.Prefix, f.Prefix, "prefix")
			within(result.Seconds.Train, f.Train, "train")
			within(result.Seconds.Evaluate, f.Evaluate, "evaluate")
			assert.Equal(t, name == "kept", f.Prefix > 0)
		})
	}
}

func TestTimings(t *testing.T) {
	set := newSamples(1, 10, func(i int) int { return i + 1 })
	asked := []data.Request{{Indices: []int{0, 3}}, {Indices: []int{9}, Length: 16}, {Indices: []int{1}}} // 8, 16, 2
	assert.Equal(t, []float64{8, 16, 2}, []float64{sizeOf(asked[0], set), sizeOf(asked[1], set), sizeOf(asked[2], set)})
	assert.InDelta(t, 3*0.1+0.01*26, timings{{10, 0.2}, {20, 0.3}, {40, 0.5}}.of(asked, set), 1e-9, "a line")
	assert.InDelta(t, 3*0.3, timings{{10, 0.3}, {10, 0.3}}.of(asked, set), 1e-9, "one size")
	assert.InDelta(t, 3*0.1, timings{{10, 0.1}}.of(asked, set), 1e-9, "one batch")
	assert.InDelta(t, 3*0.25, timings{{10, 0.3}, {20, 0.2}}.of(asked, set), 1e-9, "what falls with the size is noise")
	assert.Greater(t, timings{{10, 0.01}, {20, 0.3}}.of(asked, set), 0.0, "never below 0")
	assert.Zero(t, timings{}.of(asked, set))
}

func TestPick(t *testing.T) {
	set := newSamples(1, 100, func(i int) int { return i + 1 })
	var asked []data.Request
	for i := range 100 {
		asked = append(asked, data.Request{Indices: []int{i}})
	}
	some := pick(asked, set)
	require.Len(t, some, probeBatches)
	assert.Equal(t, []int{99}, some[0].Indices, "the largest first")
	assert.Less(t, some[1].Indices[0], 10, "then a small one")
	seen := map[int]bool{}
	for _, r := range some {
		assert.False(t, seen[r.Indices[0]])
		seen[r.Indices[0]] = true
	}
	assert.Len(t, pick(asked[:2], set), 2)
}
