package torch

import (
	"math"
	"slices"
)

// SelfTest compares what a device computes with sums written out in Go: a small matrix product and a convolution; on a
// GPU also attention, and the product in bfloat16 where the GPU multiplies that.
func SelfTest(d Device) error {
	if err := d.Check(); err != nil {
		return err
	}
	return Try(func() {
		Scoped(func() {
			testProduct(d, Float32)
			testConvolution(d)
			if d.Type == CUDAType {
				if d.MultipliesBFloat16() {
					testProduct(d, BFloat16)
				}
				testAttention(d)
			}
		})
	})
}

// ramp gives n numbers that repeat, halves from -1.5 on: sums of their products are exact in bfloat16 too.
func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%5) - 1.5
	}
	return x
}

var testWeights = []float32{1, -2, 0.5, 3}

func testProduct(d Device, dtype DType) {
	x, w := ramp(12), testWeights
	var want []float32
	for i := range 3 {
		want = append(want, x[4*i]*w[0]+x[4*i+1]*w[1]+x[4*i+2]*w[2]+x[4*i+3]*w[3])
	}
	got := FromSlice(x, 3, 4).ToDevice(d).To(dtype).MM(FromSlice(w, 4, 1).ToDevice(d).To(dtype))
	agree(d, "matrix product in "+dtype.String(), got, want, 1e-3)
}

func testConvolution(d Device) {
	x, w := ramp(12), testWeights
	var want []float32
	for i := range 2 {
		for j := range 3 {
			at := 4*i + j
			want = append(want, x[at]*w[0]+x[at+1]*w[1]+x[at+4]*w[2]+x[at+5]*w[3])
		}
	}
	image, kernel := FromSlice(x, 1, 1, 3, 4).ToDevice(d), FromSlice(w, 1, 1, 2, 2).ToDevice(d)
	got := Conv2d(image, kernel, Tensor{}, []int{1, 1}, []int{0, 0}, []int{1, 1}, 1)
	agree(d, "convolution", got, want, 1e-3)
}

// testAttention asks equal queries of 16 tokens with heads as wide as BERT's: each answer is the mean of the values.
func testAttention(d Device) {
	const tokens, width = 16, 64
	dtype, values := Float32, ramp(tokens*width)
	if d.MultipliesBFloat16() {
		dtype = BFloat16
	}
	mean := make([]float32, width)
	for i, v := range values {
		mean[i%width] += v / tokens
	}
	same := Ones(dtype, d, 1, 1, tokens, width)
	v := FromSlice(values, 1, 1, tokens, width).ToDevice(d).To(dtype)
	got := ScaledDotProductAttention(same, same, v, Tensor{}, 0, false)
	agree(d, "attention", got, slices.Repeat(mean, tokens), 0.02) // bfloat16 has 8 bits, and the means are below 2.5
}

// agree panics where a result is another.
func agree(d Device, what string, got Tensor, want []float32, tolerance float64) {
	values := ToSlice[float32](got.ToDevice(CPU).To(Float32))
	near := func(a, b float32) bool { return math.Abs(float64(a-b)) <= tolerance } // NaN is not
	if !slices.EqualFunc(values, want, near) {
		panic(&Error{Op: what,
			Msg: sprintf("on %v gives %v, want %v", d, values[:min(len(values), 8)], want[:min(len(want), 8)])})
	}
}
