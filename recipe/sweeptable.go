package recipe

import (
	"math"
	"slices"
	"strings"
)

// Group is the runs of a sweep that differ in their seed alone.
type Group struct {
	Values    map[string]string `json:"values"`    // of the keys that vary, without the seed
	Runs      int               `json:"runs"`      // that have finished
	Failed    int               `json:"failed"`    // runs
	Mean      *float64          `json:"mean"`      // of the metric; null where no run has finished
	Deviation *float64          `json:"deviation"` // the standard deviation of a run, by n-1; null of fewer than two runs
	Seconds   float64           `json:"seconds"`   // the mean
	Best      bool              `json:"best"`      // of all groups
}

func indexOf(names []string, name string) int { return slices.Index(names, name) }

// Table groups the runs by all keys that vary but the seed, in the order of the grid. The group with the best mean is
// marked, where more than one has finished runs.
func (w *Sweep) Table() []Group { return w.grouped() }

func (w *Sweep) grouped() []Group {
	groups := []Group{}
	values := [][]float64{}
	at := map[string]int{}
	for _, run := range w.Runs {
		var id strings.Builder
		own := map[string]string{}
		for _, key := range w.Keys {
			if key != "seed" {
				own[key] = run.Values[key]
				id.WriteString(run.Values[key] + "\x00")
			}
		}
		i, known := at[id.String()]
		if !known {
			i = len(groups)
			at[id.String()] = i
			groups, values = append(groups, Group{Values: own}), append(values, nil)
		}
		switch {
		case run.State == Finished && run.Value != nil:
			groups[i].Runs++
			groups[i].Seconds += run.Seconds
			values[i] = append(values[i], *run.Value)
		case run.State == Failed:
			groups[i].Failed++
		}
	}
	best, finished := -1, 0
	for i := range groups {
		g := &groups[i]
		if g.Runs == 0 {
			continue
		}
		g.Seconds /= float64(g.Runs)
		mean, deviation := meanAndDeviation(values[i])
		if g.Mean = &mean; g.Runs > 1 {
			g.Deviation = &deviation
		}
		finished++
		if best < 0 || mean < *groups[best].Mean == w.Lower && mean != *groups[best].Mean {
			best = i
		}
	}
	if finished > 1 {
		groups[best].Best = true
	}
	return groups
}

// meanAndDeviation are the mean and the standard deviation by n-1; that of one value is 0.
func meanAndDeviation(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v
	}
	mean /= float64(len(values))
	for _, v := range values {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(max(1, len(values)-1)))
}
