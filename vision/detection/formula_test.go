package detection_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision/detection"
)

// The formulas of testdata/detectors.py and boxes/testdata/formula.py.

// word is number i of splitmix64 from the FNV-1a hash of a key on.
func word(key string) func(i int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	seed := h.Sum64()
	return func(i int) uint64 {
		z := seed + uint64(i+1)*0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		return z ^ z>>31
	}
}

// numbers are n float32 even over middle ± spread.
func numbers(key string, n int, middle, spread float64) []float32 {
	out, at := make([]float32, n), word(key)
	for i := range out {
		out[i] = float32(float32(int(at(i)>>40)-1<<23)*float32(spread/(1<<23))) + float32(middle)
	}
	return out
}

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

func formula(name, key string, shape []int) (middle, spread float64, alternate bool) {
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
	case strings.Contains(key, "roi_heads.box_head.") && len(shape) == 1 && strings.HasSuffix(name, "_v2") && !strings.Contains(key, ".5."):
		if weight { // a norm's: few inputs of its ReLU lie near 0
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
func fill(n detection.Network) {
	for _, s := range nn.State(n) {
		if strings.HasSuffix(s.Name, "num_batches_tracked") {
			continue
		}
		middle, spread, alternate := formula(n.Name(), s.Name, s.Tensor.Shape())
		values := numbers(s.Name, s.Tensor.Numel(), middle, spread)
		if alternate {
			for i := 1; i < len(values); i += 2 {
				values[i] = -values[i]
			}
		}
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
	at := word(key + ".sizes")
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
		coarse := numbers(fmt.Sprintf("%s.%d.coarse", key, i), 3*ch*cw, 0, 1.5)
		fine := numbers(fmt.Sprintf("%s.%d.fine", key, i), 3*h*w, 0, 0.5)
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
			count = 1 + int(word(fmt.Sprintf("%s.%d.count", key, i))(0)%4)
		}
		at, label := numbers(fmt.Sprintf("%s.%d.boxes", key, i), count*4, 0.5, 0.5), word(fmt.Sprintf("%s.%d.labels", key, i))
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

const samples = 8

// digest is what a golden holds of a tensor: sum, L2 norm, largest magnitude, and sampled elements.
func digest(key string, x torch.Tensor) (d [3 + samples]float64) {
	torch.Scoped(func() {
		wide := torch.ToSlice[float64](x.Detach().To(torch.Float64))
		for _, v := range wide {
			d[0] += v
			d[1] += v * v
			d[2] = max(d[2], math.Abs(v))
		}
		d[1] = math.Sqrt(d[1])
		for i := range samples {
			d[3+i] = wide[word("sample "+key)(i)%uint64(len(wide))]
		}
	})
	return d
}

// closeDigests fails where a tensor of n elements is not the golden's: elements within tolerance of the largest, the norm
// within tolerance of itself, the sum within what such an error can make of it. It returns the largest difference.
func closeDigests(t testing.TB, key string, n int, want []float64, got [3 + samples]float64, tolerance float64) (worst float64) {
	t.Helper()
	require.Len(t, want, len(got), key)
	top, norm := want[2], want[1]
	require.InDelta(t, want[0], got[0], tolerance*math.Sqrt(float64(n))*norm, "sum of %s", key)
	require.InDelta(t, norm, got[1], tolerance*norm, "norm of %s", key)
	require.InDelta(t, top, got[2], tolerance*top, "largest of %s", key)
	for i := 3; i < len(got); i++ {
		if top > 0 {
			worst = max(worst, math.Abs(got[i]-want[i])/top)
		}
		require.InDelta(t, want[i], got[i], tolerance*top, "element %d of %s; the largest is %v", i-3, key, top)
	}
	return worst
}
