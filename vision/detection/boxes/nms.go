package boxes

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
)

// Box is x1, y1, x2, y2.
type Box [4]float32

// FromFlat gives the boxes of 4 values each, as a tensor [n, 4] is read.
func FromFlat(values []float32) []Box {
	out := make([]Box, len(values)/4)
	for i := range out {
		out[i] = Box(values[4*i:])
	}
	return out
}

// NMS is non-maximum suppression: of boxes in descending order of their scores it keeps those whose IoU with each that was
// kept before is at most threshold, and gives their positions in that order. Of equal scores the lower position comes first;
// NaN is the highest score. IoU is computed in float32, and all is as torchvision.ops.nms has it on the CPU. It panics where
// there are not as many scores as boxes.
func NMS(boxes []Box, scores []float32, threshold float64) []int {
	if len(boxes) != len(scores) {
		panic(fmt.Sprintf("boxes: NMS of %d boxes with %d scores", len(boxes), len(scores)))
	}
	order := descending(scores)
	sorted := make([]entry, len(order))
	for i, at := range order {
		b := boxes[at]
		sorted[i] = entry{b[0], b[1], b[2], b[3], float32((b[2] - b[0]) * (b[3] - b[1])), int32(i)}
	}
	kept := suppress(sorted, threshold)
	out := make([]int, len(kept))
	for i, k := range kept {
		out[i] = int(order[k])
	}
	return out
}

// CoordinateTrickBoxes is up to how many boxes torchvision's batched_nms moves classes apart instead of looking at each
// (boxes.numel() <= 4000).
const CoordinateTrickBoxes = 1000

// BatchedNMS is NMS of each class by itself: the positions of what is kept in descending order of the scores. As
// torchvision.ops.batched_nms on the CPU, it takes one of two ways, whose results differ by the rounding of an IoU near the
// threshold at most: up to 1,000 boxes are moved apart by their class, more are split by it. Of equal scores the lower position
// comes first, which torchvision leaves open where it splits.
func BatchedNMS(boxes []Box, scores []float32, classes []int, threshold float64) []int {
	if len(boxes) != len(classes) {
		panic(fmt.Sprintf("boxes: NMS of %d boxes with %d classes", len(boxes), len(classes)))
	}
	if len(boxes) > CoordinateTrickBoxes {
		return nmsByClass(boxes, scores, classes, threshold)
	}
	if len(boxes) == 0 {
		return nil
	}
	largest := float32(math.Inf(-1))
	for _, b := range boxes {
		largest = max(largest, b[0], b[1], b[2], b[3])
	}
	apart := make([]Box, len(boxes))
	for i, b := range boxes {
		offset := float32(float32(classes[i]) * (largest + 1))
		apart[i] = Box{b[0] + offset, b[1] + offset, b[2] + offset, b[3] + offset}
	}
	return NMS(apart, scores, threshold)
}

func nmsByClass(boxes []Box, scores []float32, classes []int, threshold float64) []int {
	byClass := map[int][]int{}
	for i, c := range classes {
		byClass[c] = append(byClass[c], i)
	}
	var kept []int
	for _, members := range byClass {
		own, ownScores := make([]Box, len(members)), make([]float32, len(members))
		for i, at := range members {
			own[i], ownScores[i] = boxes[at], scores[at]
		}
		for _, i := range NMS(own, ownScores, threshold) {
			kept = append(kept, members[i])
		}
	}
	slices.Sort(kept)
	keptScores := make([]float32, len(kept))
	for i, at := range kept {
		keptScores[i] = scores[at]
	}
	out := make([]int, len(kept))
	for i, at := range descending(keptScores) {
		out[i] = kept[at]
	}
	return out
}

// descending orders positions by their scores, the highest first, of equal ones the lower position.
func descending(scores []float32) []uint32 {
	keys := make([]uint64, len(scores))
	for i, s := range scores {
		bits := math.Float32bits(s + 0) // -0 is 0
		switch {
		case s != s:
			bits = math.MaxUint32
		case bits>>31 != 0:
			bits = ^bits
		default:
			bits |= 1 << 31
		}
		keys[i] = uint64(^bits)<<32 | uint64(i)
	}
	slices.Sort(keys)
	order := make([]uint32, len(keys))
	for i, k := range keys {
		order[i] = uint32(k)
	}
	return order
}

// entry is a box, its area and its place in the order.
type entry struct {
	x1, y1, x2, y2, area float32
	place                int32
}

// suppresses reports whether b goes where a was kept, in the arithmetic of torchvision's kernel.
func (a *entry) suppresses(b *entry, threshold float64) bool {
	x1, y1, x2, y2 := a.x1, a.y1, a.x2, a.y2
	if x1 < b.x1 {
		x1 = b.x1
	}
	if y1 < b.y1 {
		y1 = b.y1
	}
	if b.x2 < x2 {
		x2 = b.x2
	}
	if b.y2 < y2 {
		y2 = b.y2
	}
	var w, h float32
	if 0 < x2-x1 {
		w = x2 - x1
	}
	if 0 < y2-y1 {
		h = y2 - y1
	}
	inter := float32(w * h)
	return float64(inter/(a.area+b.area-inter)) > threshold
}

// fewBoxes is up to how many every pair is looked at.
const fewBoxes = 200

