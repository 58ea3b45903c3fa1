package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"unicode/utf8"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// The colours are those of the page, in the light.
var (
	palette = []color.NRGBA{
		{0x25, 0x63, 0xb0, 255}, {0xc2, 0x57, 0x0c, 255}, {0x2d, 0x7d, 0x46, 255}, {0x85, 0x45, 0xa8, 255},
		{0x8a, 0x6d, 0x00, 255},
	}
	inkColor  = color.NRGBA{0x1b, 0x1f, 0x24, 255}
	softColor = color.NRGBA{0x5c, 0x65, 0x70, 255}
	gridColor = color.NRGBA{0xe8, 0xeb, 0xef, 255}
)

const (
	panelWidth  = 420 * vg.Length(0.75)
	panelHeight = 290 * vg.Length(0.75)
	dotsPerInch = 192
)

func sans(size float64) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
}

func textStyle(size float64, c color.Color) text.Style {
	return text.Style{Color: c, Font: sans(size), Handler: plot.DefaultTextHandler}
}

// curvesPNG draws the charts side by side, two in a row; nil where there is none.
func (r *Run) curvesPNG() ([]byte, error) {
	charts := r.charts()
	if len(charts) == 0 {
		return nil, nil
	}
	columns := min(2, len(charts))
	lines := (len(charts) + columns - 1) / columns
	canvas, area := newCanvas(panelWidth*vg.Length(columns), panelHeight*vg.Length(lines))
	for i, c := range charts {
		x, y := vg.Length(i%columns)*panelWidth, area.Max.Y-vg.Length(i/columns)*panelHeight
		part := draw.Canvas{Canvas: area.Canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: x + 12, Y: y - panelHeight + 10}, Max: vg.Point{X: x + panelWidth - 12, Y: y - 10},
		}}
		if err := c.draw(part); err != nil {
			return nil, err
		}
	}
	return encode(canvas)
}

// newCanvas makes a white canvas.
func newCanvas(width, height vg.Length) (*vgimg.Canvas, draw.Canvas) {
	canvas := vgimg.NewWith(vgimg.UseWH(width, height), vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(color.White))
	return canvas, draw.New(canvas)
}

func encode(canvas *vgimg.Canvas) ([]byte, error) {
	var b bytes.Buffer
	_, err := vgimg.PngCanvas{Canvas: canvas}.WriteTo(&b)
	return b.Bytes(), err
}

// draw draws a chart: the title and the names of the curves above the plot, where they cover nothing.
func (c chart) draw(area draw.Canvas) error {
	x, y := c.scales(6, 5)
	p := plot.New()
	p.X.Label.Text, p.X.Label.TextStyle = c.xLabel, textStyle(9, softColor)
	p.X.Label.TextStyle.XAlign = text.XCenter
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = x.low, x.high, y.low, y.high
	for axis, s := range map[*plot.Axis]scale{&p.X: x, &p.Y: y} {
		axis.Tick.Marker = plot.TickerFunc(func(_, _ float64) (ticks []plot.Tick) {
			for _, t := range s.ticks {
				ticks = append(ticks, plot.Tick{Value: t, Label: s.format(t)})
			}
			return ticks
		})
		style := textStyle(8.5, softColor)
		style.XAlign, style.YAlign = axis.Tick.Label.XAlign, axis.Tick.Label.YAlign
		axis.Tick.Label = style
		axis.LineStyle.Color, axis.Tick.LineStyle.Color = softColor, softColor
		axis.LineStyle.Width, axis.Tick.LineStyle.Width, axis.Tick.Length = vg.Points(0.5), vg.Points(0.5), vg.Points(3)
		axis.Padding = 0
	}
	if c.log {
		p.Y.Scale = plot.LogScale{}
	}
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width = 0, 0
	grid := plotter.NewGrid()
	grid.Vertical.Width, grid.Horizontal = 0, draw.LineStyle{Color: gridColor, Width: vg.Points(0.75)}
	p.Add(grid)
	for _, m := range c.marks {
		line, err := plotter.NewLine(plotter.XYs{{X: m.x, Y: y.low}, {X: m.x, Y: y.high}})
		if err != nil {
			return err
		}
		line.LineStyle = draw.LineStyle{Color: softColor, Width: vg.Points(0.6)}
		line.LineStyle.Dashes = []vg.Length{vg.Points(2.5), vg.Points(2.5)}
		p.Add(line)
	}
	for _, curve := range c.curves {
		if err := addCurve(p, curve); err != nil {
			return err
		}
	}
	top := area.Max.Y
	area.FillText(textStyle(11, inkColor), vg.Point{X: area.Min.X, Y: top - 12}, c.title)
	c.drawLegend(area, top-26)
	plotArea := area
	plotArea.Max.Y = top - 46
	p.Draw(plotArea)
	c.drawMarks(p.DataCanvas(plotArea), x)
	return nil
}

// drawLegend names the curves in a line, where there are several.
func (c chart) drawLegend(area draw.Canvas, y vg.Length) {
	if len(c.curves) < 2 {
		return
	}
	at, style := area.Min.X, textStyle(8.5, softColor)
	for _, curve := range c.curves {
		area.StrokeLine2(lineStyle(curve), at, y+3, at+12, y+3)
		area.FillText(style, vg.Point{X: at + 16, Y: y}, curve.name)
		at += 16 + style.Width(curve.name) + 12
	}
}

// drawMarks names the upright lines above the plot, but for those that would stand on one another.
func (c chart) drawMarks(data draw.Canvas, x scale) {
	style, last := textStyle(7.5, softColor), data.Min.X-100
	style.XAlign = text.XCenter
	for _, m := range c.marks {
		half := style.Width(m.name) / 2
		at := data.X(x.at(m.x))
		at = min(max(at, data.Min.X+half), data.Max.X-half)
		if at-half < last+4 {
			continue
		}
		data.FillText(style, vg.Point{X: at, Y: data.Max.Y + 3}, m.name)
		last = at + half
	}
}

