package torch_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// roundTrip sends six values to a tensor and back, whole, permuted, empty and without dimensions.
func roundTrip[T torch.Element](t *testing.T, dtype torch.DType, v [6]T) {
	t.Run(dtype.String(), func(t *testing.T) {
		torchtest.Scoped(t, func() {
			require.Equal(t, dtype, torch.DTypeOf[T]())
			x := torch.FromSlice(v[:], 2, 3)
			assert.Equal(t, dtype, x.DType())
			assert.Equal(t, []int{2, 3}, x.Shape())
			assert.Equal(t, []int{3, 1}, x.Strides())
			assert.Equal(t, 6*dtype.Size(), x.NBytes())
			assert.Equal(t, v[:], torch.ToSlice[T](x))

			turned := x.T()
			assert.False(t, turned.IsContiguous())
			assert.Equal(t, []T{v[0], v[3], v[1], v[4], v[2], v[5]}, torch.ToSlice[T](turned))
			assert.Equal(t, []T{v[1], v[4]}, torch.ToSlice[T](x.Select(1, 1)))
			assert.Equal(t, []T{v[5], v[5]}, torch.ToSlice[T](x.Select(0, 1).Select(0, 2).Expand(2)))

			scalar := torch.FromScalar(v[1])
			assert.Empty(t, scalar.Shape())
			assert.Equal(t, v[1:2], torch.ToSlice[T](scalar))

			for _, shape := range [][]int{nil, {0}, {2, 0, 3}} {
				empty := torch.FromSlice([]T{}, shape...)
				assert.Zero(t, empty.Numel())
				assert.Empty(t, torch.ToSlice[T](empty))
				assert.Empty(t, empty.Bytes())
			}

			dst := make([]T, 6)
			torch.CopyToSlice(x, dst)
			assert.Equal(t, v[:], dst)
			again := torch.FromBytes(turned.Bytes(), dtype, 3, 2)
			assert.True(t, again.Equal(turned))
			assert.Equal(t, again.Digest(), turned.Digest())
		})
	})
}

func TestSlicesOfEveryDType(t *testing.T) {
	roundTrip(t, torch.Float32, [6]float32{0, -1.5, math.MaxFloat32, math.SmallestNonzeroFloat32, 1e-3, 7})
	roundTrip(t, torch.Float64, [6]float64{0, -1.5, math.MaxFloat64, math.SmallestNonzeroFloat64, 1e-3, 7})
	roundTrip(t, torch.Float16, [6]torch.F16{0, 0x3c00, 0x7bff, 0x8001, 0x3555, 0xc000})
	roundTrip(t, torch.BFloat16, [6]torch.BF16{0, 0x3f80, 0x7f7f, 0x8001, 0x3eab, 0xc000})
	roundTrip(t, torch.Int8, [6]int8{0, 1, -128, 127, 5, -5})
	roundTrip(t, torch.Int16, [6]int16{0, 1, -32768, 32767, 5, -5})
	roundTrip(t, torch.Int32, [6]int32{0, 1, math.MinInt32, math.MaxInt32, 5, -5})
	roundTrip(t, torch.Int64, [6]int64{0, 1, math.MinInt64, math.MaxInt64, 5, -5})
	roundTrip(t, torch.Int64, [6]int{0, 1, math.MinInt, math.MaxInt, 5, -5})
	roundTrip(t, torch.Uint8, [6]uint8{0, 1, 255, 128, 5, 7})
	roundTrip(t, torch.Bool, [6]bool{true, false, false, true, true, false})
}

func TestSliceIsCopied(t *testing.T) {
	torchtest.Scoped(t, func() {
		data := []float32{1, 2}
		x := torch.FromSlice(data)
		data[0] = 9
		assert.Equal(t, []float32{1, 2}, torch.ToSlice[float32](x))
		torch.ToSlice[float32](x)[0] = 9
		assert.Equal(t, []float32{1, 2}, torch.ToSlice[float32](x))
	})
}

func TestSliceShapes(t *testing.T) {
	torchtest.Scoped(t, func() {
		six := make([]float32, 6)
		assert.Equal(t, []int{6}, torch.FromSlice(six).Shape())
		assert.Equal(t, []int{2, 3}, torch.FromSlice(six, 2, -1).Shape())
		assert.Equal(t, []int{6, 1}, torch.FromSlice(six, -1, 1).Shape())
		for _, shape := range [][]int{{4}, {-1, 4}, {-1, -1}, {-2, -3}, {2, 3, 0}, {0, -1}} {
			e := caught(t, func() { torch.FromSlice(six, shape...) })
			assert.Contains(t, e.Error(), "6 elements do not fill the shape")
		}
	})
}

func TestSliceErrors(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := vector(1, 2)
		e := caught(t, func() { torch.ToSlice[int64](x) })
		assert.Contains(t, e.Error(), "a slice of int64")
		assert.Contains(t, e.Error(), "float32 [2]")
		caught(t, func() { torch.ToSlice[torch.F16](x) })
		e = caught(t, func() { torch.CopyToSlice(x, make([]float32, 3)) })
		assert.Contains(t, e.Error(), "bytes")
		e = caught(t, func() { torch.FromBytes(make([]byte, 7), torch.Float32, 2) })
		assert.Contains(t, e.Error(), "8 bytes, the data 7")
		e = caught(t, func() { x.Item() })
		assert.Contains(t, e.Error(), "2 elements")
		caught(t, func() { x.ItemInt() })
	})
}

