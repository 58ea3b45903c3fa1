package detection

import (
	"math"
	"strconv"

	"github.com/thaw-ml/thaw/onnx"
)

// addTo adds what Stages and Detections compute.
func (f *FCOS) addTo(g graph, p onnxPicture) candidateValues {
	c, r := f.Head.Classification, f.Head.Regression
	const ofClasses, ofBoxes = "head.classification_head.", "head.regression_head."
	var levels []candidateValues
	for i, x := range g.backbone(f.Backbone, p.canvas) {
		key := "level" + strconv.Itoa(i)
		logits := g.Conv2d(g.sequential(x, ofClasses+"conv", c.Conv), ofClasses+"cls_logits", c.ClsLogits)
		t := g.sequential(x, ofBoxes+"conv", r.Conv)
		codes := g.op("Relu", ofBoxes+"bbox_reg", g.Conv2d(t, ofBoxes+"bbox_reg", r.BBoxReg))
		centerness := g.Conv2d(t, ofBoxes+"bbox_ctrness", r.BBoxCtrness)

		sigmoid := func(m onnx.Value, k int) onnx.Value { return g.op("Sigmoid", key, g.flat(m, key, k)) }
		scores := g.op("Mul", key, sigmoid(logits, f.Classes()), sigmoid(centerness, 1))
		level := g.level(g.op("Sqrt", key, scores), key, f.Classes(), f.Limits)
		a := g.anchorsOf(fcosAnchors, i, level.anchor, x, p, key)
		level.boxes = g.decodeLinear(g.gather(g.flat(codes, key, 4), level.anchor, key, 0), a, key)
		levels = append(levels, level.candidateValues)
	}
	return g.foundIn(levels, p, f.Limits, f.Classes())
}

// addTo adds what Stages and Detections compute.
func (r *RetinaNet) addTo(g graph, p onnxPicture) candidateValues {
	c, b := r.Head.Classification, r.Head.Regression
	const ofClasses, ofBoxes = "head.classification_head.", "head.regression_head."
	var levels []candidateValues
	for i, x := range g.backbone(r.Backbone, p.canvas) {
		key := "level" + strconv.Itoa(i)
		logits := g.Conv2d(g.sequential(x, ofClasses+"conv", c.Conv), ofClasses+"cls_logits", c.ClsLogits)
		codes := g.Conv2d(g.sequential(x, ofBoxes+"conv", b.Conv), ofBoxes+"bbox_reg", b.BBoxReg)

		level := g.level(g.op("Sigmoid", key, g.flat(logits, key, r.Classes())), key, r.Classes(), r.Limits)
		a := g.anchorsOf(retinaAnchors, i, level.anchor, x, p, key)
		level.boxes = g.decode(retinaCoder, g.gather(g.flat(codes, key, 4), level.anchor, key, 0), a, key)
		levels = append(levels, level.candidateValues)
	}
	return g.foundIn(levels, p, r.Limits, r.Classes())
}

// levelValues are candidates of a level whose boxes are still to be decoded.
type levelValues struct {
	candidateValues
	anchor onnx.Value // int64 [n]
}

// level takes the best of scores [anchors, classes].
func (g graph) level(scores onnx.Value, key string, classes int, l Limits) levelValues {
	top, at := g.best(g.op("Reshape", key, scores, g.ints(-1)), key, l.Candidates)
	anchor, label := g.split(at, g.Int("classes", classes), key)
	return levelValues{candidateValues{scores: top, labels: label}, anchor}
}

// foundIn are the detections among the candidates of all levels.
func (g graph) foundIn(levels []candidateValues, p onnxPicture, l Limits, classes int) candidateValues {
	const key = "detections"
	c := g.together(levels, key)
	c = g.chosen(c, g.above(c.scores, key, l.MinScore), key)
	c = g.within(c, p, key, 0)
	return g.chosen(c, g.nms(l, c, key, classes), key)
}

// addTo adds what Stages and Detections compute.
func (f *FasterRCNN) addTo(g graph, p onnxPicture) candidateValues {
	const key, head = "detections", "roi_heads."
	levels := g.backbone(f.Backbone, p.canvas)
	proposals := g.proposals(f.Head, levels, p)
	features, back := g.pool(levels[:roiLevels], proposals)
	switch h := f.Head.RoIHeads.BoxHead.(type) {
	case *TwoMLPHead:
		features = g.op("Flatten", head+"box_head", features)
		for _, layer := range []string{"fc6", "fc7"} {
			features = g.op("Relu", head+"box_head."+layer, g.Linear(features, head+"box_head."+layer))
		}
	case Sequential:
		features = g.sequential(features, head+"box_head", h)
	}
	features = g.gather(features, back, head+"box_head", 0)

	// Of [P, classes] without the background, the scores that are above the limit.
	classes := f.Classes()
	scores := g.Op("Softmax", key+"/Softmax", []onnx.Value{g.Linear(features, head+"box_predictor.cls_score")},
		onnx.Attribute{Name: "axis", Value: -1})
	flat := g.op("Reshape", key, g.part(scores, key, 1, 1, classes), g.ints(-1))
	at := g.above(flat, key, f.Limits.MinScore)
	region, class := g.split(at, g.Int("classes", classes-1), key)
	label := g.op("Add", key, class, g.Int("first_label", f.FirstLabel()))
	codes := g.op("Reshape", key, g.Linear(features, head+"box_predictor.bbox_pred"), g.ints(-1, 4)) // [P classes, 4]
	row := g.op("Add", key, g.op("Mul", key, region, g.Int("codes", classes)), label)
	from := g.centered(g.gather(proposals, region, key, 0), key)
	c := candidateValues{g.decode(roiCoder, g.gather(codes, row, key, 0), from, key), g.gather(flat, at, key, 0), label}
	c = g.within(c, p, key, roiMinSide)
	return g.chosen(c, g.nms(f.Limits, c, key, classes), key)
}