// suppress gives the places of those that are kept of boxes in order.
func suppress(sorted []entry, threshold float64) (kept []int32) {
	if len(sorted) > fewBoxes && threshold >= 0 && threshold == threshold {
		if g := newGrid(sorted, threshold); g != nil {
			return g.suppress(sorted)
		}
	}
	gone := make([]bool, len(sorted))
	for i := range sorted {
		if gone[i] {
			continue
		}
		kept = append(kept, int32(i))
		for j := i + 1; j < len(sorted); j++ {
			if !gone[j] && sorted[i].suppresses(&sorted[j], threshold) {
				gone[j] = true
			}
		}
	}
	return kept
}

// grid finds the kept boxes that may suppress another without looking at all. Each lies in every cell that it covers. One
// whose IoU with a box is above a threshold t overlaps with more than t of its width and of its height, wherefore it covers
// a point of the box's core: what is t of width and height away from all edges, or the centre for a t above one half. So the
// cells of the core are all that need a look. A threshold below 0 has no such core.
type grid struct {
	cells         [][]entry
	columns, rows int
	left, top     float32
	perX, perY    float32 // cells a pixel
	inset         float32 // of the core, as a share of width and height
	threshold     float64
}

// newGrid is nil where coordinates are not finite.
func newGrid(boxes []entry, threshold float64) *grid {
	left, top, right, bottom := float32(math.Inf(1)), float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Inf(-1))
	var width, height float64
	for i := range boxes {
		b := &boxes[i]
		if sum := b.x1 + b.y1 + b.x2 + b.y2 + b.area; sum-sum != 0 { // an infinity, or NaN
			return nil
		}
		left, top = min(left, b.x1), min(top, b.y1)
		right, bottom = max(right, b.x2), max(bottom, b.y2)
		width, height = width+max(float64(b.x2-b.x1), 0), height+max(float64(b.y2-b.y1), 0)
	}
	g := &grid{left: left, top: top, threshold: threshold}
	// 1 % stands for what rounding can move an edge or an IoU by, and more.
	g.inset = float32(max(min(threshold, 0.5)-0.01, 0))
	n := float64(len(boxes))
	g.columns, g.perX = divide(right-left, width/n)
	g.rows, g.perY = divide(bottom-top, height/n)
	g.cells = make([][]entry, g.columns*g.rows)
	return g
}

// maxCells is the most of a grid in each direction.
const maxCells = 64

// divide makes cells of the average box's size.
func divide(extent float32, average float64) (cells int, perPixel float32) {
	if !(extent > 0) || !(average > 0) {
		return 1, 0
	}
	cells = int(min(max(float64(extent)/average, 1), maxCells))
	return cells, float32(cells) / extent
}

// cell is that of a coordinate. It is monotone, also where it rounds.
func cell(at, from, perPixel float32, cells int) int {
	return max(min(int((at-from)*perPixel), cells-1), 0)
}

// each calls f with the cells from one corner to the other until it is false.
func (g *grid) each(x1, y1, x2, y2 float32, f func(at int) bool) bool {
	c1, c2 := cell(x1, g.left, g.perX, g.columns), cell(x2, g.left, g.perX, g.columns)
	r1, r2 := cell(y1, g.top, g.perY, g.rows), cell(y2, g.top, g.perY, g.rows)
	for r := min(r1, r2); r <= max(r1, r2); r++ {
		for c := min(c1, c2); c <= max(c1, c2); c++ {
			if !f(r*g.columns + c) {
				return false
			}
		}
	}
	return true
}

// keep enters a box.
func (g *grid) keep(b *entry) {
	if b.x2 <= b.x1 || b.y2 <= b.y1 {
		return // overlaps with nothing
	}
	g.each(b.x1, b.y1, b.x2, b.y2, func(at int) bool {
		g.cells[at] = append(g.cells[at], *b)
		return true
	})
}

// survives reports whether no kept box from a place in the order on suppresses b.
func (g *grid) survives(b *entry, from int32) bool {
	w, h := g.inset*(b.x2-b.x1), g.inset*(b.y2-b.y1)
	return g.each(b.x1+w, b.y1+h, b.x2-w, b.y2-h, func(at int) bool {
		cell := g.cells[at]
		for i := len(cell) - 1; i >= 0 && cell[i].place >= from; i-- { // in the order in which they were kept
			if cell[i].suppresses(b, g.threshold) {
				return false
			}
		}
		return true
	})
}

// blockSize is how many boxes in order are compared with what is kept at a time, on all cores.
const blockSize = 1024

// suppress compares a block of boxes with all that was kept before on several goroutines, and then those of the block with
// one another in their order.
func (g *grid) suppress(sorted []entry) (kept []int32) {
	workers := runtime.GOMAXPROCS(0)
	gone := make([]bool, blockSize)
	for start := 0; start < len(sorted); start += blockSize {
		block := sorted[start:min(start+blockSize, len(sorted))]
		clear(gone)
		if start > 0 {
			share := (len(block) + workers - 1) / workers
			var busy sync.WaitGroup
			for from := 0; from < len(block); from += share {
				busy.Go(func() {
					for i := from; i < min(from+share, len(block)); i++ {
						gone[i] = !g.survives(&block[i], 0)
					}
				})
			}
			busy.Wait()
		}
		for i := range block {
			if !gone[i] && g.survives(&block[i], int32(start)) {
				kept = append(kept, int32(start+i))
				g.keep(&block[i])
			}
		}
	}
	return kept
}
