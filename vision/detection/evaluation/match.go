package evaluation

import (
	"cmp"
	"slices"
)

// matcher matches detections with truths of one class on one picture, as pycocotools' evaluateImg does.
type matcher struct {
	truths     []Truth
	detections []Detection // by score, the highest first
	order      []int32     // of the detections, as they were given
	ious       []float64   // of a detection with each truth, in rows
	outcomes   []outcome

	// Of the truths in the order in which they are tried: those that count first.
	tried    []int32
	counting int      // how many of them count
	taken    []uint16 // a bit for each threshold
}

// begin takes a picture, and of its detections so many with the highest scores.
func (m *matcher) begin(truths []Truth, detections []Detection, limit int) {
	m.truths = truths
	m.order = m.order[:0]
	for i := range detections {
		m.order = append(m.order, int32(i))
	}
	slices.SortStableFunc(m.order, func(a, b int32) int { return cmp.Compare(detections[b].Score, detections[a].Score) })
	m.order = m.order[:min(limit, len(m.order))]
	m.detections, m.ious = m.detections[:0], m.ious[:0]
	for _, i := range m.order {
		d := &detections[i]
		m.detections = append(m.detections, *d)
		for j := range truths {
			m.ious = append(m.ious, overlap(d, &truths[j]))
		}
	}
}

// overlap is the intersection over the union; with a crowd, over the detection's area. Edges are taken as x + width, as
// pycocotools has them.
func overlap(d *Detection, t *Truth) float64 {
	dw, dh, tw, th := d.X2-d.X1, d.Y2-d.Y1, t.X2-t.X1, t.Y2-t.Y1
	w := min(d.X1+dw, t.X1+tw) - max(d.X1, t.X1)
	h := min(d.Y1+dh, t.Y1+th) - max(d.Y1, t.Y1)
	if w <= 0 || h <= 0 {
		return 0
	}
	inner, union := float64(w*h), float64(dw*dh)
	if !t.Crowd {
		union = union + float64(tw*th) - inner
	}
	return inner / union
}

func outside(area float64, bounds [2]float64) bool { return area < bounds[0] || area > bounds[1] }

// match sets the outcomes for an area range and returns how many truths count in it.
func (m *matcher) match(bounds [2]float64) (positives int) {
	m.tried = m.tried[:0]
	for _, ignored := range [...]bool{false, true} {
		for j := range m.truths {
			if t := &m.truths[j]; (t.Crowd || outside(t.Area, bounds)) == ignored {
				m.tried = append(m.tried, int32(j))
			}
		}
		if !ignored {
			m.counting = len(m.tried)
		}
	}
	m.taken = slices.Grow(m.taken[:0], len(m.truths))[:len(m.truths)]
	clear(m.taken)
	m.outcomes = m.outcomes[:0]
	for i := range m.detections {
		d := &m.detections[i]
		var o outcome
		for k, threshold := range iouThresholds {
			bit := uint16(1) << k
			switch at := m.best(i, threshold, bit); {
			case at < 0:
			case at < m.counting:
				o.matched |= bit
				m.taken[at] |= bit
			default:
				o.matched |= bit
				o.ignored |= bit
				m.taken[at] |= bit
			}
		}
		if outside((d.X2-d.X1)*(d.Y2-d.Y1), bounds) {
			o.ignored |= ^o.matched
		}
		m.outcomes = append(m.outcomes, o)
	}
	return m.counting
}

// best is the truth, as a position in tried, that detection i takes at a threshold: the one with the most overlap, of
// equal ones the last, and one that does not count only where no other will do. -1: there is none.
func (m *matcher) best(i int, threshold float64, bit uint16) int {
	row := m.ious[i*len(m.truths):]
	most := min(threshold, 1-1e-10)
	found := -1
	for at, j := range m.tried {
		if m.taken[at]&bit != 0 && !m.truths[j].Crowd {
			continue
		}
		if found >= 0 && found < m.counting && at >= m.counting {
			break
		}
		if row[j] >= most {
			most, found = row[j], at
		}
	}
	return found
}

// Match says which truth each detection of a picture finds at an IoU of iou or more, as a position in truths, or -1. A
// truth is found once, by the detection with the highest score, a crowd any number of times, and no truth of another
// class. COCO's rules, without a limit on detections: for showing what was missed.
func Match(truths []Truth, detections []Detection, iou float64) []int {
	order := make([]int, len(detections))
	found := make([]int, len(detections))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(detections[b].Score, detections[a].Score) })
	taken := make([]bool, len(truths))
	for _, i := range order {
		found[i] = -1
		most := iou
		for _, crowd := range [...]bool{false, true} {
			for j := range truths {
				t := &truths[j]
				if t.Class != detections[i].Class || t.Crowd != crowd || taken[j] && !crowd {
					continue
				}
				if o := overlap(&detections[i], t); o >= most {
					most, found[i] = o, j
				}
			}
			if found[i] >= 0 {
				break
			}
		}
		if found[i] >= 0 {
			taken[found[i]] = true
		}
	}
	return found
}