func TestItems(t *testing.T) {
	torchtest.Scoped(t, func() {
		assert.Equal(t, 1.5, torch.FromScalar(torch.ToBF16(1.5)).Item())
		assert.Equal(t, -3.0, torch.FromSlice([]int8{-3}, 1, 1).Item())
		assert.Equal(t, 1<<60+1, torch.FromScalar(1<<60+1).ItemInt())
		assert.Equal(t, 1, torch.FromScalar(true).ItemInt())
		assert.Equal(t, -2, torch.FromScalar(-2.75).ItemInt())
	})
}

type numbers struct {
	Random struct {
		Rand, Randn, Bernoulli []float32
		Randperm               []int64
		State                  string `json:"state_sha256"`
	}
	Halves struct {
		Float32           []uint32
		Float16, Bfloat16 []uint16
	}
}

func TestHalvesRoundAsPyTorchs(t *testing.T) {
	g := torchtest.Golden[numbers](t, "values.json").Halves
	for i, b := range g.Float32 {
		f := math.Float32frombits(b)
		if f != f {
			assert.True(t, math.IsNaN(float64(torch.ToF16(f).Float32())))
			assert.True(t, math.IsNaN(float64(torch.ToBF16(f).Float32())))
			continue
		}
		assert.Equal(t, torch.F16(g.Float16[i]), torch.ToF16(f), "%g as float16", f)
		assert.Equal(t, torch.BF16(g.Bfloat16[i]), torch.ToBF16(f), "%g as bfloat16", f)
	}
}

func TestHalvesWidenAsPyTorchs(t *testing.T) {
	torchtest.Scoped(t, func() {
		h, b := make([]torch.F16, 1<<16), make([]torch.BF16, 1<<16)
		for i := range h {
			h[i], b[i] = torch.F16(i), torch.BF16(i)
		}
		wideH := torch.ToSlice[float32](torch.FromSlice(h).To(torch.Float32))
		wideB := torch.ToSlice[float32](torch.FromSlice(b).To(torch.Float32))
		for i := range h {
			if wideH[i] == wideH[i] {
				require.Equal(t, math.Float32bits(wideH[i]), math.Float32bits(h[i].Float32()), "%#x", i)
				require.Equal(t, h[i], torch.ToF16(wideH[i]), "%#x", i)
			}
			if wideB[i] == wideB[i] {
				require.Equal(t, math.Float32bits(wideB[i]), math.Float32bits(b[i].Float32()), "%#x", i)
				require.Equal(t, b[i], torch.ToBF16(wideB[i]), "%#x", i)
			}
		}
	})
}

func TestConversions(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := vector(0, 1, 2.75, -3)
		assert.True(t, x.To(torch.Float32).Same(x))
		assert.True(t, x.ToDevice(torch.CPU).Same(x))
		assert.Equal(t, []int64{0, 1, 2, -3}, torch.ToSlice[int64](x.To(torch.Int64)))
		assert.Equal(t, []bool{false, true, true, true}, torch.ToSlice[bool](x.To(torch.Bool)))
		for _, d := range torch.DTypes {
			if d == torch.Uint8 || d == torch.Bool {
				continue
			}
			assert.Equal(t, -3.0, x.To(d).Select(0, 3).Item(), d.String())
		}
	})
}

func TestDTypeNames(t *testing.T) {
	for _, d := range torch.DTypes {
		for _, name := range []string{d.String(), "torch." + d.String()} {
			parsed, err := torch.ParseDType(name)
			require.NoError(t, err)
			assert.Equal(t, d, parsed)
		}
		assert.Positive(t, d.Size())
	}
	_, err := torch.ParseDType("float31")
	assert.ErrorContains(t, err, `"float31"`)
	for s, want := range map[string]torch.Device{"cpu": torch.CPU, "cuda": torch.CUDA(0), "cuda:3": torch.CUDA(3)} {
		d, err := torch.ParseDevice(s)
		require.NoError(t, err)
		assert.Equal(t, want, d)
	}
	for _, s := range []string{"", "gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0"} {
		_, err := torch.ParseDevice(s)
		assert.ErrorContains(t, err, `"`+s+`"`)
	}
}

func TestSharedBytes(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.Zeros(torch.Uint8, torch.CPU, 2, 3)
		shared := x.SharedBytes()
		require.Len(t, shared, 6)
		shared[4] = 7
		assert.Equal(t, []uint8{0, 0, 0, 0, 7, 0}, torch.ToSlice[uint8](x))
		x.Fill_(9)
		assert.Equal(t, uint8(9), shared[0])
		assert.Empty(t, torch.Zeros(torch.Uint8, torch.CPU, 0).SharedBytes())
		assert.ErrorContains(t, torch.Try(func() { x.Transpose(0, 1).SharedBytes() }), "contiguous")

		y := torch.Zeros(torch.Float32, torch.CPU, 2, 2)
		torch.SharedSlice[float32](y)[3] = 1.5
		assert.Equal(t, []float32{0, 0, 0, 1.5}, torch.ToSlice[float32](y))
		assert.ErrorContains(t, torch.Try(func() { torch.SharedSlice[int64](y) }), "int64")
	})
}
