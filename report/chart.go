package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// chart is a diagram of curves, which is drawn as SVG for the page and as a part of curves.png.
type chart struct {
	title  string
	xLabel string
	curves []curve
	marks  []mark
	floor  bool // the values are not negative, and 0 is near enough to be shown
	log    bool // y is logarithmic; all values are above 0
	whole  bool // x is counted
	unit   bool // x and y are shares: both axes go from 0 to 1
}

// curve is a curve of a chart. Where a value is no finite number it has a gap.
type curve struct {
	name   string
	color  int // of the palette, from 0
	faint  bool
	dotted bool // points are marked
	points []point
}

type point struct{ x, y float64 }

// mark is an upright line.
type mark struct {
	x    float64
	name string
}

func (p point) drawn() bool {
	return !math.IsNaN(p.y) && !math.IsInf(p.y, 0)
}

// scale maps values to places between 0 and 1, with ticks at round values.
type scale struct {
	low, high float64
	ticks     []float64
	format    func(float64) string
	log       bool
}

func (s scale) at(v float64) float64 {
	if s.log {
		return math.Log(v/s.low) / math.Log(s.high/s.low)
	}
	return (v - s.low) / (s.high - s.low)
}

// newLogScale makes a logarithmic scale with ticks at 1, 2 and 5 times powers of ten, or at the powers alone.
func newLogScale(low, high float64) scale {
	s := scale{low: low / 1.15, high: high * 1.15, log: true, format: func(v float64) string {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}}
	steps := []float64{1, 2, 5}
	if high > 100*low {
		steps = steps[:1]
	}
	for power := math.Floor(math.Log10(s.low)); power <= math.Log10(s.high); power++ {
		for _, m := range steps {
			if v := m * math.Pow(10, power); v >= s.low && v <= s.high {
				s.ticks = append(s.ticks, v)
			}
		}
	}
	return s
}

// newScale makes a scale that holds all values, with about n ticks. Whole ticks are whole numbers.
func newScale(low, high float64, n int, whole bool) scale {
	if !(low <= high) { // no value at all, too
		low, high = 0, 1
	}
	if high-low < 1e-12*math.Max(math.Abs(low), math.Abs(high)) || low == high {
		pad := math.Abs(low) / 10
		if pad == 0 {
			pad = 1
		}
		low, high = low-pad, high+pad
	}
	step := roundStep((high - low) / float64(n))
	if whole {
		step = math.Max(1, math.Round(step))
	}
	s := scale{low: low, high: high}
	for i := math.Ceil(low/step - 1e-9); i*step <= high+1e-9*step; i++ {
		s.ticks = append(s.ticks, i*step)
	}
	s.format = tickFormat(step, math.Max(math.Abs(low), math.Abs(high)))
	return s
}

