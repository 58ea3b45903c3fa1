package evaluation

import (
	"fmt"
	"iter"
	"math"
)

// Numbers are COCO's twelve. Each is between 0 and 1, or -1 where there is no truth to find (as in pycocotools).
type Numbers struct {
	AP   float64 // average precision: the mean over IoU thresholds from 0.5 to 0.95
	AP50 float64 // at the threshold 0.5
	AP75 float64 // at 0.75

	APSmall, APMedium, APLarge float64 // AP of areas up to 32 x 32 pixels, up to 96 x 96, and from there on

	AR1, AR10, AR100           float64 // recall, mean over the thresholds, with so many detections of a class on a picture
	ARSmall, ARMedium, ARLarge float64 // AR100 of areas
}

// All gives the numbers in pycocotools' order, with short names: "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1",
// "AR10", "AR100", "ARs", "ARm", "ARl".
func (n Numbers) All() iter.Seq2[string, float64] {
	return func(yield func(string, float64) bool) {
		for _, v := range [...]struct {
			name  string
			value float64
		}{
			{"AP", n.AP}, {"AP50", n.AP50}, {"AP75", n.AP75}, {"APs", n.APSmall}, {"APm", n.APMedium}, {"APl", n.APLarge},
			{"AR1", n.AR1}, {"AR10", n.AR10}, {"AR100", n.AR100}, {"ARs", n.ARSmall}, {"ARm", n.ARMedium}, {"ARl", n.ARLarge},
		} {
			if !yield(v.name, v.value) {
				return
			}
		}
	}
}

// Result is what an evaluation comes to.
type Result struct {
	Numbers  // of all classes: the mean over those that have truths
	VOC      VOC
	Pictures int
	Classes  []ClassResult // in the order of New
}

// ClassResult is the result of one class.
type ClassResult struct {
	Name               string
	Truths, Detections int // all that were added
	Positives          int // truths that count: no crowds
	Numbers
	VOC VOC

	precision, scores [thresholds][recalls]float64
}

// Point is a point of a precision-recall curve.
type Point struct{ Recall, Precision, Score float64 }

// Curve is the class's precision at 101 values of recall from 0 to 1, at an IoU threshold of 0.5, 0.55, .. or 0.95,
// over all areas, and the score that a detection must have to come so far: 0 and 0 where the recall is not reached.
// It is empty where the class has no truths.
func (c *ClassResult) Curve(iou float64) ([]Point, error) {
	k, err := thresholdOf(iou)
	if err != nil || c.Positives == 0 {
		return nil, err
	}
	points := make([]Point, recalls)
	for i := range points {
		points[i] = Point{recallThresholds[i], c.precision[k][i], c.scores[k][i]}
	}
	return points, nil
}

// Curve is the mean of the curves of the classes that have truths. It has no scores.
func (r *Result) Curve(iou float64) ([]Point, error) {
	k, err := thresholdOf(iou)
	if err != nil {
		return nil, err
	}
	var points []Point
	for i := range recalls {
		var mean mean
		for c := range r.Classes {
			mean.add(r.Classes[c].precision[k][i])
		}
		if mean.n > 0 {
			points = append(points, Point{Recall: recallThresholds[i], Precision: mean.value()})
		}
	}
	return points, nil
}

func thresholdOf(iou float64) (int, error) {
	for k, t := range iouThresholds {
		if math.Abs(t-iou) < 1e-9 {
			return k, nil
		}
	}
	return 0, fmt.Errorf("evaluation: there is no curve at an IoU of %g: want 0.5, 0.55, .. 0.95", iou)
}

// mean is the mean of what is not -1.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(values ...float64) {
	for _, v := range values {
		if v > -1 {
			m.sum += v
			m.n++
		}
	}
}

func (m *mean) value() float64 {
	if m.n == 0 {
		return -1
	}
	return m.sum / float64(m.n)
}

// twelve are the means of which the numbers are made.
type twelve struct {
	precision [areas]mean
	at50      mean
	at75      mean
	recall    [limits]mean // of all areas
	ofAreas   [areas]mean  // recall with all detections
}

func (t *twelve) add(c *tables) {
	for a := range areas {
		for k := range thresholds {
			t.precision[a].add(c.precision[a][k][:]...)
		}
		t.ofAreas[a].add(c.recall[a][limits-1][:]...)
	}
	t.at50.add(c.precision[0][0][:]...)
	t.at75.add(c.precision[0][5][:]...)
	for l := range limits {
		t.recall[l].add(c.recall[0][l][:]...)
	}
}

func (t *twelve) numbers() Numbers {
	return Numbers{
		AP: t.precision[0].value(), AP50: t.at50.value(), AP75: t.at75.value(),
		APSmall: t.precision[1].value(), APMedium: t.precision[2].value(), APLarge: t.precision[3].value(),
		AR1: t.recall[0].value(), AR10: t.recall[1].value(), AR100: t.recall[2].value(),
		ARSmall: t.ofAreas[1].value(), ARMedium: t.ofAreas[2].value(), ARLarge: t.ofAreas[3].value(),
	}
}

func (t *tables) result(name string, c *class) ClassResult {
	var sums twelve
	sums.add(t)
	return ClassResult{Name: name, Truths: len(c.truths), Detections: len(c.detections), Positives: t.positives,
		Numbers: sums.numbers(), VOC: c.voc(), precision: t.precision[0], scores: t.scores[0]}
}

// together sets the numbers of all classes.
func (r *Result) together(all []tables) {
	var sums twelve
	var area, eleven mean
	for i := range all {
		sums.add(&all[i])
		area.add(r.Classes[i].VOC.AP)
		eleven.add(r.Classes[i].VOC.AP07)
	}
	r.Numbers = sums.numbers()
	r.VOC = VOC{area.value(), eleven.value()}
}