// lineStyle is how a curve is drawn.
func lineStyle(c curve) draw.LineStyle {
	style := draw.LineStyle{Color: palette[c.color%len(palette)], Width: vg.Points(1.5)}
	if c.faint {
		faint := palette[c.color%len(palette)]
		faint.A = 90
		style = draw.LineStyle{Color: faint, Width: vg.Points(0.75)}
	}
	return style
}

// addCurve draws a curve: a line for each part without a gap.
func addCurve(p *plot.Plot, c curve) error {
	style := lineStyle(c)
	for _, part := range parts(c.points, p.Y.Min, p.Y.Max) {
		line, err := plotter.NewLine(part)
		if err != nil {
			return err
		}
		line.LineStyle = style
		p.Add(line)
		if c.dotted && len(c.points) <= 60 {
			dots, err := plotter.NewScatter(part)
			if err != nil {
				return err
			}
			dots.GlyphStyle = draw.GlyphStyle{Color: style.Color, Radius: vg.Points(2.2), Shape: draw.CircleGlyph{}}
			p.Add(dots)
		}
	}
	return nil
}

// parts are the stretches of a curve without gaps, kept between the bounds of the chart.
func parts(points []point, low, high float64) (out []plotter.XYs) {
	var part plotter.XYs
	for _, p := range points {
		if !p.drawn() {
			if part != nil {
				out = append(out, part)
			}
			part = nil
			continue
		}
		part = append(part, plotter.XY{X: p.x, Y: math.Max(low, math.Min(high, p.y))})
	}
	if part != nil {
		out = append(out, part)
	}
	return out
}

// confusionPNG draws the confusion matrix, with its numbers where they fit; nil where there is none.
func (r *Run) confusionPNG() ([]byte, error) {
	c := r.confusion()
	if c == nil {
		return nil, nil
	}
	n := len(c.Classes)
	cell := vg.Length(math.Max(6, math.Min(42, 420/float64(n))))
	size := math.Min(9, float64(cell)*0.85)
	names, labelWidth := make([]string, n), vg.Length(0)
	style := textStyle(size, inkColor)
	for i, name := range c.Classes {
		names[i] = shortened(name, 24)
		labelWidth = max(labelWidth, style.Width(names[i]))
	}
	side := cell * vg.Length(n)
	left, bottom := labelWidth+34, labelWidth+34
	width, height := left+max(side, 110)+16, bottom+max(side, 60)+34
	canvas, area := newCanvas(width, height)
	title := textStyle(11, inkColor)
	heading := "Confusion matrix"
	if n < c.Of {
		heading = fmt.Sprintf("Confusion matrix: %d of %d classes, those with the most mistakes", n, c.Of)
		title = textStyle(9, inkColor)
	}
	area.FillText(title, vg.Point{X: 12, Y: height - 20}, heading)
	top := height - 34
	for i := range n {
		for j := range n {
			at := vg.Point{X: left + cell*vg.Length(j), Y: top - cell*vg.Length(i+1)}
			c.fill(area, i, j, at, cell)
		}
		name := style
		name.XAlign, name.YAlign = text.XRight, text.YCenter
		area.FillText(name, vg.Point{X: left - 5, Y: top - cell*(vg.Length(i)+0.5)}, names[i])
		name.Rotation = math.Pi / 2
		area.FillText(name, vg.Point{X: left + cell*(vg.Length(i)+0.5), Y: top - side - 5}, names[i])
	}
	area.StrokeLines(draw.LineStyle{Color: softColor, Width: vg.Points(0.5)}, []vg.Point{
		{X: left, Y: top}, {X: left + side, Y: top}, {X: left + side, Y: top - side}, {X: left, Y: top - side}, {X: left, Y: top},
	})
	axis := textStyle(9, softColor)
	axis.XAlign = text.XCenter
	area.FillText(axis, vg.Point{X: left + side/2, Y: 10}, "predicted")
	axis.Rotation = math.Pi / 2
	area.FillText(axis, vg.Point{X: 18, Y: top - side/2}, "true")
	return encode(canvas)
}

// fill draws a cell.
func (c *confusion) fill(area draw.Canvas, i, j int, at vg.Point, cell vg.Length) {
	count := c.counts[i][j]
	if count == 0 && !c.Table() {
		return
	}
	share := c.share(i, j)
	strength := 0.9 * share
	if !c.Table() {
		strength = 0.08 + 0.92*math.Sqrt(share)
	}
	shade := palette[0]
	if i != j {
		shade = palette[1]
	}
	area.FillPolygon(mixed(shade, strength), []vg.Point{
		at, {X: at.X + cell, Y: at.Y}, {X: at.X + cell, Y: at.Y + cell}, {X: at.X, Y: at.Y + cell},
	})
	label := fmt.Sprint(count)
	if cell < 16 || float64(utf8.RuneCountInString(label))*5 > float64(cell) || count == 0 && !c.Table() {
		return
	}
	style := textStyle(math.Min(9, float64(cell)*0.42), inkColor)
	if strength > 0.5 {
		style.Color = color.White
	}
	style.XAlign, style.YAlign = text.XCenter, text.YCenter
	area.FillText(style, vg.Point{X: at.X + cell/2, Y: at.Y + cell/2}, label)
}

// mixed is a colour on white, so strong.
func mixed(c color.NRGBA, strength float64) color.Color {
	part := func(v uint8) uint8 { return uint8(255 - strength*(255-float64(v)) + 0.5) }
	return color.NRGBA{part(c.R), part(c.G), part(c.B), 255}
}