// proposals [P, 4] are the best anchors of each level, after NMS, see FasterRCNNHead.propose.
func (g graph) proposals(h *FasterRCNNHead, levels []onnx.Value, p onnxPicture) onnx.Value {
	const head = "rpn.head."
	var all []candidateValues
	for i, x := range levels {
		key := "rpn.level" + strconv.Itoa(i)
		t := g.sequential(x, head+"conv", h.RPN.Head.Conv)
		logits := g.flat(g.Conv2d(t, head+"cls_logits", h.RPN.Head.ClsLogits), key, 1)
		codes := g.flat(g.Conv2d(t, head+"bbox_pred", h.RPN.Head.BBoxPred), key, 4)
		top, at := g.best(g.op("Reshape", key, logits, g.ints(-1)), key, h.Sampling.BeforeNMS)
		all = append(all, candidateValues{
			boxes:  g.decode(rpnCoder, g.gather(codes, at, key, 0), g.anchorsOf(rpnAnchors, i, at, x, p, key), key),
			scores: g.op("Sigmoid", key, top),
			labels: g.op("Expand", key, g.ints(i), g.op("Shape", key, at)),
		})
	}
	const key = "rpn"
	limits := Limits{NMS: rpnNMS, PerPicture: h.Sampling.AfterNMS}
	c := g.within(g.together(all, key), p, key, rpnMinSide)
	return g.gather(c.boxes, g.nms(limits, c, key, len(levels)), key, 0)
}

// centered gives centres and sizes of boxes [n, 4].
func (g graph) centered(b onnx.Value, key string) anchorValues {
	sizes := g.sides(b, key)
	half := g.op("Mul", key, sizes, g.Scalar("half", 0.5))
	return anchorValues{g.op("Add", key, g.part(b, key, 1, 0, 2), half), sizes}
}

// pool reads proposals [P, 4] from the levels that fit their sizes: [P, 256, 7, 7], level by level, and where the first
// proposal and so on came to be, [P].
func (g graph) pool(levels []onnx.Value, proposals onnx.Value) (features, back onnx.Value) {
	const key = "roi_heads.box_roi_pool"
	sizes := g.sides(proposals, key)
	area := g.op("Mul", key, g.part(sizes, key, 1, 0, 1), g.part(sizes, key, 1, 1, 2))
	// As boxes.Levels, with the logarithm to base 2 by the natural one.
	log := g.op("Log", key, g.op("Div", key, g.op("Sqrt", key, area), g.Scalar("canonical", 224)))
	k := g.op("Add", key, g.op("Div", key, log, g.Scalar("ln2", math.Ln2)), g.Scalar("four", 4))
	k = g.op("Floor", key, g.op("Add", key, k, g.Scalar("epsilon", 1e-6)))
	last := firstRoILevel + len(levels) - 1
	k = g.op("Max", key, g.op("Min", key, k, g.Scalar("last", float32(last))), g.Scalar("first", firstRoILevel))
	level := g.op("Reshape", key, g.cast(k, key, onnx.Int64), g.ints(-1))
	var parts, places []onnx.Value
	for i, x := range levels {
		at := g.where(g.op("Equal", key, level, g.Int("level", firstRoILevel+i)), key)
		picture := g.op("Sub", key, at, at) // there is one
		in := []onnx.Value{x, g.gather(proposals, at, key, 0), picture}
		parts = append(parts, g.Op("RoiAlign", key+"/RoiAlign", in,
			onnx.Attribute{Name: "coordinate_transformation_mode", Value: "output_half_pixel"},
			onnx.Attribute{Name: "output_height", Value: roiAlign.Height},
			onnx.Attribute{Name: "output_width", Value: roiAlign.Width},
			onnx.Attribute{Name: "sampling_ratio", Value: roiAlign.Sampling},
			onnx.Attribute{Name: "spatial_scale", Value: 1 / float32(int(1)<<(firstRoILevel+i))}))
		places = append(places, at)
	}
	order := g.concat(key, 0, places...)
	back = g.OpOf("TopK", key+"/TopK", 2, []onnx.Value{order, g.op("Shape", key, order)},
		onnx.Attribute{Name: "axis", Value: 0}, onnx.Attribute{Name: "largest", Value: 0})[1]
	return g.concat(key, 0, parts...), back
}

var (
	_ graphed = (*FCOS)(nil)
	_ graphed = (*RetinaNet)(nil)
	_ graphed = (*FasterRCNN)(nil)
)
