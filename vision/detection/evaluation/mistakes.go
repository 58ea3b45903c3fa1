package evaluation

import (
	"cmp"
	"slices"
)

// Picture is what is on a picture, and what was found there.
type Picture struct {
	Truths     []Truth
	Detections []Detection
}

// Threshold is a score from which on detections of a class are worth to be shown: the one at which F1, the harmonic
// mean of precision and recall, is highest. The zero value is that of a class of which nothing is found.
type Threshold struct{ Score, Precision, Recall, F1 float64 }

// Thresholds finds the threshold of each of so many classes. A detection is right where Match says so at an IoU of iou or
// more; those that find a crowd or a difficult truth count neither way. A class without truths, or of which no truth is
// found, has the zero value.
func Thresholds(pictures []Picture, classes int, iou float64) []Threshold {
	type judged struct {
		score float64
		right bool
	}
	found := make([][]judged, classes)
	truths := make([]int, classes)
	for _, p := range pictures {
		for _, t := range p.Truths {
			if !t.Crowd && !t.Difficult {
				truths[t.Class]++
			}
		}
		for i, j := range Match(p.Truths, p.Detections, iou) {
			if d := p.Detections[i]; j < 0 {
				found[d.Class] = append(found[d.Class], judged{d.Score, false})
			} else if t := p.Truths[j]; !t.Crowd && !t.Difficult {
				found[d.Class] = append(found[d.Class], judged{d.Score, true})
			}
		}
	}
	out := make([]Threshold, classes)
	for c, list := range found {
		slices.SortStableFunc(list, func(a, b judged) int { return cmp.Compare(b.score, a.score) })
		right := 0
		for i, f := range list {
			if f.right {
				right++
			}
			if right == 0 || truths[c] == 0 || i+1 < len(list) && list[i+1].score == f.score {
				continue
			}
			t := Threshold{Score: f.score, Precision: float64(right) / float64(i+1), Recall: float64(right) / float64(truths[c])}
			if t.F1 = 2 * float64(right) / float64(i+1+truths[c]); t.F1 > out[c].F1 {
				out[c] = t
			}
		}
	}
	return out
}

// Fault says what is wrong with a detection, as TIDE tells them apart (Bolya et al. 2020, https://arxiv.org/abs/2008.08115).
type Fault string

// The faults. A detection is at a truth where their IoU is Mistakes' iou or more, and near one from 0.1 on.
const (
	Background   Fault = "background" // it is near nothing
	OtherClass   Fault = "class"      // it is at a truth of another class
	Misplaced    Fault = "location"   // it is near a truth of its class, and not at it
	OtherAndNear Fault = "both"       // it is near a truth of another class, and not at it
	Twice        Fault = "duplicate"  // it is at a truth that a detection with a higher score has found
	near               = 0.1
)

// Faults lists them.
func Faults() []Fault { return []Fault{OtherClass, Misplaced, OtherAndNear, Twice, Background} }

// Mistake is a detection that is wrong.
type Mistake struct {
	Detection int // position in Picture.Detections
	Fault     Fault
	Truth     int // what it is at or near, a position in Picture.Truths; -1 for the background
}

// Mistakes are the truths that are not found on a picture at an IoU of iou, by their positions, and the detections that
// are wrong, by score. Detections below their class's score in from are not looked at; crowds and difficult truths are
// not missed.
func (p Picture) Mistakes(iou float64, from []float64) (missed []int, wrong []Mistake) {
	found := make([]bool, len(p.Truths))
	for i, j := range Match(p.Truths, p.Detections, iou) {
		d := &p.Detections[i]
		switch {
		case d.Score < from[d.Class]:
		case j >= 0:
			found[j] = true
		default:
			wrong = append(wrong, p.fault(i, iou))
		}
	}
	for j, t := range p.Truths {
		if !found[j] && !t.Crowd && !t.Difficult {
			missed = append(missed, j)
		}
	}
	slices.SortStableFunc(wrong, func(a, b Mistake) int {
		return cmp.Compare(p.Detections[b.Detection].Score, p.Detections[a.Detection].Score)
	})
	return missed, wrong
}

// fault says why detection i finds nothing.
func (p Picture) fault(i int, iou float64) Mistake {
	d := &p.Detections[i]
	most, at := [2]float64{}, [2]int{-1, -1} // of the detection's class, and of others
	for j := range p.Truths {
		of := 1
		if p.Truths[j].Class == d.Class {
			of = 0
		}
		if o := overlap(d, &p.Truths[j]); o > most[of] {
			most[of], at[of] = o, j
		}
	}
	switch {
	case most[0] >= iou:
		return Mistake{i, Twice, at[0]}
	case most[1] >= iou:
		return Mistake{i, OtherClass, at[1]}
	case most[0] >= near:
		return Mistake{i, Misplaced, at[0]}
	case most[1] >= near:
		return Mistake{i, OtherAndNear, at[1]}
	}
	return Mistake{i, Background, -1}
}
