package report

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func labels(s scale) (out []string) {
	for _, t := range s.ticks {
		out = append(out, s.format(t))
	}
	return out
}

func TestScales(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		whole     bool
		want      []string
	}{
		{0, 1, false, []string{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}},
		{0.79, 0.83, false, []string{"0.79", "0.80", "0.81", "0.82", "0.83"}},
		{0, 2e-4, false, []string{"0", "5e-5", "1e-4", "1.5e-4", "2e-4"}},
		{-0.3, 0.3, false, []string{"-0.2", "0.0", "0.2"}},
		{0, 3, true, []string{"0", "1", "2", "3"}},
		{1, 598, true, []string{"200", "400"}},
		{0, 250_000, true, []string{"0", "50k", "100k", "150k", "200k", "250k"}},
		{0, 4_000_000, true, []string{"0", "1M", "2M", "3M", "4M"}},
		{5, 5, false, []string{"4.6", "4.8", "5.0", "5.2", "5.4"}},
		{math.Inf(1), math.Inf(-1), false, []string{"0.0", "0.2", "0.4", "0.6", "0.8", "1.0"}}, // no value
	} {
		assert.Equal(t, c.want, labels(newScale(c.low, c.high, 5, c.whole)), "%v to %v", c.low, c.high)
	}
	assert.Equal(t, []string{"0.1", "1", "10", "100"}, labels(newLogScale(0.1, 100)))
	assert.Equal(t, []string{"1", "2", "5", "10"}, labels(newLogScale(0.9, 11)))
}

// Whatever the values: some ticks, all within the scale, no two with the same label.
func TestTicksOfAnyRange(t *testing.T) {
	for _, low := range []float64{-1e9, -3.7, -1e-7, 0, 1e-12, 0.3, 17, 123456, 1e12} {
		for _, width := range []float64{0, 1e-9, 1e-3, 0.02, 1, 7, 12345, 9e8} {
			s := newScale(low, low+width, 5, false)
			assert.Positive(t, len(s.ticks), "%v +%v", low, width)
			assert.Less(t, len(s.ticks), 9, "%v +%v", low, width)
			for _, v := range s.ticks {
				at := s.at(v)
				assert.True(t, at > -1e-3 && at < 1+1e-3, "%v of %v +%v", v, low, width)
			}
		}
	}
}

func TestSmoothedAndThinned(t *testing.T) {
	nan := math.NaN()
	got := smoothed([]point{{1, 1}, {2, nan}, {3, 5}, {4, 7}}, 1)
	assert.Equal(t, []point{{1, 1}, {2, 3}, {3, 6}, {4, 7}}, got)
	assert.True(t, math.IsNaN(smoothed([]point{{1, nan}}, 3)[0].y))
	assert.Equal(t, []point{{1.5, 2}, {3.5, 6}}, thinned([]point{{1, 1}, {2, 3}, {3, 5}, {4, 7}}, 2))
}

// A test loss that is far above the training loss, as while running statistics settle, does not press that flat.
func TestLossIsLogarithmicWhereItMustBe(t *testing.T) {
	r := &Run{Epochs: []Epoch{{Number: 1, TrainLoss: 0.9, TestLoss: 25}, {Number: 2, TrainLoss: 0.5, TestLoss: 0.7}}}
	assert.True(t, r.charts()[0].log)
	r.Epochs[0].TestLoss = 2
	assert.False(t, r.charts()[0].log)
	r.Epochs[0].TestLoss, r.Epochs[1].TrainLoss = 25, 0
	assert.False(t, r.charts()[0].log, "0 has no logarithm")
}

func TestNumbers(t *testing.T) {
	for x, want := range map[float64]string{0: "0.0000", 0.83034: "0.8303", 12.345: "12.35", 12345.6: "12346", 1e-5: "1e-05", 3e7: "3e+07", -0.5: "-0.5000"} {
		assert.Equal(t, want, short(x))
	}
	assert.Equal(t, "–", short(math.NaN()))
	for x, want := range map[float64]string{0: "0 %", 0.004: "0.4 %", 0.5: "50 %", 0.9999: "99.9 %", 1: "100 %"} {
		assert.Equal(t, want, percent(x))
	}
	for x, want := range map[float64]string{4.1: "4.1 s", 160: "2 min 40 s", 13800: "3 h 50 min"} {
		assert.Equal(t, want, duration(x))
	}
	assert.Equal(t, "ä…", cut("äää", 3))
	assert.Equal(t, "abc", cut("abc", 3))
}
