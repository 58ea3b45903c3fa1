package report

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// RateCurve is the losses of steps whose learning rate rises, as finetune.FindRate measures them.
type RateCurve struct {
	Title                  string
	Rates, Losses, Smooth  []float64
	Suggested              float64 // a rate that is marked; 0 is none
	SuggestedName, RateKey string  // "valley", "phases[0].lr"
}

// PNG draws the curve over the logarithm of the rate.
func (c RateCurve) PNG() ([]byte, error) {
	n := len(c.Rates)
	if n < 2 || len(c.Losses) != n || len(c.Smooth) != n || !(c.Rates[0] > 0 && c.Rates[0] < c.Rates[n-1]) {
		return nil, errors.New("drawing a curve of learning rates: it needs two rates above 0 or more, rising, with a loss each")
	}
	single := curve{name: "loss of a step", color: 0, faint: true}
	smooth := curve{name: "smoothed", color: 0}
	low, high := math.Inf(1), math.Inf(-1)
	for i, rate := range c.Rates {
		x := math.Log10(rate)
		single.points, smooth.points = append(single.points, point{x, c.Losses[i]}), append(smooth.points, point{x, c.Smooth[i]})
		if v := c.Smooth[i]; !math.IsNaN(v) && !math.IsInf(v, 0) {
			low, high = math.Min(low, v), math.Max(high, v)
		}
		if v := c.Losses[i]; v < low {
			low = v
		}
	}
	if !(low <= high) {
		return nil, errors.New("drawing a curve of learning rates: no loss is a number")
	}
	// The rise at the end is far above all else: what is three times the first loss is seen well enough.
	if top := low + 3*(math.Max(c.Smooth[0], low*1.01)-low); high > top && c.Smooth[0] > low {
		high = top
	}
	pad := math.Max((high-low)*0.08, 1e-3)
	y := newScale(low-pad, high+pad, 5, false)
	cutAbove(single.points, y.high)
	cutAbove(smooth.points, y.high)
	first, last := math.Log10(c.Rates[0]), math.Log10(c.Rates[n-1])
	var ticks []plot.Tick
	for power := math.Ceil(first - 1e-9); power <= last+1e-9; power++ {
		ticks = append(ticks, plot.Tick{Value: power, Label: "1e" + strconv.Itoa(int(power))})
	}
	head := chart{title: c.Title, curves: []curve{single, smooth}}
	p := plot.New()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = first, last, y.low, y.high
	p.X.Label.Text, p.X.Label.TextStyle = "learning rate, "+c.RateKey, textStyle(9, softColor)
	p.X.Label.TextStyle.XAlign = text.XCenter
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	p.Y.Tick.Marker = plot.TickerFunc(func(_, _ float64) (ticks []plot.Tick) {
		for _, t := range y.ticks {
			ticks = append(ticks, plot.Tick{Value: t, Label: y.format(t)})
		}
		return ticks
	})
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		style := textStyle(8.5, softColor)
		style.XAlign, style.YAlign = axis.Tick.Label.XAlign, axis.Tick.Label.YAlign
		axis.Tick.Label = style
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = softColor, softColor
		axis.LineStyle.Width, axis.Tick.LineStyle.Width, axis.Tick.Length = vg.Points(0.5), vg.Points(0.5), vg.Points(3)
		axis.Padding = 0
	}
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	grid := plotter.NewGrid()
	grid.Vertical, grid.Horizontal = draw.LineStyle{Color: gridColor, Width: vg.Points(0.75)}, draw.LineStyle{Color: gridColor, Width: vg.Points(0.75)}
	p.Add(grid)
	if c.Suggested > 0 {
		x := math.Log10(c.Suggested)
		line, err := plotter.NewLine(plotter.XYs{{X: x, Y: y.low}, {X: x, Y: y.high}})
		if err != nil {
			return nil, err
		}
		line.LineStyle = draw.LineStyle{Color: palette[1], Width: vg.Points(1.2), Dashes: []vg.Length{vg.Points(4), vg.Points(3)}}
		p.Add(line)
		head.marks = []mark{{x, fmt.Sprintf("%s %.2g", c.SuggestedName, c.Suggested)}}
	}
	for _, curve := range head.curves {
		if err := addCurve(p, curve); err != nil {
			return nil, err
		}
	}
	canvas, area := newCanvas(panelWidth*1.4, panelHeight*1.3)
	area.Min.X, area.Min.Y, area.Max.X, area.Max.Y = area.Min.X+12, area.Min.Y+10, area.Max.X-12, area.Max.Y-10
	top := area.Max.Y
	area.FillText(textStyle(11, inkColor), vg.Point{X: area.Min.X, Y: top - 12}, head.title)
	head.drawLegend(area, top-26)
	area.Max.Y = top - 46
	p.Draw(area)
	head.drawMarks(p.DataCanvas(area), scale{low: first, high: last})
	return encode(canvas)
}

// cutAbove makes gaps of points above a value, but for the first after one below, with which the curve leaves the plot.
func cutAbove(points []point, high float64) {
	above := false
	for i := range points {
		was := above
		if above = points[i].y > high; above && was {
			points[i].y = math.NaN()
		}
	}
}
