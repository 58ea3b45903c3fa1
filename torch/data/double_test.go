package data

import (
	"errors"
	"testing"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// rows is a batch of samples: of each nothing but its position and length.
type rows struct {
	index, lengths []int
	width          int
	closed         func() // called by Close, where not nil
}

func (b *rows) Size() int                   { return len(b.index) }
func (b *rows) Indices() []int              { return b.index }
func (b *rows) Lengths() []int              { return b.lengths }
func (b *rows) Width() int                  { return b.width }
func (b *rows) Tensors() []torch.Tensor     { return []torch.Tensor{torch.FromSlice(b.index)} }
func (b *rows) With(_ []torch.Tensor) *rows { return b }
func (b *rows) Targets() []torch.Tensor     { return nil }
func (b *rows) Close() {
	if b != nil && b.closed != nil {
		b.closed()
	}
}

// samples is a Dataset of samples that have lengths alone.
type samples struct {
	lengths []int
	padded  bool
	before  func(indices []int) error // called before a batch is made
	keep    func(i int) bool          // whether a sample can be read; nil reads all
	closed  func()                    // called when a batch is closed
}

func newSamples(n int, lengths func(i int) int) *samples {
	s := &samples{lengths: make([]int, n), padded: lengths != nil}
	for i := range s.lengths {
		s.lengths[i] = 1
		if s.padded {
			s.lengths[i] = lengths(i)
		}
	}
	return s
}

// mixed is lengths from 1 to 9, many of them equal.
func mixed(i int) int { return 1 + i*5%9 }

func (s *samples) Len() int         { return len(s.lengths) }
func (s *samples) Length(i int) int { return s.lengths[i] }
func (s *samples) Augmented() bool  { return false }

func (s *samples) Batch(r Request) (*rows, error) {
	if s.before != nil {
		if err := s.before(r.Indices); err != nil {
			return nil, err
		}
	}
	if len(r.Indices) == 0 {
		return nil, errors.New("an empty batch was asked for")
	}
	b := &rows{width: max(1, r.Length), closed: s.closed}
	for _, i := range r.Indices {
		if s.keep != nil && !s.keep(i) {
			continue
		}
		b.index = append(b.index, i)
		if s.padded {
			b.width = max(b.width, s.lengths[i])
			b.lengths = append(b.lengths, s.lengths[i])
		}
	}
	return b, nil
}

var _ Dataset[*rows] = (*samples)(nil)

// several is a data set that makes batches on several goroutines at once.
type several struct {
	*samples
	at int
}

func (s several) Concurrency() int { return s.at }
