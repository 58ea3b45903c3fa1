package recipe

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGrid(t *testing.T) {
	axes, err := parseGrid([]string{"lr=1e-5, 3e-5", "seed=0..2", `phases[0].train=[top 1, head],all`, "batch.size=8", `best="a,b"`}, 1)
	require.NoError(t, err)
	assert.Equal(t, []axis{
		{"lr", []string{"1e-5", "3e-5"}}, {"seed", []string{"0", "1", "2"}}, {"phases[0].train", []string{"[top 1, head]", "all"}},
		{"batch.size", []string{"8"}}, {"best", []string{`"a,b"`}},
	}, axes)
	all := points(axes)
	require.Len(t, all, 12)
	assert.Equal(t, []string{"1e-5", "0", "[top 1, head]", "8", `"a,b"`}, all[0])
	assert.Equal(t, []string{"3e-5", "0", "all", "8", `"a,b"`}, all[3], "runs of one seed follow one another")
	assert.Equal(t, "lr=1e-5,seed=0,train=top-1-head", folderName(axes, all[0]))
	assert.Equal(t, "run", folderName(axes[3:], []string{"8", "a"}))

	axes, err = parseGrid([]string{"phases[0].lr=1,2", "phases[1].lr=3,4"}, 2)
	require.NoError(t, err)
	assert.Equal(t, "phases-0-.lr=1,phases-1-.lr=3", folderName(axes, []string{"1", "3"}))
}

func TestWrongGrids(t *testing.T) {
	for setting, want := range map[string]string{
		"seed":          `expected key=value, such as seed=0..4 or lr=1e-5,3e-5, found "seed"`,
		"epochs=1":      "epochs=1: epochs is a key of a phase, and the spec has 2 of them: write phases[1].epochs",
		"lr=1e-3,high":  "lr=high is no learning rate, a number above 0",
		"lr=0":          "lr=0 is no learning rate, a number above 0",
		"out=a,b":       "out=a,b: each run has a folder of its own: name the sweep's with --out",
		"seed=4..0":     "seed=4..0: 4..0 counts up from the first number to the last, at most 1000 of them",
		"seed=0..99999": "seed=0..99999: 0..99999 counts up from the first number to the last, at most 1000 of them",
		"seed=1,,2":     "seed=1,,2: a value is empty",
		"seed=":         "seed=: a value is empty",
		"seed=1,0..2":   `seed=1,0..2: the value "1" is there twice`,
	} {
		_, err := parseGrid([]string{setting}, 2)
		assert.EqualError(t, err, want)
		assert.ErrorAs(t, err, new(*GridError))
	}
	_, err := parseGrid([]string{"lr=1,2", "phases[1].head_lr=3"}, 2)
	assert.EqualError(t, err, "lr sets the rates of all phases, and phases[1].head_lr one of them: give one of the two")
	_, err = parseGrid([]string{"epochs=1,2"}, 0)
	assert.ErrorContains(t, err, "epochs=1,2: epochs is a key of a phase, and the spec names none: of a preset's phases lr alone can be swept")
	_, err = parseGrid([]string{"seed=1", "seed=2"}, 1)
	assert.EqualError(t, err, "seed=2: seed is there twice")
	_, err = parseGrid([]string{"seed=0..99", "batch.size=1..11"}, 1)
	assert.EqualError(t, err, "more than 1000 runs")
}

func TestSweepTable(t *testing.T) {
	value := func(x float64) *float64 { return &x }
	w := &Sweep{Keys: []string{"phases[0].lr", "seed"}, Metric: "accuracy"}
	for i, v := range []*float64{value(0.8), value(0.7), value(0.9), value(0.72), nil} {
		run := &SweepRun{Values: map[string]string{"phases[0].lr": []string{"1", "2"}[i%2], "seed": "0"}, State: Finished, Value: v, Seconds: 2}
		if v == nil {
			run.State, run.Values = Failed, map[string]string{"phases[0].lr": "3", "seed": "0"}
		}
		w.Runs = append(w.Runs, run)
	}
	groups := w.Table()
	require.Len(t, groups, 3)
	assert.InDelta(t, 0.85, *groups[0].Mean, 1e-9)
	assert.InDelta(t, 0.0707107, *groups[0].Deviation, 1e-6) // numpy: std([0.8, 0.9], ddof=1)
	assert.Equal(t, 2.0, groups[0].Seconds)
	assert.Equal(t, []bool{true, false, false}, []bool{groups[0].Best, groups[1].Best, groups[2].Best})
	assert.Nil(t, groups[2].Mean)
	assert.Equal(t, 1, groups[2].Failed)
	w.Lower = true
	groups = w.Table()
	assert.True(t, groups[1].Best)
	w.Runs = w.Runs[:1]
	groups = w.Table()
	assert.False(t, groups[0].Best, "one of one is not best")
	assert.Nil(t, groups[0].Deviation)
}
