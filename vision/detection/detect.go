package detection

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

// Detection is an object that was found.
type Detection struct {
	Box   // in pixels of the stored picture
	Score float32
}

// Limits say which of a network's boxes become detections.
type Limits struct {
	MinScore   float64 `json:"min_score"`   // scores must be above
	NMS        float64 `json:"nms"`         // the largest IoU of two detections of one class
	Candidates int     `json:"candidates"`  // of each level, the best, before NMS
	PerPicture int     `json:"per_picture"` // of detections, the best
}

// LimitsOf are those of a network of New or Load, to be read and changed.
func LimitsOf(n Network) *Limits {
	switch n := n.(type) {
	case *FCOS:
		return &n.Limits
	case *RetinaNet:
		return &n.Limits
	}
	return &n.(*FasterRCNN).Limits
}

// candidates are boxes before NMS, on the device: of each picture as many.
type candidates struct {
	boxes  torch.Tensor // [N, k, 4], in pixels of the resized picture
	scores torch.Tensor // [N, k]
	labels torch.Tensor // [N, k] int64
}

// best takes the anchors with the highest scores of a level. scores are [N, places, classes]; decode maps regressed numbers
// [N, k, 4] of chosen anchors [N, k, 4] to boxes.
func best(scores, regression, anchors torch.Tensor, most int, decode func(codes, anchors torch.Tensor) torch.Tensor) candidates {
	classes := scores.Size(2)
	scores = scores.Flatten(1, 2)
	top, at := scores.Topk(min(most, scores.Size(1)), 1, true, true)
	anchor := at.DivScalarRounded(classes, "floor")
	n, k := top.Size(0), top.Size(1)
	codes := regression.Gather(1, anchor.Unsqueeze(-1).Expand(n, k, 4))
	chosen := anchors.IndexSelect(0, anchor.Flatten(0, -1)).View(n, k, 4)
	return candidates{decode(codes, chosen), top, at.RemainderScalar(classes)}
}

// together puts the candidates of all levels behind one another.
func together(levels []candidates) candidates {
	var b, s, l []torch.Tensor
	for _, c := range levels {
		b, s, l = append(b, c.boxes), append(s, c.scores), append(l, c.labels)
	}
	return candidates{torch.Cat(b, 1), torch.Cat(s, 1), torch.Cat(l, 1)}
}

// detections clips the candidates to their pictures, takes away what NMS does, and gives the rest in pixels of the stored
// pictures. sizes are those of Batch.Targets.
func (l Limits) detections(c candidates, sizes torch.Tensor) [][]Detection {
	size := torch.ToSlice[float32](sizes)
	return l.each(c, func(i int) [4]float32 { return [4]float32(size[4*i:]) }, 0)
}

// each is detections of pictures whose sizes size gives: height and width, and those that boxes are given for.
func (l Limits) each(c candidates, size func(i int) [4]float32, minSide float32) [][]Detection {
	n, k := c.scores.Size(0), c.scores.Size(1)
	places, scores := boxes.FromFlat(torch.ToSlice[float32](c.boxes)), torch.ToSlice[float32](c.scores)
	labels := torch.ToSlice[int](c.labels)
	out := make([][]Detection, n)
	for i := range out {
		out[i] = l.picture(places[i*k:(i+1)*k], scores[i*k:(i+1)*k], labels[i*k:(i+1)*k], size(i), minSide)
	}
	return out
}

// picture is detections of one picture. Boxes with a side below minSide go.
func (l Limits) picture(places []boxes.Box, scores []float32, labels []int, size [4]float32, minSide float32) []Detection {
	height, width := size[0], size[1]
	var kept []boxes.Box
	var keptScores []float32
	var keptLabels []int
	for i, b := range places {
		if !(scores[i] > float32(l.MinScore)) {
			continue
		}
		b = boxes.Box{within(b[0], width), within(b[1], height), within(b[2], width), within(b[3], height)}
		if minSide > 0 && !(b[2]-b[0] >= minSide && b[3]-b[1] >= minSide) {
			continue
		}
		kept, keptScores, keptLabels = append(kept, b), append(keptScores, scores[i]), append(keptLabels, labels[i])
	}
	best := boxes.BatchedNMS(kept, keptScores, keptLabels, l.NMS)
	fx, fy := size[3]/width, size[2]/height
	out := make([]Detection, 0, min(len(best), l.PerPicture))
	for _, i := range best[:min(len(best), l.PerPicture)] {
		b := kept[i]
		out = append(out, Detection{Box{b[0] * fx, b[1] * fy, b[2] * fx, b[3] * fy, keptLabels[i]}, keptScores[i]})
	}
	return out
}

// within moves a coordinate into a picture.
func within(x, most float32) float32 { return min(max(x, 0), most) }
