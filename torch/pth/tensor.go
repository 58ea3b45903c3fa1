package pth

import (
	"math/bits"
	"slices"
	"unsafe"
)

// maxRank is where libtorch's operators stop (at::TensorIterator).
const maxRank = 64

// Info is one tensor.
type Info struct {
	Name    string
	DType   DType
	Shape   []int // empty for a scalar
	Strides []int // in elements, one for each dimension, none negative; 0 where a tensor was expanded
	Offset  int   // of the first element in its storage, in elements

	// Data holds the bytes of the storage from the tensor's first element to its last, little-endian; the elements lie
	// in it by Strides. It is a view into the mapped file: read-only (a write to it kills the process), valid until the
	// File is closed, and at any address, so it must not be reinterpreted as wider elements without asking Aligned.
	Data []byte
}

// Len returns the number of elements.
func (t Info) Len() int {
	n := 1
	for _, size := range t.Shape {
		n *= size
	}
	return n
}

// Contiguous reports whether Data is the elements in row-major order, each once.
func (t Info) Contiguous() bool { return t.run() == len(t.Shape) }

// run is the number of last dimensions that together are one piece of memory in row-major order.
func (t Info) run() int {
	step, n := 1, 0
	for i := len(t.Shape) - 1; i >= 0; i-- {
		if t.Shape[i] != 1 && t.Strides[i] != step && len(t.Data) > 0 {
			break
		}
		step *= t.Shape[i]
		n++
	}
	return n
}

// Aligned reports whether Data starts at a multiple of the element's size. Zip files align every tensor, the older
// format does not.
func (t Info) Aligned() bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(t.Data)))%uintptr(max(t.DType.Size(), 1)) == 0
}

// Bytes returns the elements in row-major order: Data itself where it is that, else a copy.
func (t Info) Bytes() []byte {
	if t.Contiguous() {
		return t.Data
	}
	out := make([]byte, t.Len()*t.DType.Size())
	t.CopyTo(out)
	return out
}

// CopyTo copies the elements in row-major order to the start of dst, and returns how many bytes that were: Len times
// the element's size, or fewer where dst is shorter.
func (t Info) CopyTo(dst []byte) int {
	if len(t.Data) == 0 {
		return 0
	}
	size := t.DType.Size()
	outer := len(t.Shape) - t.run()
	piece := size // the bytes of one run
	for _, n := range t.Shape[outer:] {
		piece *= n
	}
	at := make([]int, outer)
	from, done := 0, 0
	for {
		done += copy(dst[done:], t.Data[from:from+piece])
		i := outer - 1
		for ; i >= 0; i-- { // the next run: count up like an odometer
			at[i]++
			from += t.Strides[i] * size
			if at[i] < t.Shape[i] {
				break
			}
			from -= at[i] * t.Strides[i] * size
			at[i] = 0
		}
		if i < 0 || done == len(dst) {
			return done
		}
	}
}

// storage is memory that tensors share. Its bytes are known from the start in a zip file, and only after the pickle in
// the older format.
type storage struct {
	size int // bytes, at most the file's
	data []byte
	elem int // bytes of an element as the older format counts them
}

// typedStorage is a storage, or a part of one, seen as elements.
type typedStorage struct {
	root       *storage
	base, size int // bytes
	dtype      DType
}

// tensor is an Info whose storage's bytes may still be unknown.
type tensor struct {
	root           *storage
	dtype          DType
	shape, strides []int
	offset         int
	begin, end     int // of its bytes in root
}

func (t *tensor) info(name string) Info {
	return Info{Name: name, DType: t.dtype, Shape: t.shape, Strides: t.strides, Offset: t.offset,
		Data: t.root.data[t.begin:t.end:t.end]}
}

// newTensor checks that every element lies in the storage. mostBytes bounds what an expanded tensor may grow to.
func newTensor(s *typedStorage, dtype DType, offset int, shape, strides []int, mostBytes int) (*tensor, string) {
	elem := dtype.Size()
	t := &tensor{root: s.root, dtype: dtype, shape: shape, strides: strides, offset: offset}
	if len(shape) != len(strides) {
		return nil, sprintf("its shape has %d dimensions, its strides have %d", len(shape), len(strides))
	}
	if len(shape) > maxRank {
		return nil, sprintf("%d dimensions, the limit is %d", len(shape), maxRank)
	}
	if offset < 0 {
		return nil, sprintf("its offset is negative: %d", offset)
	}
	if slices.ContainsFunc(shape, func(n int) bool { return n < 0 }) {
		return nil, sprintf("its shape has a negative dimension: %v", shape)
	}
	if slices.ContainsFunc(strides, func(n int) bool { return n < 0 }) {
		return nil, sprintf("it has a negative stride: %v", strides)
	}
	bytes, ok := elem, true
	for _, n := range shape {
		if n > 0 && ok { // judged without the zeros, so that strides can be computed from every shape that passes
			bytes, ok = times(bytes, n)
		}
	}
	if !ok {
		return nil, sprintf("shape %v of %s overflows a 64-bit count of bytes", shape, dtype)
	}
	if slices.Contains(shape, 0) {
		return t, ""
	}
	last := offset
	for i, n := range shape {
		step, fits := times(n-1, strides[i])
		if ok = ok && fits && last+step >= 0; ok {
			last += step
		}
	}
	end, fits := times(last+1, elem)
	if !ok || !fits || end > s.size {
		return nil, sprintf("shape %v, strides %v and offset %d of %s reach past the end of its storage, which has %d bytes",
			shape, strides, offset, dtype, s.size)
	}
	if bytes > mostBytes {
		return nil, sprintf("shape %v of %s takes %d bytes by repeating %d, and the limit for this file is %d",
			shape, dtype, bytes, end-offset*elem, mostBytes)
	}
	t.begin, t.end = s.base+offset*elem, s.base+end
	return t, ""
}

// times multiplies numbers that are not negative, and says whether the product fits an int.
func times(a, b int) (int, bool) {
	high, low := bits.Mul64(uint64(a), uint64(b))
	return int(low), high == 0 && int(low) >= 0
}
