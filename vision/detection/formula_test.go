package detection_test

import (
	"fmt"
	"math"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/detection"
)

// The formulas of testdata/detectors.py.

// outputs are the layers that put something out: spread of the weights, middle and spread of the biases.
var outputs = []struct {
	kind, layer          string
	spread, bias, around float64
}{
	{"fcos", "cls_logits", 3, -4.7, 0.5}, {"fcos", "bbox_reg", 2, 2.5, 0.5}, {"fcos", "bbox_ctrness", 1, 0.5, 0.1},
	{"retinanet", "cls_logits", 2, -5.3, 0.5}, {"retinanet", "bbox_reg", 0.4, 0, 0.1},
	{"fasterrcnn", "rpn.head.cls_logits", 2, 0, 0.5}, {"fasterrcnn", "rpn.head.bbox_pred", 0.4, 0, 0.1},
	{"fasterrcnn", "cls_score", 4, 0, 0.5}, {"fasterrcnn", "box_predictor.bbox_pred", 2, 0, 0.2},
}

// formula is of a parameter or buffer. Steady weights are for training: few inputs of a ReLU lie near 0.
func formula(name, key string, shape []int, steady bool) (middle, spread float64, alternate bool) {
	fanIn := 1.0
	for _, n := range shape[1:] {
		fanIn *= float64(n)
	}
	switch {
	case strings.HasSuffix(key, "running_mean"):
		return 0, 0.1, false
	case strings.HasSuffix(key, "running_var"):
		return 1, 0.25, false
	}
	if strings.HasPrefix(key, "backbone.body.") {
		last := ".bn3."
		if strings.Contains(name, "resnet18") {
			last = ".bn2."
		}
		isLast := strings.Contains(key, last)
		switch {
		case len(shape) == 4:
			return 0, math.Sqrt(6 / fanIn), false
		case strings.HasSuffix(key, "bias") && isLast:
			return 0.25, 0.02, true
		case strings.HasSuffix(key, "bias"):
			return 0.5, 0.05, true
		case isLast:
			return 0.1, 0.01, false
		}
		return 0.2, 0.02, false
	}
	weight := strings.HasSuffix(key, "weight")
	for _, o := range outputs {
		if strings.HasPrefix(name, o.kind) && strings.Contains(key, o.layer+".") {
			if weight {
				return 0, o.spread / math.Sqrt(fanIn), false
			}
			return o.bias, o.around, false
		}
	}
	switch {
	case steady && strings.Contains(key, "roi_heads.box_head.") && len(shape) == 1 && strings.HasSuffix(name, "_v2") && !strings.Contains(key, ".5."):
		if weight { // a norm's
			return 0.1, 0.01, false
		}
		return 0.5, 0.05, true
	case len(shape) > 1 && strings.Contains(key, ".fpn."):
		return 0, math.Sqrt(3 / fanIn), false
	case len(shape) > 1:
		return 0, math.Sqrt(6 / fanIn), false
	case weight:
		return 1, 0.1, false
	}
	return 0, 0.1, false
}

// fill gives a network the formula's weights.
func fill(n detection.Network, steady bool) {
	for _, s := range nn.State(n) {
		if strings.HasSuffix(s.Name, "num_batches_tracked") {
			continue
		}
		middle, spread, alternate := formula(n.Name(), s.Name, s.Tensor.Shape(), steady)
		values := torchtest.Numbers(s.Name, s.Tensor.Numel(), middle, spread, alternate)
		torch.Scoped(func() {
			torch.NoGrad(func() { s.Tensor.Copy_(torch.FromSlice(values, s.Tensor.Shape()...)) })
		})
	}
}

// scene is a batch of the formula's pictures.
type scene struct {
	images torch.Tensor // [N, 3, H, W]
	sizes  []float32    // resized height and width, stored height and width
	n      int
}

// pictures are n of odd sizes, in patches, on a canvas.
func pictures(key string, n, low, high int) scene {
	at := torchtest.Words(key + ".sizes")
	s := scene{n: n}
	side := func(i int) int { return low + int(at(i)%uint64(high-low)) }
	height, width := 0, 0
	for i := range n {
		h, w := side(4*i), side(4*i+1)
		height, width = max(height, (h+31)/32*32), max(width, (w+31)/32*32)
		s.sizes = append(s.sizes, float32(h), float32(w), float32(h+int(at(4*i+2)%uint64(h))), float32(w+int(at(4*i+3)%uint64(w))))
	}
	pixels := make([]float32, n*3*height*width)
	for i := range n {
		h, w := int(s.sizes[4*i]), int(s.sizes[4*i+1])
		ch, cw := (h+7)/8, (w+7)/8
		coarse := torchtest.Numbers(fmt.Sprintf("%s.%d.coarse", key, i), 3*ch*cw, 0, 1.5, false)
		fine := torchtest.Numbers(fmt.Sprintf("%s.%d.fine", key, i), 3*h*w, 0, 0.5, false)
		for c := range 3 {
			for y := range h {
				for x := range w {
					pixels[((i*3+c)*height+y)*width+x] = coarse[(c*ch+y/8)*cw+x/8] + fine[(c*h+y)*w+x]
				}
			}
		}
	}
	s.images = torch.FromSlice(pixels, n, 3, height, width)
	return s
}

// targets are up to 4 boxes for each picture, none for the second of three, as Batch.Targets gives them.
func (s scene) targets(key string, background int) nn.Values {
	const most = 4
	places, labels := make([]float32, s.n*most*4), make([]int, s.n*most)
	for i := range s.n {
		h, w := s.sizes[4*i], s.sizes[4*i+1]
		count := 0
		if i%3 != 1 {
			count = 1 + int(torchtest.Words(fmt.Sprintf("%s.%d.count", key, i))(0)%4)
		}
		at, label := torchtest.Numbers(fmt.Sprintf("%s.%d.boxes", key, i), count*4, 0.5, 0.5, false), torchtest.Words(fmt.Sprintf("%s.%d.labels", key, i))
		for j := range most {
			labels[i*most+j] = -1
			if j >= count {
				continue
			}
			labels[i*most+j] = int(label(j)%uint64(5-background)) + background
			x1, y1 := at[4*j]*(w-20), at[4*j+1]*(h-20)
			copy(places[4*(i*most+j):], []float32{x1, y1, x1 + 12 + float32(at[4*j+2]*(w-x1-12)), y1 + 12 + float32(at[4*j+3]*(h-y1-12))})
		}
	}
	return nn.Values{torch.FromSlice(places, s.n, most, 4), torch.FromSlice(labels, s.n, most), torch.FromSlice(s.sizes, s.n, 4)}
}

// batch has what stages read.
func (s scene) batch(targets nn.Values) *detection.Batch {
	b := &detection.Batch{Index: make([]int, s.n)}
	for i := range s.n {
		b.Index[i] = i
	}
	if targets == nil {
		targets = nn.Values{torch.Tensor{}, torch.Tensor{}, torch.FromSlice(s.sizes, s.n, 4)}
	}
	return b.With(append([]torch.Tensor{s.images.Permute(0, 2, 3, 1).Contiguous()}, targets...))
}
