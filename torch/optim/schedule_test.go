package optim_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/optim"
)

func TestSchedulesAreTransformers(t *testing.T) {
	g := read(t)
	require.Len(t, g.Schedules, 114)
	for _, c := range g.Schedules {
		schedule := map[string]optim.Schedule{
			"linear": optim.Linear(c.WarmUp, c.Total), "cosine": optim.Cosine(c.WarmUp, c.Total), "constant": optim.Constant(c.WarmUp),
		}[c.Name]
		require.Len(t, c.Rates, c.Total+1)
		for step, want := range c.Rates {
			require.InDelta(t, want, schedule(step), 1e-12, "%s, warm-up %d, total %d, step %d", c.Name, c.WarmUp, c.Total, step)
		}
	}
}

func TestOneCycleIsPyTorchs(t *testing.T) {
	g := read(t)
	require.Len(t, g.Cycles, 47)
	for _, c := range g.Cycles {
		schedule := optim.OneCycle(c.Share, c.Total)
		require.Len(t, c.Rates, c.Total)
		for step, want := range c.Rates {
			require.InDelta(t, want, schedule(step), 1e-12, "share %v, total %d, step %d", c.Share, c.Total, step)
		}
	}
}

// Where PyTorch divides by zero, as the first phase takes no step, the rate starts at its top.
func TestOneCycleWithoutARise(t *testing.T) {
	assert.Equal(t, 1.0, optim.OneCycle(1, 1)(0))
	assert.Equal(t, 1.0, optim.OneCycle(0.5, 2)(0))
	assert.InDelta(t, 4e-6, optim.OneCycle(0.5, 2)(1), 1e-12)
	assert.Equal(t, 1.0, optim.OneCycle(0.1, 10)(0))
	assert.InDelta(t, 4e-6, optim.OneCycle(0.1, 10)(9), 1e-12)
}

// Whatever the lengths, at steps past the end too: a factor from 0 to 1, no NaN.
func TestSchedulesHaveNoHoles(t *testing.T) {
	for _, total := range []int{0, 1, 2, 3, 5, 10, 49, 100} {
		for _, share := range []float64{0, 1e-9, 0.01, 0.1, 0.3, 0.5, 0.999, 1} {
			for _, name := range optim.Schedules {
				schedule, err := optim.NewSchedule(name, share, total)
				require.NoError(t, err)
				top := 0.0
				for step := range total + 10 {
					rate := schedule(step)
					require.True(t, rate >= 0 && rate <= 1+1e-12, "%s, share %v, total %d, step %d: %v", name, share, total, step, rate)
					if step < total {
						top = max(top, rate)
					}
				}
				if end := schedule(total + 9); name != "constant" && total > 1 && int(math.Ceil(share*float64(total))) < total {
					require.LessOrEqual(t, end, 4.1e-6, "%s, share %v, total %d: it stays at its end", name, share, total)
				}
				if total > 0 {
					require.Greater(t, top, 0.0, "%s, share %v, total %d: some step must move something", name, share, total)
				}
			}
		}
		for _, warmUp := range []int{0, 1, total, total + 1, 3*total + 7} {
			for name, schedule := range map[string]optim.Schedule{
				"linear": optim.Linear(warmUp, total), "cosine": optim.Cosine(warmUp, total), "constant": optim.Constant(warmUp),
			} {
				for step := range total + 10 {
					rate := schedule(step)
					require.True(t, rate >= 0 && rate <= 1, "%s, warm-up %d, total %d, step %d: %v", name, warmUp, total, step, rate)
				}
			}
		}
	}
}

func TestNewSchedule(t *testing.T) {
	for _, c := range []struct {
		name  string
		share float64
		total int
		same  optim.Schedule
	}{
		{"linear", 0.1, 30, optim.Linear(3, 30)},
		{"linear", 0.1, 31, optim.Linear(4, 31)}, // rounded up, as in transformers
		{"cosine", 0.25, 10, optim.Cosine(3, 10)},
		{"linear", 1, 10, optim.Linear(9, 10)}, // the last step is at the full rate
		{"cosine", 0.1, 1, optim.Cosine(0, 1)},
		{"constant", 0.1, 1, optim.Constant(0)},
		{"constant", 0, 10, optim.Constant(0)},
		{"one-cycle", 0.3, 10, optim.OneCycle(0.3, 10)},
		{"one-cycle", 0, 10, optim.OneCycle(0.1, 10)},
	} {
		t.Run(fmt.Sprint(c.name, " ", c.share, " ", c.total), func(t *testing.T) {
			schedule, err := optim.NewSchedule(c.name, c.share, c.total)
			require.NoError(t, err)
			for step := range c.total {
				assert.Equal(t, c.same(step), schedule(step), "step %d", step)
			}
		})
	}
	_, err := optim.NewSchedule("lineer", 0.1, 10)
	assert.EqualError(t, err, `no schedule is named "lineer"; there are [linear cosine constant one-cycle]`)
	for _, share := range []float64{-0.1, 1.5, 100, math.NaN(), math.Inf(1)} {
		_, err := optim.NewSchedule("linear", share, 10)
		assert.EqualError(t, err, fmt.Sprintf("a warm-up of %v: give the share of the steps, from 0 to 1", share))
	}
}
