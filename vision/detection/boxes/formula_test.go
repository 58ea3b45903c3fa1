package boxes_test

import (
	"hash/fnv"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

// The formulas of testdata/formula.py.

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

// whole are numbers from 0 to below - 1.
func whole(key string, n, below int) []int {
	out, at := make([]int, n), word(key)
	for i := range out {
		out[i] = int(at(i) % uint64(below))
	}
	return out
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
