package pixels

import (
	"fmt"
	"sync"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Fast reports whether this CPU has the instructions that Taps needs (AVX2).
func Fast() bool { return fast() }

var fast = sync.OnceValue(capi.PixelsFast)

// Taps are the weights with which source pixels make the pixels of a resized side, as Pillow has them: whole numbers, of which
// 1<<PrecisionBits stands for 1. The zero value has none; its memory is used again after Reset.
type Taps struct {
	first, count []int32
	weights      []uint32 // of two at a time: low parts, and high parts
	span         int      // source pixels that are read, from the first one on
	spare        []byte
}

// PrecisionBits are the weights' bits behind the point, Pillow's: 32 bits less 8 for the result and 2 for what bicubic
// overshoots.
const PrecisionBits = 32 - 8 - 2

// lowBits are those of a weight that are multiplied apart from the others: each part fits 16 bits.
const lowBits = 11

// Reset forgets all weights.
func (t *Taps) Reset() {
	t.first, t.count, t.weights, t.span = t.first[:0], t.count[:0], t.weights[:0], 0
}

// Add has the next pixel be the sum of source pixels from first on, each times its weight, rounded. Weights are from
// -4<<PrecisionBits to below 4<<PrecisionBits.
func (t *Taps) Add(first int, weights []int32) {
	t.first, t.count = append(t.first, int32(first)), append(t.count, int32(len(weights)))
	t.span = max(t.span, first+len(weights))
	for i := 0; i < len(weights); i += 2 {
		a, b := weights[i], int32(0)
		if i+1 < len(weights) {
			b = weights[i+1]
		}
		t.weights = append(t.weights, pair(a&(1<<lowBits-1), b&(1<<lowBits-1)), pair(a>>lowBits, b>>lowBits))
	}
}

// pair puts two numbers of 16 bits in a word.
func pair(a, b int32) uint32 { return uint32(uint16(a)) | uint32(uint16(b))<<16 }

// Len is the number of pixels that were added.
func (t *Taps) Len() int { return len(t.first) }

// Rows runs the horizontal pass: so many rows of from, a row starting fromStride bytes behind the one before, to rows of Len
// pixels. It panics where the memory does not suffice or Fast is false.
func (t *Taps) Rows(to []byte, toStride int, from []byte, fromStride, rows int) {
	if rows <= 0 || t.Len() == 0 {
		return
	}
	need("Rows", to, (rows-1)*toStride+3*t.Len())
	need("Rows", from, (rows-1)*fromStride+3*t.span)
	if size := 4 * (3*t.span + capi.PixelsBeyond); cap(t.spare) < size {
		t.spare = make([]byte, size)
	}
	capi.ResizeRows(to, toStride, from, fromStride, t.spare[:cap(t.spare)], rows, t.span, t.first, t.count, t.weights)
}

// LeastSamples are needed in a row for Columns.
const LeastSamples = 16

// Columns runs the vertical pass: Len rows of n samples, LeastSamples at least, of rows of from, a row starting fromStride
// bytes behind the one before. It panics where the memory does not suffice or Fast is false.
func (t *Taps) Columns(to []byte, toStride int, from []byte, fromStride, n int) {
	if t.Len() == 0 {
		return
	}
	if n < LeastSamples {
		panic(fmt.Sprintf("pixels: Columns: rows of %d samples: they need %d at least", n, LeastSamples))
	}
	need("Columns", to, (t.Len()-1)*toStride+n)
	need("Columns", from, (t.span-1)*fromStride+n)
	capi.ResizeColumns(to, toStride, from, fromStride, n, t.first, t.count, t.weights)
}

// need panics where there is not enough memory, or the CPU lacks the instructions.
func need(pass string, memory []byte, n int) {
	if !Fast() {
		panic("pixels: " + pass + ": this CPU has no AVX2")
	}
	if len(memory) < n {
		panic(fmt.Sprintf("pixels: %s: %d bytes are given where %d are needed", pass, len(memory), n))
	}
}
