package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// The size of a chart in units of its own, about the pixels of a narrow column; the page stretches it.
const (
	chartWidth  = 380
	chartHeight = 240
	plotRight   = chartWidth - 10
	plotTop     = 16
	plotBottom  = chartHeight - 34
)

// escape writes a text into SVG.
func escape(s string) string { return template.HTMLEscapeString(s) }

// svg draws a chart. Colours are the page's, by class.
func (c chart) svg(id int) template.HTML {
	var b strings.Builder
	x, y := c.scales(5, 5)
	plotLeft := 14
	for _, t := range y.ticks {
		plotLeft = max(plotLeft, 12+int(6.4*float64(len(y.format(t)))))
	}
	px := func(v float64) float64 { return float64(plotLeft) + x.at(v)*float64(plotRight-plotLeft) }
	py := func(v float64) float64 { return plotBottom - y.at(v)*(plotBottom-plotTop) }
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`, chartWidth, chartHeight, escape(c.title))
	fmt.Fprintf(&b, `<clipPath id="plot%d"><rect x="%d" y="%d" width="%d" height="%d"/></clipPath>`,
		id, plotLeft-4, plotTop-4, plotRight-plotLeft+8, plotBottom-plotTop+8)
	for _, t := range y.ticks {
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			plotLeft, py(t), plotRight, plotLeft-6, py(t)+3.5, escape(y.format(t)))
	}
	for i, t := range x.ticks {
		anchor := "middle"
		if label := x.format(t); i == len(x.ticks)-1 && px(t)+3.2*float64(len(label)) > chartWidth-2 {
			anchor = "end"
		}
		at := px(t)
		if anchor == "end" {
			at = chartWidth - 2
		}
		fmt.Fprintf(&b, `<path class="axis" d="M%.1f %dv4"/><text class="tick" x="%.1f" y="%d" text-anchor="%s">%s</text>`,
			px(t), plotBottom, at, plotBottom+15, anchor, escape(x.format(t)))
	}
	fmt.Fprintf(&b, `<path class="axis" d="M%d %dH%d"/>`, plotLeft, plotBottom, plotRight)
	fmt.Fprintf(&b, `<text class="tick" x="%d" y="%d" text-anchor="middle">%s</text>`,
		(plotLeft+plotRight)/2, chartHeight-4, escape(c.xLabel))
	last := math.Inf(-1) // right end of the last mark's name
	for _, m := range c.marks {
		at := px(m.x)
		fmt.Fprintf(&b, `<path class="mark" d="M%.1f %dV%d"/>`, at, plotTop, plotBottom)
		half := 2.8 * float64(len(m.name))
		middle := math.Min(math.Max(at, float64(plotLeft)+half), chartWidth-2-half)
		if middle-half > last+4 { // else it would stand on the one before
			fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`,
				middle, plotTop-5, escape(m.name))
			last = middle + half
		}
	}
	fmt.Fprintf(&b, `<g clip-path="url(#plot%d)">`, id)
	for _, curve := range c.curves {
		class := fmt.Sprintf("line c%d", curve.color)
		if curve.faint {
			class += " faint"
		}
		fmt.Fprintf(&b, `<path class="%s" d="%s"/>`, class, path(curve.points, px, py))
		if !curve.dotted || len(curve.points) > 60 {
			continue
		}
		for _, p := range curve.points {
			if p.drawn() {
				fmt.Fprintf(&b, `<circle class="dot c%d" cx="%.1f" cy="%.1f" r="3"><title>%s: %s at %s %s</title></circle>`,
					curve.color, px(p.x), py(p.y), escape(curve.name), short(p.y), escape(c.xLabel), x.format(p.x))
			}
		}
	}
	b.WriteString(`</g></svg>`)
	return template.HTML(b.String())
}

