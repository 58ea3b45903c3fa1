package detection

import (
	"math"

	"github.com/thaw-ml/thaw/onnx"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

// candidateValues are candidates of one picture in a graph.
type candidateValues struct {
	boxes  onnx.Value // float32 [n, 4], in pixels of the resized picture
	scores onnx.Value // float32 [n]
	labels onnx.Value // int64 [n]
}

// flat lays out a map [1, A k, H, W] anchor by anchor: [H W A, k].
func (g graph) flat(m onnx.Value, key string, k int) onnx.Value {
	m = g.Op("Transpose", key+"/Transpose", []onnx.Value{m}, onnx.Attribute{Name: "perm", Value: []int{0, 2, 3, 1}})
	return g.op("Reshape", key, m, g.ints(-1, k))
}

// best gives the highest of scores [n], most of them at most, in falling order, and where they are.
func (g graph) best(scores onnx.Value, key string, most int) (top, at onnx.Value) {
	count := g.op("Min", key, g.op("Shape", key, scores), g.ints(most))
	out := g.OpOf("TopK", key+"/TopK", 2, []onnx.Value{scores, count}, onnx.Attribute{Name: "axis", Value: 0})
	return out[0], out[1]
}

// split takes numbers [n] of cells of a table apart into rows and columns. columns is an int64 without dimensions, or
// [1].
func (g graph) split(at, columns onnx.Value, key string) (row, column onnx.Value) {
	return g.op("Div", key, at, columns), g.op("Mod", key, at, columns)
}

// anchorValues are chosen anchors [n, 2], float32, x and y.
type anchorValues struct{ centers, sizes onnx.Value }

// anchorsOf gives the anchors of numbers at [n] of a level, as Anchors.levels counts them. x is the level's map.
func (g graph) anchorsOf(a Anchors, level int, at, x onnx.Value, p onnxPicture, key string) anchorValues {
	shape := g.part(g.op("Shape", key, x), key, 0, 2, 4)
	steps := g.op("Div", key, p.sides, shape) // of rows and columns
	place, cell := g.split(at, g.Int("anchors", a.perPlace()), key)
	row, column := g.split(place, g.part(shape, key, 0, 1, 2), key)
	y := g.op("Mul", key, row, g.part(steps, key, 0, 0, 1))
	xs := g.op("Mul", key, column, g.part(steps, key, 0, 1, 2))
	second := g.ints(1)
	centers := g.concat(key, 1, g.op("Unsqueeze", key, xs, second), g.op("Unsqueeze", key, y, second))
	var sizes []float32
	for _, half := range a.cells(level) {
		sizes = append(sizes, float32(2*half[0]), float32(2*half[1]))
	}
	table := g.Floats("cells", []int{a.perPlace(), 2}, sizes...)
	return anchorValues{g.cast(centers, key, onnx.Float), g.gather(table, cell, key, 0)}
}

// decodeLinear is boxes.LinearCoder's Decode of codes [n, 4].
func (g graph) decodeLinear(codes onnx.Value, a anchorValues, key string) onnx.Value {
	move := func(from, to int) onnx.Value { return g.op("Mul", key, g.part(codes, key, 1, from, to), a.sizes) }
	return g.concat(key, 1, g.op("Sub", key, a.centers, move(0, 2)), g.op("Add", key, a.centers, move(2, 4)))
}

// decode is Decode of c, of codes [n, 4].
func (g graph) decode(c boxes.Coder, codes onnx.Value, a anchorValues, key string) onnx.Value {
	weighed := func(from, to int) onnx.Value {
		w := g.Floats("coder", []int{2}, float32(c.Weights[from]), float32(c.Weights[from+1]))
		return g.op("Div", key, g.part(codes, key, 1, from, to), w)
	}
	center := g.op("Add", key, g.op("Mul", key, weighed(0, 2), a.sizes), a.centers)
	ratio := g.op("Exp", key, g.op("Min", key, weighed(2, 4), g.Scalar("max_log_ratio", float32(boxes.MaxLogRatio))))
	half := g.op("Mul", key, g.op("Mul", key, ratio, a.sizes), g.Scalar("half", 0.5))
	return g.concat(key, 1, g.op("Sub", key, center, half), g.op("Add", key, center, half))
}

// where gives the positions [m] of what is true in a mask [n].
func (g graph) where(mask onnx.Value, key string) onnx.Value {
	return g.op("Reshape", key, g.op("NonZero", key, mask), g.ints(-1))
}

// above is where scores [n] are above a limit.
func (g graph) above(scores onnx.Value, key string, limit float64) onnx.Value {
	return g.where(g.op("Greater", key, scores, g.Scalar("min_score", float32(limit))), key)
}

// chosen are the candidates at positions.
func (g graph) chosen(c candidateValues, at onnx.Value, key string) candidateValues {
	return candidateValues{g.gather(c.boxes, at, key, 0), g.gather(c.scores, at, key, 0), g.gather(c.labels, at, key, 0)}
}

// together puts the candidates of all levels behind one another.
func (g graph) together(levels []candidateValues, key string) candidateValues {
	var b, s, l []onnx.Value
	for _, c := range levels {
		b, s, l = append(b, c.boxes), append(s, c.scores), append(l, c.labels)
	}
	return candidateValues{g.concat(key, 0, b...), g.concat(key, 0, s...), g.concat(key, 0, l...)}
}

// sides are widths and heights of boxes [n, 4]: [n, 2].
func (g graph) sides(b onnx.Value, key string) onnx.Value {
	return g.op("Sub", key, g.part(b, key, 1, 2, 4), g.part(b, key, 1, 0, 2))
}

// within moves boxes into the picture. Those with a side below minSide go.
func (g graph) within(c candidateValues, p onnxPicture, key string, minSide float32) candidateValues {
	c.boxes = g.op("Min", key, g.op("Max", key, c.boxes, g.Scalar("zero", 0)), p.limit)
	if minSide <= 0 {
		return c
	}
	least := g.Op("ReduceMin", key+"/ReduceMin", []onnx.Value{g.sides(c.boxes, key)},
		onnx.Attribute{Name: "axes", Value: []int{1}}, onnx.Attribute{Name: "keepdims", Value: 0})
	return g.chosen(c, g.where(g.op("GreaterOrEqual", key, least, g.Scalar("min_side", minSide)), key), key)
}

// nms gives the positions of the candidates that are left after NMS of each label by itself, labels being below so
// many: l.PerPicture at most, the best first. Like boxes.BatchedNMS, and torchvision, it moves up to
// boxes.CoordinateTrickBoxes candidates apart by their labels, which rounds their coordinates.
func (g graph) nms(l Limits, c candidateValues, key string, labels int) onnx.Value {
	first, second := g.ints(0), g.ints(1)
	edges := g.op("Reshape", key, c.boxes, g.ints(-1))
	largest := g.op("ReduceMax", key, g.concat(key, 0, edges, g.Floats("zero", []int{1}, 0))) // also of none
	few := g.op("LessOrEqual", key, g.op("Shape", key, c.scores), g.ints(boxes.CoordinateTrickBoxes))
	apart := g.op("Where", key, few, g.op("Add", key, largest, g.Scalar("one", 1)), g.Scalar("zero", 0))
	offsets := g.op("Mul", key, g.cast(c.labels, key, onnx.Float), apart)
	moved := g.op("Add", key, c.boxes, g.op("Unsqueeze", key, offsets, second))

	numbers := make([]int, labels)
	for i := range numbers {
		numbers[i] = i
	}
	all := g.op("Unsqueeze", key, g.Ints("label_numbers", numbers...), second)
	isOf := g.op("Equal", key, g.op("Unsqueeze", key, c.labels, first), all)
	const nothing = -1
	each := g.op("Where", key, isOf, g.op("Unsqueeze", key, c.scores, first), g.Scalar("nothing", nothing)) // [labels, n]
	selected := g.op("NonMaxSuppression", key, g.op("Unsqueeze", key, moved, first), g.op("Unsqueeze", key, each, first),
		g.ints(l.PerPicture), g.Floats("nms", []int{1}, below(l.NMS)), g.Floats("nothing", []int{1}, nothing/2.))
	at := g.op("Reshape", key, g.part(selected, key, 1, 2, 3), g.ints(-1)) // of [m, 3]: picture, label, number

	// Of equal scores the first candidate comes first, so they are sorted twice.
	sorted := g.OpOf("TopK", key+"/TopK", 2, []onnx.Value{at, g.op("Shape", key, at)},
		onnx.Attribute{Name: "axis", Value: 0}, onnx.Attribute{Name: "largest", Value: 0})[0]
	_, order := g.best(g.gather(c.scores, sorted, key, 0), key, l.PerPicture)
	return g.gather(sorted, order, key, 0)
}

// below is the largest float32 that is not above x: a float32 is above x just if it is above that.
func below(x float64) float32 {
	y := float32(x)
	if float64(y) > x {
		y = math.Nextafter32(y, float32(math.Inf(-1)))
	}
	return y
}
