package recipe

import (
	"cmp"
	"fmt"
	"image"
	"math"
	"path/filepath"
	"slices"

	"golang.org/x/image/draw"

	"github.com/thaw-ml/thaw/report"
	"github.com/thaw-ml/thaw/vision/detection"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	boxdraw "github.com/thaw-ml/thaw/vision/detection/draw"
	"github.com/thaw-ml/thaw/vision/detection/evaluation"
	"github.com/thaw-ml/thaw/vision/picture"
)

// shownIoU is what a report's misses are told apart at.
const shownIoU = 0.5

// sightings are what the last evaluation of a detector found, for a report.
type sightings struct {
	set    *annotation.Set
	first  int // the label of class 0
	found  map[int][]detection.Detection
	result *evaluation.Result
}

// watch has an objective's evaluations leave what they find.
func (s *sightings) watch(o detection.Objective) detection.Objective {
	s.found = map[int][]detection.Detection{}
	o.Found = func(sample int, found []detection.Detection) { s.found[sample] = found }
	o.Measured = func(r *evaluation.Result) { s.result = r }
	return o
}

// picture is a test picture as it is evaluated.
func (s *sightings) picture(sample int) (p evaluation.Picture) {
	for _, b := range s.set.Pictures[sample].Boxes {
		p.Truths = append(p.Truths, evaluation.Truth{
			Class: b.Class, X1: b.X1, Y1: b.Y1, X2: b.X2, Y2: b.Y2, Area: b.Area, Crowd: b.Crowd, Difficult: b.Difficult,
		})
	}
	p.Detections = detection.ForEvaluation(s.found[sample], s.first, len(s.set.Classes))
	return p
}

// report sums up the last evaluation and draws the pictures with the worst misses.
func (s *sightings) report() (*report.Detection, error) {
	if s.result == nil {
		return nil, fmt.Errorf("no detector was evaluated")
	}
	d := &report.Detection{Numbers: numbersOf(s.result.Numbers), Faults: map[string]int{}}
	samples := make([]int, 0, len(s.found)) // those that could be read
	for sample := range s.found {
		samples = append(samples, sample)
	}
	slices.Sort(samples)
	pictures := make([]evaluation.Picture, len(samples))
	for i, sample := range samples {
		pictures[i] = s.picture(sample)
	}
	thresholds := evaluation.Thresholds(pictures, len(s.set.Classes), shownIoU)
	from := scoresOf(thresholds)
	for i := range s.result.Classes {
		c, t := &s.result.Classes[i], thresholds[i]
		of := report.DetectionClass{
			Name: c.Name, Objects: c.Positives, AP: defined(c.AP), AP50: defined(c.AP50), AP75: defined(c.AP75), AR: defined(c.AR100),
			Score: t.Score, Precision: t.Precision, Recall: t.Recall, F1: t.F1,
		}
		points, err := c.Curve(shownIoU)
		if err != nil {
			return nil, err
		}
		of.Curve = precisionOf(points)
		d.Classes = append(d.Classes, of)
	}
	for _, iou := range []float64{shownIoU, 0.75, 0.9} {
		points, err := s.result.Curve(iou)
		if err != nil {
			return nil, err
		}
		if len(points) > 0 {
			d.Curves = append(d.Curves, report.Curve{IoU: iou, Precision: precisionOf(points)})
		}
	}
	s.misses(d, samples, pictures, from)
	return d, nil
}

// unseenScore stands for a class's score where none of its objects is found.
const unseenScore = 0.5

// scoresOf are the scores from which on detections of each class are shown.
func scoresOf(thresholds []evaluation.Threshold) []float64 {
	from := make([]float64, len(thresholds))
	for i, t := range thresholds {
		from[i] = cmp.Or(t.Score, unseenScore)
	}
	return from
}

// miss is what is wrong on a picture.
type miss struct {
	at     int // of pictures
	missed []int
	wrong  []evaluation.Mistake
	weight float64 // objects that were not found, and the scores of detections that are wrong
}