// path draws lines through points, with gaps where there is no value.
func path(points []point, px, py func(float64) float64) string {
	var b strings.Builder
	draw := byte('M')
	for _, p := range points {
		if !p.drawn() {
			draw = 'M'
			continue
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", draw, px(p.x), math.Max(-1e4, math.Min(1e4, py(p.y))))
		draw = 'L'
	}
	return b.String()
}

// short writes a value with four digits behind the point, or as many that it tells something.
func short(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case math.IsInf(v, 0):
		return "∞"
	case a != 0 && (a < 1e-3 || a >= 1e6):
		return fmt.Sprintf("%.3g", v)
	case a >= 1000:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}

// count is the number of predictions in all bins.
func (c *Calibration) count() (n int) {
	for _, b := range c.Bins {
		n += b.Count
	}
	return n
}

// reliability draws how often predictions are right against how sure they are, with the share of predictions in each
// bin below.
func (c *Calibration) reliability() template.HTML {
	const side, left, top, gap, low = 300.0, 46.0, 8.0, 8.0, 46.0
	var b strings.Builder
	width, height := left+side+10, top+side*0.72+gap+low+36
	bottom := top + side*0.72
	px := func(v float64) float64 { return left + v*side }
	py := func(v float64) float64 { return bottom - v*(bottom-top) }
	fmt.Fprintf(&b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="Reliability diagram">`, width, height)
	for _, t := range []float64{0, 0.2, 0.4, 0.6, 0.8, 1} {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text class="tick" x="%.1f" y="%.1f" text-anchor="end">%.1f</text>`,
			left, py(t), left+side, left-6, py(t)+3.5, t)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%.1f</text>`, px(t), height-19, t)
	}
	all, most := c.count(), 0
	for _, bin := range c.Bins {
		most = max(most, bin.Count)
	}
	n := float64(len(c.Bins))
	base := bottom + gap + low
	for i, bin := range c.Bins {
		if bin.Count == 0 {
			continue
		}
		from, to := px(float64(i)/n)+1, px(float64(i+1)/n)-1
		share := float64(bin.Right) / float64(bin.Count)
		title := fmt.Sprintf("%d predictions, mean probability %.3f, right %.3f", bin.Count, bin.Mean, share)
		fmt.Fprintf(&b, `<g><title>%s</title><rect class="column c0" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`,
			title, from, py(share), to-from, bottom-py(share))
		fmt.Fprintf(&b, `<path class="line c1" d="M%.1f %.1fH%.1f"/>`, from, py(bin.Mean), to)
		tall := math.Max(0.75, low*float64(bin.Count)/float64(most))
		fmt.Fprintf(&b, `<rect class="column quiet" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/></g>`,
			from, base-tall, to-from, tall)
	}
	fmt.Fprintf(&b, `<path class="mark" d="M%.1f %.1fL%.1f %.1f"/>`, px(0), py(0), px(1), py(1))
	fmt.Fprintf(&b, `<path class="axis" d="M%.1f %.1fH%.1fM%.1f %.1fH%.1f"/>`,
		left, bottom, left+side, left, base, left+side)
	fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">probability that the model gives</text>`,
		left+side/2, height-4)
	fmt.Fprintf(&b, `<text class="tick" transform="translate(11 %.1f) rotate(-90)" text-anchor="middle">share that is right</text>`,
		(top+bottom)/2)
	fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
		left-6, base-low+8, percent(float64(most)/float64(all)))
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// percent writes a share.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.0095:
		return fmt.Sprintf("%.1f %%", 100*share)
	case share > 0.995 && share < 1:
		return fmt.Sprintf("%.1f %%", math.Min(99.9, 100*share))
	}
	return fmt.Sprintf("%.0f %%", 100*share)
}

// scatter draws true and predicted numbers.
func scatter(points [][2]float64) template.HTML {
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range points {
		low, high = math.Min(low, math.Min(p[0], p[1])), math.Max(high, math.Max(p[0], p[1]))
	}
	s := newScale(low, high, 5, false)
	pad := (s.high - s.low) * 0.03
	s = newScale(s.low-pad, s.high+pad, 5, false)
	const side, left, top = 300.0, 56.0, 8.0
	px := func(v float64) float64 { return left + s.at(v)*side }
	py := func(v float64) float64 { return top + side - s.at(v)*side }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="True and predicted numbers">`,
		left+side+10, top+side+36)
	for _, t := range s.ticks {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1fM%.1f %.1fV%.1f"/>`,
			left, py(t), left+side, px(t), top, top+side)
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			left-6, py(t)+3.5, escape(s.format(t)))
		fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">%s</text>`,
			px(t), top+side+15, escape(s.format(t)))
	}
	fmt.Fprintf(&b, `<path class="mark" d="M%.1f %.1fL%.1f %.1f"/>`, px(s.low), py(s.low), px(s.high), py(s.high))
	for _, p := range points {
		fmt.Fprintf(&b, `<circle class="spot c0" cx="%.1f" cy="%.1f" r="2.2"/>`, px(p[0]), py(p[1]))
	}
	fmt.Fprintf(&b, `<text class="tick" x="%.1f" y="%.1f" text-anchor="middle">true</text>`, left+side/2, top+side+32)
	fmt.Fprintf(&b, `<text class="tick" transform="translate(11 %.1f) rotate(-90)" text-anchor="middle">predicted</text></svg>`,
		top+side/2)
	return template.HTML(b.String())
}
