package report

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
)

// What a report shows of a detector at most.
const (
	MostMisses = 12 // pictures

	MissSide     = 400      // of a picture on the page: its longer side in pixels
	missBytes    = 64 << 10 // and what its file may take
	mostNamed    = 6        // mistakes that are named below a picture
	mostMultiple = 24       // classes whose curves stand open on the page
)

// Detection is what a detector came to, in evaluation.json.
type Detection struct {
	Numbers []Number         `json:"numbers"` // as COCO's twelve
	Classes []DetectionClass `json:"classes"`
	Curves  []Curve          `json:"curves,omitempty"` // the means of the classes' curves
	// Truths are to be found; of them Missed are not, by detections with the score of their class or a higher one.
	Truths int            `json:"truths"`
	Missed int            `json:"missed"`
	Faults map[string]int `json:"faults,omitempty"` // detections that are wrong, by what is wrong, see FaultNames
	Misses []Miss         `json:"misses,omitempty"` // the pictures with the worst of them
}

// Number is a measure with a name; NaN where there is nothing to measure.
type Number struct {
	Name  string
	Value float64
}

// DetectionClass is a class of objects. Numbers are NaN where the class has no objects.
type DetectionClass struct {
	Name               string
	Objects            int // to be found
	AP, AP50, AP75, AR float64
	// Score is that from which on F1 is highest at an IoU of 0.5, with Precision, Recall and F1 there.
	Score, Precision, Recall, F1 float64
	Curve                        []float64 // precision at an IoU of 0.5, at recalls evenly from 0 to 1
}

// Curve is precision at recalls evenly from 0 to 1.
type Curve struct {
	IoU       float64   `json:"iou"`
	Precision []float64 `json:"precision"`
}

// Miss is a picture on which objects were not found, or found where there are none.
type Miss struct {
	Sample
	Number int           `json:"number"`           // in the test data, from 0
	Missed []string      `json:"missed,omitempty"` // classes of objects that were not found
	Wrong  []WrongObject `json:"wrong,omitempty"`  // the highest scores first
}

// WrongObject is a detection that is wrong.
type WrongObject struct {
	Class string  `json:"class"`
	Score float64 `json:"score"`
	Fault string  `json:"fault"`           // see FaultNames
	Truth string  `json:"truth,omitempty"` // the class of the object it is at or near
}

// FaultNames are what WrongObject.Fault may be, those of TIDE, with what a page calls them.
func FaultNames() [][2]string {
	return [][2]string{
		{"class", "another class"}, {"location", "badly placed"}, {"both", "badly placed, another class"},
		{"duplicate", "found twice"}, {"background", "nothing there"},
	}
}

// bounded makes what is drawn small enough for a page.
func (d *Detection) bounded() {
	d.Misses = d.Misses[:min(len(d.Misses), MostMisses)]
	for i := range d.Misses {
		m := &d.Misses[i]
		if m.Picture != nil {
			m.Encoded, m.Picture = pictureOf(m.Picture, MissSide, missBytes), nil
		}
		m.Sample = m.Sample.bounded()
	}
}

// rounded keeps a curve's values short in a file, and is null where there is no number.
func rounded(values []float64) []*float64 {
	out := make([]*float64, len(values))
	for i, v := range values {
		out[i] = finite(math.Round(v*1e4) / 1e4)
	}
	return out
}

