package evaluation

import (
	"cmp"
	"slices"
	"sort"
)

// COCO's settings (pycocotools' Params for boxes).
const (
	thresholds = 10  // of intersection over union: 0.5, 0.55, .. 0.95
	recalls    = 101 // at which precision is read: 0, 0.01, .. 1
	areas      = 4
	limits     = 3
)

var (
	// As numpy.linspace computes them: their last bits decide where a box is exactly on one.
	iouThresholds    = linspace[[thresholds]float64](0.5, 0.95)
	recallThresholds = linspace[[recalls]float64](0, 1)
	// Areas in square pixels: all, small, medium, large. Both ends belong to a range.
	areaRanges = [areas][2]float64{{0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}}
	// How many detections of a class count on a picture, those of the highest scores.
	maxDetections = [limits]int{1, 10, 100}
)

// spacing is the distance from 1 to the next float64.
const spacing = 0x1p-52

func linspace[A [thresholds]float64 | [recalls]float64](from, to float64) (values A) {
	step := (to - from) / float64(len(values)-1)
	for i := range len(values) {
		values[i] = float64(float64(i)*step) + from // two roundings, also where the CPU has one instruction for both
	}
	values[len(values)-1] = to
	return values
}

// tables are pycocotools' precision, scores and recall of one class; -1 where no truth counts.
type tables struct {
	precision, scores [areas][thresholds][recalls]float64 // of maxDetections[2]
	recall            [areas][limits][thresholds]float64
	positives         int // truths that count, of all areas
}

// outcome is what became of a detection in an area range: a bit for each threshold.
type outcome struct{ matched, ignored uint16 }

// ranked is a detection among all of its class.
type ranked struct {
	score    float64
	rank     int32 // on its picture
	outcomes [areas]outcome
}

// coco fills the tables of a class.
func (c *class) coco(t *tables) {
	var found []ranked
	var m matcher
	var positives [areas]int
	for _, p := range c.pictures {
		m.begin(c.truths[p.truthsFrom:p.truthsTo], c.detections[p.detectionsFrom:p.detectionsTo], maxDetections[limits-1])
		from := len(found)
		for i, d := range m.detections {
			found = append(found, ranked{score: d.Score, rank: int32(i)})
		}
		for a, bounds := range areaRanges {
			positives[a] += m.match(bounds)
			for i := range m.detections {
				found[from+i].outcomes[a] = m.outcomes[i]
			}
		}
	}
	slices.SortStableFunc(found, func(a, b ranked) int { return cmp.Compare(b.score, a.score) })
	t.positives = positives[0]
	var curve curve
	for a := range areaRanges {
		for k := range thresholds {
			for l, limit := range maxDetections {
				t.recall[a][l][k] = -1
				if positives[a] > 0 {
					curve.accumulate(found, a, k, limit, positives[a])
					t.recall[a][l][k] = curve.last()
				}
			}
			for i := range recalls {
				t.precision[a][k][i], t.scores[a][k][i] = -1, -1
			}
			if positives[a] > 0 {
				curve.read(&t.precision[a][k], &t.scores[a][k])
			}
		}
	}
}

// curve is precision over recall, a point for each detection.
type curve struct{ recall, precision, scores []float64 }

// accumulate makes the curve of the detections with a rank below limit.
func (c *curve) accumulate(found []ranked, area, threshold, limit, positives int) {
	c.recall, c.precision, c.scores = c.recall[:0], c.precision[:0], c.scores[:0]
	bit := uint16(1) << threshold
	right, wrong := 0., 0.
	for i := range found {
		f := &found[i]
		if int(f.rank) >= limit {
			continue
		}
		if o := f.outcomes[area]; o.ignored&bit == 0 {
			if o.matched&bit != 0 {
				right++
			} else {
				wrong++
			}
		}
		c.recall = append(c.recall, right/float64(positives))
		c.precision = append(c.precision, right/(wrong+right+spacing))
		c.scores = append(c.scores, f.score)
	}
}

func (c *curve) last() float64 {
	if len(c.recall) == 0 {
		return 0
	}
	return c.recall[len(c.recall)-1]
}

// read reads precision at the recall thresholds: the best one that is reached at this recall or a higher one; 0 where
// the recall is not reached.
func (c *curve) read(precision, scores *[recalls]float64) {
	for i := len(c.precision) - 1; i > 0; i-- {
		c.precision[i-1] = max(c.precision[i-1], c.precision[i])
	}
	for i, r := range recallThresholds {
		precision[i], scores[i] = 0, 0
		if at := sort.SearchFloat64s(c.recall, r); at < len(c.recall) {
			precision[i], scores[i] = c.precision[at], c.scores[at]
		}
	}
}