// roundStep is the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below x.
func roundStep(x float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if x <= m*power*(1+1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// tickFormat writes ticks that are so far apart, none being larger than most.
func tickFormat(step, most float64) func(float64) string {
	if most >= 1e5 || most <= 1e-2 {
		return func(v float64) string {
			if v == 0 || math.Abs(v) < step/1e6 {
				return "0"
			}
			switch { // thousands and millions, without the noise of floating point
			case most >= 1e6 && most < 1e9:
				return strconv.FormatFloat(round(v/1e6), 'f', -1, 64) + "M"
			case most >= 1e5 && most < 1e9:
				return strconv.FormatFloat(round(v/1e3), 'f', -1, 64) + "k"
			}
			mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 2, 64), "e")
			mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
			number, _ := strconv.Atoi(exponent)
			return fmt.Sprintf("%se%d", mantissa, number)
		}
	}
	digits := 0
	for p := step; digits < 6 && math.Abs(p-math.Round(p)) > 1e-6*p; p *= 10 {
		digits++
	}
	return func(v float64) string {
		if math.Abs(v) < step/1e6 {
			v = 0 // not -0
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
}

func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

// scales are those of a chart's axes.
func (c chart) scales(xTicks, yTicks int) (x, y scale) {
	if c.unit {
		return newScale(0, 1, xTicks, false), newScale(0, 1, yTicks, false)
	}
	lowX, highX := math.Inf(1), math.Inf(-1)
	lowY, highY := math.Inf(1), math.Inf(-1)
	for _, curve := range c.curves {
		var ys []float64
		for _, p := range curve.points {
			lowX, highX = math.Min(lowX, p.x), math.Max(highX, p.x)
			if p.drawn() {
				ys = append(ys, p.y)
			}
		}
		if len(ys) == 0 {
			continue
		}
		slices.Sort(ys)
		skip := 0
		if curve.faint { // a few outliers are cut off
			skip = len(ys) / 50
		}
		lowY, highY = math.Min(lowY, ys[skip]), math.Max(highY, ys[len(ys)-1-skip])
	}
	if c.floor && lowY >= 0 && lowY < 0.6*highY && !c.log {
		lowY = 0
	}
	y = newScale(lowY, highY, yTicks, false)
	if pad := (y.high - y.low) * 0.04; y.low != 0 || lowY < 0 {
		y = newScale(y.low-pad, y.high+pad, yTicks, false)
	} else {
		y = newScale(y.low, y.high+pad, yTicks, false)
	}
	if c.log {
		y = newLogScale(lowY, highY)
	}
	x = newScale(lowX, highX, xTicks, c.whole)
	if lowX == highX && c.whole {
		x = scale{low: lowX - 1, high: highX + 1, ticks: []float64{lowX}, format: x.format}
	}
	return x, y
}

// empty reports whether there is nothing to draw.
func (c chart) empty() bool {
	for _, curve := range c.curves {
		if slices.ContainsFunc(curve.points, point.drawn) {
			return false
		}
	}
	return true
}

// thinned takes means of neighbours, so that a curve has so many points at most.
func thinned(points []point, most int) []point {
	if len(points) <= most {
		return points
	}
	out := make([]point, 0, most)
	for k := range most {
		from, to := k*len(points)/most, (k+1)*len(points)/most
		var sum point
		for _, p := range points[from:to] {
			sum.x, sum.y = sum.x+p.x, sum.y+p.y
		}
		n := float64(to - from)
		out = append(out, point{sum.x / n, sum.y / n})
	}
	return out
}

// smoothed takes means over so many neighbours on either side; values that are not finite stay out of them.
func smoothed(points []point, reach int) []point {
	out := make([]point, len(points))
	for i, p := range points {
		sum, n := 0.0, 0
		near := min(reach, i, len(points)-1-i) // as many on either side
		for _, q := range points[i-near : i+near+1] {
			if q.drawn() {
				sum, n = sum+q.y, n+1
			}
		}
		out[i] = point{p.x, math.NaN()}
		if n > 0 {
			out[i].y = sum / float64(n)
		}
	}
	return out
}

// charts are the diagrams of a run: the loss, the metrics, the learning rate.
func (r *Run) charts() []chart {
	onSteps := len(r.Steps) > 0 && !slices.ContainsFunc(r.Epochs, func(e Epoch) bool { return e.Step == 0 })
	at := func(e Epoch) float64 {
		if onSteps {
			return float64(e.Step)
		}
		return float64(e.Number)
	}
	xLabel := "epoch"
	if onSteps {
		xLabel = "step"
	}
	marks := r.phaseMarks(at, onSteps)
	all := []chart{r.lossChart(at, onSteps)}
	all = append(all, r.metricCharts(at)...)
	if onSteps {
		var rates []point
		for _, s := range r.Steps {
			rates = append(rates, point{float64(s.Step), s.LR})
		}
		line := curve{name: "learning rate", color: 2, points: thinned(rates, 400)}
		all = append(all, chart{title: "Learning rate of the head", floor: true, curves: []curve{line}})
	}
	var drawn []chart
	for _, c := range all {
		if c.xLabel, c.whole = xLabel, true; !c.empty() {
			c.marks = append(c.marks, marks...)
			drawn = append(drawn, c)
		}
	}
	return drawn
}

// phaseMarks are where the phases after the first begin.
func (r *Run) phaseMarks(at func(Epoch) float64, onSteps bool) (marks []mark) {
	if onSteps {
		for i := 1; i < len(r.Steps); i++ {
			if r.Steps[i].Phase != r.Steps[i-1].Phase {
				marks = append(marks, mark{float64(r.Steps[i-1].Step), fmt.Sprintf("phase %d", r.Steps[i].Phase)})
			}
		}
		return marks
	}
	for i := 1; i < len(r.Epochs); i++ {
		if r.Epochs[i].Phase != r.Epochs[i-1].Phase {
			marks = append(marks, mark{at(r.Epochs[i-1]), fmt.Sprintf("phase %d", r.Epochs[i].Phase)})
		}
	}
	return marks
}

func (r *Run) lossChart(at func(Epoch) float64, onSteps bool) chart {
	c := chart{title: "Loss", floor: true}
	var raw, train, test []point
	for _, s := range r.Steps {
		raw = append(raw, point{float64(s.Step), s.Loss})
	}
	for _, e := range r.Epochs {
		train, test = append(train, point{at(e), e.TrainLoss}), append(test, point{at(e), e.TestLoss})
	}
	if before := r.before(); before != nil && len(test) > 0 {
		test = append([]point{{0, before.Loss}}, test...)
	}
	switch {
	case onSteps && len(raw) >= 20:
		smooth := smoothed(raw, max(2, len(raw)/40))
		c.curves = append(c.curves, curve{name: "steps", color: 0, faint: true, points: thinned(raw, 400)},
			curve{name: "training, smoothed", color: 0, points: thinned(smooth, 300)})
	case onSteps:
		c.curves = append(c.curves, curve{name: "training", color: 0, points: raw, dotted: true})
	default:
		c.curves = append(c.curves, curve{name: "training", color: 0, points: train, dotted: true})
	}
	if slices.ContainsFunc(test, point.drawn) {
		c.curves = append(c.curves, curve{name: "test", color: 1, points: test, dotted: true})
		if highest(test) > 10*highest(raw, train) && lowest(c.curves) > 0 { // running statistics that are far off, say
			c.log, c.title = true, "Loss, logarithmic"
		}
	}
	return c
}

// highest is the largest value that is finite; 0 where none is above it.
func highest(lists ...[]point) (high float64) {
	for _, points := range lists {
		for _, p := range points {
			if p.drawn() {
				high = math.Max(high, p.y)
			}
		}
	}
	return high
}

// lowest is the smallest value of curves that is finite.
func lowest(curves []curve) float64 {
	low := math.Inf(1)
	for _, c := range curves {
		for _, p := range c.points {
			if p.drawn() {
				low = math.Min(low, p.y)
			}
		}
	}
	return low
}

// mostCurves is the number of metrics in one chart.
const mostCurves = 5

// metricCharts draw metrics from -1 to 1 together, others each for itself.
func (r *Run) metricCharts(at func(Epoch) float64) (charts []chart) {
	var together []curve
	for i, name := range r.Metrics {
		var points []point
		if before := r.before(); before != nil {
			points = append(points, point{0, before.Value(name)})
		}
		small := true
		for _, e := range r.Epochs {
			points = append(points, point{at(e), e.Values[i]})
			small = small && !(math.Abs(e.Values[i]) > 1)
		}
		title := strings.ReplaceAll(name, "_", " ")
		if small {
			together = append(together, curve{name: title, points: points, dotted: true})
		} else {
			alone := curve{name: title, color: 1, points: points, dotted: true}
			charts = append(charts, chart{title: title, floor: true, curves: []curve{alone}})
		}
	}
	for part := range slices.Chunk(together, mostCurves) {
		for i := range part {
			part[i].color = i
		}
		title := "Metrics on the test data"
		if len(part) == 1 {
			title = part[0].name
		}
		charts = append([]chart{{title: title, curves: part}}, charts...)
	}
	for i := range charts {
		if epoch, _ := r.best(); epoch >= 1 && epoch <= len(r.Epochs) && len(r.Epochs) > 1 {
			charts[i].marks = append(charts[i].marks, mark{at(r.Epochs[epoch-1]), "best"})
		}
	}
	return charts
}