// number is a value that may be null.
func number(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

type numberJSON struct {
	Name  string   `json:"name"`
	Value *float64 `json:"value"`
}

// MarshalJSON writes null for a value that is not defined.
func (n Number) MarshalJSON() ([]byte, error) {
	return json.Marshal(numberJSON{n.Name, finite(n.Value)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (n *Number) UnmarshalJSON(text []byte) error {
	var read numberJSON
	err := json.Unmarshal(text, &read)
	*n = Number{read.Name, number(read.Value)}
	return err
}

type detectionClassJSON struct {
	Name      string     `json:"name"`
	Objects   int        `json:"objects"`
	AP        *float64   `json:"ap"`
	AP50      *float64   `json:"ap50"`
	AP75      *float64   `json:"ap75"`
	AR        *float64   `json:"ar100"`
	Score     float64    `json:"score"`
	Precision float64    `json:"precision"`
	Recall    float64    `json:"recall"`
	F1        float64    `json:"f1"`
	Curve     []*float64 `json:"curve,omitempty"`
}

// MarshalJSON writes null for a value that is not defined.
func (c DetectionClass) MarshalJSON() ([]byte, error) {
	return json.Marshal(detectionClassJSON{
		c.Name, c.Objects, finite(c.AP), finite(c.AP50), finite(c.AP75), finite(c.AR), c.Score, c.Precision, c.Recall, c.F1, rounded(c.Curve),
	})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *DetectionClass) UnmarshalJSON(text []byte) error {
	var r detectionClassJSON
	err := json.Unmarshal(text, &r)
	*c = DetectionClass{r.Name, r.Objects, number(r.AP), number(r.AP50), number(r.AP75), number(r.AR), r.Score, r.Precision, r.Recall, r.F1, nil}
	for _, v := range r.Curve {
		c.Curve = append(c.Curve, number(v))
	}
	return err
}

//go:embed detection.html
var detectionText string

// detectionView is what the page shows of a detector.
type detectionView struct {
	Numbers  [][]fact // in columns
	Curves   *drawnChart
	Multiple []classChart
	Further  []classChart
	Classes  []detectionRow
	More     []detectionRow
	Sorted   bool
	Truths   string
	Faults   []fact
	Misses   []missView
}

type classChart struct {
	Name, AP50 string
	SVG        template.HTML
}

type detectionRow struct {
	Name, Objects                       string
	AP, AP50, AP75, AR, F1, Score, P, R string
	Bar                                 string // of AP, in percent
}

type missView struct {
	Miss
	Picture      template.URL
	NotFound     string
	Lines        []string
	MoreMistakes int
}

func (v *view) detection(d *Detection) {
	v.Detection = &detectionView{}
	s := v.Detection
	half := (len(d.Numbers) + 1) / 2
	for i, n := range d.Numbers {
		if i == 0 || i == half {
			s.Numbers = append(s.Numbers, nil)
		}
		column := &s.Numbers[len(s.Numbers)-1]
		*column = append(*column, fact{n.Name, short3digits(n.Value)})
	}
	classes := slices.Clone(d.Classes)
	if s.Sorted = len(classes) > mostClasses; s.Sorted {
		slices.SortStableFunc(classes, func(a, b DetectionClass) int { // of a class without objects nothing is known
			return cmp.Or(boolInt(math.IsNaN(a.AP))-boolInt(math.IsNaN(b.AP)), cmp.Compare(a.AP, b.AP))
		})
	}
	for i, c := range classes {
		row := detectionRow{
			Name: c.Name, Objects: quantity.Digits(c.Objects), AP: short3digits(c.AP), AP50: short3digits(c.AP50), AP75: short3digits(c.AP75),
			AR: short3digits(c.AR), Bar: "0", F1: "–", Score: "–", P: "–", R: "–",
		}
		if !math.IsNaN(c.AP) {
			row.Bar = fmt.Sprintf("%.1f", 100*c.AP)
		}
		if c.F1 > 0 {
			row.F1, row.Score, row.P, row.R = short3digits(c.F1), short3digits(c.Score), short3digits(c.Precision), short3digits(c.Recall)
		}
		if i < mostClasses {
			s.Classes = append(s.Classes, row)
		} else {
			s.More = append(s.More, row)
		}
		if len(c.Curve) == 0 || len(classes) < 2 {
			continue
		}
		small := classChart{c.Name, short3digits(c.AP50), multiple(c, d.Curves)}
		if len(s.Multiple) < mostMultiple {
			s.Multiple = append(s.Multiple, small)
		} else {
			s.Further = append(s.Further, small)
		}
	}
	if c := d.chart(); !c.empty() {
		drawn := drawnChart{Title: c.title, SVG: c.svg(1000)}
		seen := map[string]bool{}
		for _, curve := range c.curves {
			if !seen[curve.name] {
				drawn.Legend = append(drawn.Legend, legend{curve.name, curve.color, curve.faint})
			}
			seen[curve.name] = true
		}
		s.Curves = &drawn
	}
	s.mistakes(d)
}

// mistakes shows what goes wrong.
func (s *detectionView) mistakes(d *Detection) {
	s.Truths = fmt.Sprintf("%s of %s", quantity.Digits(d.Missed), quantity.Digits(d.Truths))
	names := map[string]string{}
	for _, f := range FaultNames() {
		names[f[0]] = f[1]
		s.Faults = append(s.Faults, fact{f[1], quantity.Digits(d.Faults[f[0]])})
	}
	for _, m := range d.Misses {
		shown := missView{Miss: m}
		if isPicture(m.Encoded) {
			shown.Picture = template.URL(m.Encoded)
		}
		shown.NotFound = counted(m.Missed)
		for i, w := range m.Wrong {
			if i == mostNamed {
				shown.MoreMistakes = len(m.Wrong) - i
				break
			}
			line := fmt.Sprintf("%s %.2f: %s", w.Class, w.Score, names[w.Fault])
			if w.Truth != "" && (w.Fault == "class" || w.Fault == "both") {
				line += ", " + w.Truth
			}
			shown.Lines = append(shown.Lines, line)
		}
		s.Misses = append(s.Misses, shown)
	}
}

// counted lists names, equal ones once: dog (2), cat.
func counted(names []string) string {
	var order []string
	counts := map[string]int{}
	for _, n := range names {
		if counts[n]++; counts[n] == 1 {
			order = append(order, n)
		}
	}
	for i, n := range order {
		if counts[n] > 1 {
			order[i] = fmt.Sprintf("%s (%d)", n, counts[n])
		}
	}
	return strings.Join(order, ", ")
}

// chart draws the mean curves over those of the classes.
func (d *Detection) chart() chart {
	c := chart{title: "Precision over recall", xLabel: "recall", unit: true}
	if len(d.Classes) > 1 {
		for _, class := range d.Classes {
			if len(class.Curve) > 0 {
				c.curves = append(c.curves, curve{name: "classes, IoU 0.5", faint: true, points: overRecall(class.Curve)})
			}
		}
	}
	for i, m := range d.Curves {
		name := fmt.Sprintf("mean, IoU %g", m.IoU)
		if len(d.Classes) == 1 {
			name = fmt.Sprintf("IoU %g", m.IoU)
		}
		c.curves = append(c.curves, curve{name: name, color: i % mostCurves, points: overRecall(m.Precision)})
	}
	return c
}

// multiple is the curve of a class, with the mean of all behind it.
func multiple(c DetectionClass, means []Curve) template.HTML {
	const side, margin = 100.0, 3.0
	px := func(v float64) float64 { return margin + v*side }
	py := func(v float64) float64 { return margin + (1-v)*side*0.7 }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="Precision over recall of %s">`,
		side+2*margin, side*0.7+2*margin, escape(shortened(c.Name, 60)))
	fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1fM%.1f %.1fV%.1f"/>`, px(0), py(0.5), px(1), px(0.5), py(0), py(1))
	fmt.Fprintf(&b, `<rect class="frame" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, px(0), py(1), side, side*0.7)
	if len(means) > 0 {
		fmt.Fprintf(&b, `<path class="line quiet" d="%s"/>`, path(overRecall(means[0].Precision), px, py))
	}
	fmt.Fprintf(&b, `<path class="line c0" d="%s"/></svg>`, path(overRecall(c.Curve), px, py))
	return template.HTML(b.String())
}

// overRecall are the points of a curve. From the recall on that is not reached it falls to 0 and ends.
func overRecall(precision []float64) (points []point) {
	for i, p := range precision {
		points = append(points, point{float64(i) / float64(max(len(precision)-1, 1)), p})
		if p == 0 {
			break
		}
	}
	return points
}

// short3digits writes a share.
func short3digits(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.3f", v)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
