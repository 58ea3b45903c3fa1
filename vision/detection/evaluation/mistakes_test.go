package evaluation

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMistakesAreToldApart(t *testing.T) {
	at := func(class int, x, y, side, score float64) Detection {
		return Detection{class, x, y, x + side, y + side, score}
	}
	truth := func(class int, x, y, side float64) Truth {
		return Truth{Class: class, X1: x, Y1: y, X2: x + side, Y2: y + side, Area: side * side}
	}
	crowd, difficult := truth(0, 300, 0, 50), truth(0, 400, 0, 50)
	crowd.Crowd, difficult.Difficult = true, true
	p := Picture{
		Truths: []Truth{truth(0, 0, 0, 50), truth(1, 100, 0, 50), truth(0, 200, 0, 50), crowd, difficult, truth(1, 500, 0, 50)},
		Detections: []Detection{
			at(0, 2, 0, 50, 0.9),    // right
			at(0, 0, 3, 50, 0.8),    // the same again
			at(0, 100, 1, 50, 0.7),  // of class 1
			at(0, 220, 20, 50, 0.6), // IoU 0.22 with the third
			at(1, 230, 0, 50, 0.5),  // 0.25, of another class
			at(1, 600, 200, 50, 0.4),
			at(0, 310, 0, 20, 0.3), // in the crowd
			at(0, 401, 0, 50, 0.3), // the difficult one
			at(1, 500, 0, 50, 0.2), // right, and below its class's score
		},
	}
	missed, wrong := p.Mistakes(0.5, []float64{0.1, 0.3})
	assert.Equal(t, []int{1, 2, 5}, missed)
	assert.Equal(t, []Mistake{{1, Twice, 0}, {2, OtherClass, 1}, {3, Misplaced, 2}, {4, OtherAndNear, 2}, {5, Background, -1}}, wrong)

	missed, _ = p.Mistakes(0.5, []float64{0.1, 0.2})
	assert.Equal(t, []int{1, 2}, missed)
	missed, wrong = Picture{Detections: p.Detections[:1]}.Mistakes(0.5, []float64{0})
	assert.Empty(t, missed)
	assert.Equal(t, []Mistake{{0, Background, -1}}, wrong)
}

func TestThresholdIsWhereF1IsHighest(t *testing.T) {
	box := func(i int) (x1, y1, x2, y2 float64) { return float64(100 * i), 0, float64(100*i + 50), 50 }
	var p Picture
	for i := range 4 {
		x1, y1, x2, y2 := box(i)
		p.Truths = append(p.Truths, Truth{Class: 0, X1: x1, Y1: y1, X2: x2, Y2: y2, Area: 2500})
	}
	for _, f := range []struct {
		at    int
		score float64
	}{{0, 0.9}, {1, 0.8}, {8, 0.7}, {2, 0.6}, {9, 0.5}, {10, 0.4}, {11, 0.3}, {3, 0.2}} {
		x1, y1, x2, y2 := box(f.at)
		p.Detections = append(p.Detections, Detection{0, x1, y1, x2, y2, f.score})
	}
	got := Thresholds([]Picture{p}, 2, 0.5)
	// At 0.6 three of four are right and three of four are found; at 0.2 precision is 4/8, recall 1, F1 0.667.
	assert.Equal(t, []Threshold{{Score: 0.6, Precision: 0.75, Recall: 0.75, F1: 0.75}, {}}, got)

	for i := range p.Detections { // one score: all or nothing
		p.Detections[i].Score = 0.5
	}
	got = Thresholds([]Picture{p, {}}, 1, 0.5)
	assert.Equal(t, []Threshold{{Score: 0.5, Precision: 0.5, Recall: 1, F1: 2. / 3}}, got)

	for i := range p.Truths {
		p.Truths[i].Difficult = true
	}
	assert.Equal(t, []Threshold{{}}, Thresholds([]Picture{p}, 1, 0.5))
}
