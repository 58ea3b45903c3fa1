package torch

import (
	"math"
	"os"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Version is libtorch's version, as in "2.11.0".
func Version() string { return capi.Version() }

// BuildConfig is libtorch's own account of how it was built, several lines.
func BuildConfig() string {
	s, err := capi.Config()
	if err != nil {
		panic(failed("show_config", err))
	}
	return s
}

// CPUCapability names the instruction set that the CPU kernels use, as in "AVX512".
func CPUCapability() string { return capi.CPUCapability() }

// NumThreads is the number of threads that one CPU operator may use.
func NumThreads() int { return capi.NumThreads() }

// SetNumThreads sets it, for the whole process.
func SetNumThreads(n int) {
	if err := capi.SetNumThreads(n); err != nil {
		panic(failed("set_num_threads", err))
	}
}

// UseDeterministic makes operators choose deterministic kernels, for the whole process; where one has none it fails.
func UseDeterministic(on bool) { capi.SetDeterministic(on) }

// LibraryPath is the file that libtorch's CPU kernels were loaded from.
func LibraryPath() string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(maps), "\n") {
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.HasSuffix(line, "/libtorch_cpu.so") {
			return line[i:]
		}
	}
	return "unknown"
}

// SelfTest compares a small matrix product and a convolution on a device with sums written out in Go.
func SelfTest(d Device) error {
	return Try(func() {
		Scoped(func() {
			x, w := make([]float32, 12), make([]float32, 4)
			for i := range x {
				x[i] = float32(i%5) - 1.5
			}
			copy(w, []float32{1, -2, 0.5, 3})
			product := FromSlice(x, 3, 4).ToDevice(d).MM(FromSlice(w, 4, 1).ToDevice(d))
			conv := Conv2d(FromSlice(x, 1, 1, 3, 4).ToDevice(d), FromSlice(w, 1, 1, 2, 2).ToDevice(d), Tensor{}, []int{1, 1}, []int{0, 0}, []int{1, 1}, 1)
			var wantProduct, wantConv []float32
			for i := range 3 {
				wantProduct = append(wantProduct, x[4*i]*w[0]+x[4*i+1]*w[1]+x[4*i+2]*w[2]+x[4*i+3]*w[3])
			}
			for i := range 2 {
				for j := range 3 {
					at := 4*i + j
					wantConv = append(wantConv, x[at]*w[0]+x[at+1]*w[1]+x[at+4]*w[2]+x[at+5]*w[3])
				}
			}
			for _, c := range []struct {
				name string
				got  Tensor
				want []float32
			}{{"matrix product", product, wantProduct}, {"convolution", conv, wantConv}} {
				if got := ToSlice[float32](c.got.ToDevice(CPU)); !slices.EqualFunc(got, c.want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-3 }) {
					panic(&Error{Op: c.name, Msg: sprintf("on %v gives %v, want %v", d, got, c.want)})
				}
			}
		})
	})
}
