package boxes_test

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

// numbers are inputs that testdata/boxes.py makes alike.
func numbers(key string, n int, middle, spread float64) []float32 {
	return torchtest.Numbers(key, n, middle, spread, false)
}

// someBoxes are n boxes within extent, with sides of up to largest.
func someBoxes(key string, n int, extent, largest float32) []boxes.Box {
	places, sizes := numbers(key, 2*n, 0.5, 0.5), numbers(key+".size", 2*n, 0.5, 0.5)
	out := make([]boxes.Box, n)
	for i := range out {
		x, y := float32(places[2*i]*(extent-largest)), float32(places[2*i+1]*(extent-largest))
		w, h := float32(sizes[2*i]*largest)+0.01, float32(sizes[2*i+1]*largest)+0.01
		out[i] = boxes.Box{x, y, x + w, y + h}
	}
	return out
}

func tensorOf(b []boxes.Box) torch.Tensor {
	var flat []float32
	for i := range b {
		flat = append(flat, b[i][:]...)
	}
	return torch.FromSlice(flat, len(b), 4)
}
