package evaluation

import (
	"cmp"
	"slices"
)

// VOC is Pascal VOC's average precision at an IoU of 0.5, as its development kit computes it: a detection takes the
// truth with the most overlap, and is wrong where an earlier one has taken that; one on a difficult truth is neither
// right nor wrong. There is no limit on the detections of a picture. -1 where there is no truth to find.
type VOC struct {
	AP   float64 // the area under the curve, from VOC 2010 on
	AP07 float64 // the mean at the recalls 0, 0.1, .. 1, until VOC 2009
}

// voc scores a class, of which pictures are sorted.
func (c *class) voc() VOC {
	positives := 0
	for i := range c.truths {
		if !c.truths[i].Difficult && !c.truths[i].Crowd {
			positives++
		}
	}
	if positives == 0 {
		return VOC{-1, -1}
	}
	type found struct {
		detection int32
		picture   *pictureOf
	}
	var all []found
	for i := range c.pictures {
		p := &c.pictures[i]
		for d := p.detectionsFrom; d < p.detectionsTo; d++ {
			all = append(all, found{d, p})
		}
	}
	slices.SortStableFunc(all, func(a, b found) int {
		return cmp.Compare(c.detections[b.detection].Score, c.detections[a.detection].Score)
	})
	taken := make([]bool, len(c.truths))
	right, wrong := 0, 0
	var hits []int // how many were right after each detection that counts
	var precision []float64
	for _, f := range all {
		best, at := 0., int32(-1)
		for t := f.picture.truthsFrom; t < f.picture.truthsTo; t++ {
			truth := c.truths[t]
			truth.Crowd = false // over the union
			if o := overlap(&c.detections[f.detection], &truth); o > best {
				best, at = o, t
			}
		}
		switch {
		case best < 0.5:
			wrong++
		case c.truths[at].Difficult || c.truths[at].Crowd:
			continue
		case taken[at]:
			wrong++
		default:
			taken[at] = true
			right++
		}
		hits = append(hits, right)
		precision = append(precision, float64(right)/float64(right+wrong))
	}
	for i := len(precision) - 1; i > 0; i-- {
		precision[i-1] = max(precision[i-1], precision[i])
	}
	var v VOC
	before := 0
	for i, n := range hits {
		v.AP += float64(n-before) / float64(positives) * precision[i]
		before = n
	}
	for tenth := range 11 {
		if i, reached := slices.BinarySearchFunc(hits, tenth, func(n, tenth int) int {
			if 10*n >= tenth*positives {
				return 1
			}
			return -1
		}); reached || i < len(hits) {
			v.AP07 += precision[i] / 11
		}
	}
	return v
}