// misses counts what is wrong, and draws the worst of it.
func (s *sightings) misses(d *report.Detection, samples []int, pictures []evaluation.Picture, from []float64) {
	var all []miss
	for i, p := range pictures {
		for _, t := range p.Truths {
			if !t.Crowd && !t.Difficult {
				d.Truths++
			}
		}
		m := miss{at: i}
		m.missed, m.wrong = p.Mistakes(shownIoU, from)
		d.Missed += len(m.missed)
		m.weight = float64(len(m.missed))
		for _, w := range m.wrong {
			d.Faults[string(w.Fault)]++
			m.weight += p.Detections[w.Detection].Score
		}
		if m.weight > 0 {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b miss) int { return cmp.Compare(b.weight, a.weight) })
	for _, m := range all[:min(len(all), report.MostMisses)] {
		p := pictures[m.at]
		shown := report.Miss{Number: samples[m.at], Sample: report.Sample{Name: filepath.Base(s.set.Pictures[samples[m.at]].Path)}}
		for _, j := range m.missed {
			shown.Missed = append(shown.Missed, s.set.Classes[p.Truths[j].Class])
		}
		for _, w := range m.wrong {
			of := report.WrongObject{
				Class: s.set.Classes[p.Detections[w.Detection].Class], Score: p.Detections[w.Detection].Score, Fault: string(w.Fault),
			}
			if w.Truth >= 0 {
				of.Truth = s.set.Classes[p.Truths[w.Truth].Class]
			}
			shown.Wrong = append(shown.Wrong, of)
		}
		// A picture that cannot be shown is no reason to leave out what is wrong with it.
		if drawn, err := s.draw(samples[m.at], p, m); err == nil {
			shown.Picture = drawn
		}
		d.Misses = append(d.Misses, shown)
	}
}

// draw draws a picture's mistakes, as large as the page shows it, so that labels stay legible: objects that were not found
// dashed, detections that are wrong solid.
func (s *sightings) draw(sample int, p evaluation.Picture, m miss) (image.Image, error) {
	read, err := picture.Read(s.set.Pictures[sample].Path, picture.Options{})
	if err != nil {
		return nil, err
	}
	scale := report.MissSide / float64(max(read.Width, read.Height))
	small := image.NewRGBA(image.Rect(0, 0,
		max(1, int(math.Round(float64(read.Width)*scale))), max(1, int(math.Round(float64(read.Height)*scale)))))
	full := boxdraw.Image(read)
	draw.CatmullRom.Scale(small, small.Bounds(), full, full.Bounds(), draw.Src, nil)
	var boxes []boxdraw.Box
	add := func(x1, y1, x2, y2 float64, class int, label string, truth bool) {
		boxes = append(boxes, boxdraw.Box{X1: x1 * scale, Y1: y1 * scale, X2: x2 * scale, Y2: y2 * scale, Class: class, Label: label, Truth: truth})
	}
	for _, w := range slices.Backward(m.wrong) { // the most certain ones above the others
		f := p.Detections[w.Detection]
		add(f.X1, f.Y1, f.X2, f.Y2, f.Class, boxdraw.Label(s.set.Classes[f.Class], f.Score), false)
	}
	for _, j := range m.missed {
		t := p.Truths[j]
		add(t.X1, t.Y1, t.X2, t.Y2, t.Class, s.set.Classes[t.Class], true)
	}
	return boxdraw.Boxes(small, boxes), nil
}

// numbersOf names COCO's twelve as a page does.
func numbersOf(n evaluation.Numbers) (out []report.Number) {
	names := []string{
		"AP", "AP at IoU 0.5", "AP at IoU 0.75", "AP, small", "AP, medium", "AP, large",
		"AR, 1 detection", "AR, 10 detections", "AR, 100 detections", "AR, small", "AR, medium", "AR, large",
	}
	for _, v := range n.All() {
		out = append(out, report.Number{Name: names[len(out)], Value: defined(v)})
	}
	return out
}

// defined is NaN for the -1 of what is not defined.
func defined(v float64) float64 {
	if v < 0 {
		return math.NaN()
	}
	return v
}

func precisionOf(points []evaluation.Point) (precision []float64) {
	for _, p := range points {
		precision = append(precision, p.Precision)
	}
	return precision
}
