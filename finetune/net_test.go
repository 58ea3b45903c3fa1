package finetune

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// width is the size of the vectors that a net works on.
const width = 8

// net is a small Model: four layers and a head with two classes, on sequences of vectors that are padded, or on single
// vectors.
type net struct {
	Layers []*layer   `torch:"stage"`
	Head   *nn.Linear `torch:"head"`

	before     func(stage int)                      // called before a stage runs
	seen       func(b *rows, x torch.Tensor)        // called with what the first stage reads
	change     func(loss torch.Tensor) torch.Tensor // of what Loss gives
	measure    func(output nn.Values) nn.Values     // of what an evaluation measures
	saveConfig func(folder string) error
}

// layer adds to x what it makes of x, and has a buffer that moves in training, as a batch norm's.
type layer struct {
	Linear   *nn.Linear   `torch:"linear"`
	Spare    torch.Tensor `torch:"spare"` // takes no part in anything; mostly undefined
	Mean     torch.Tensor `torch:"running_mean,buffer"`
	Dropout  *nn.Dropout  `torch:""`
	training bool
	still    bool // Mean does not move
}

func (l *layer) SetTraining(on bool) { l.training = on }

// forward keeps the shape of x, [N, T, width] or [N, width].
func (l *layer) forward(x torch.Tensor) torch.Tensor {
	if l.training && !l.still {
		torch.NoGrad(func() {
			first := x
			if x.Dim() == 3 {
				first = x.Select(1, 0) // never padding
			}
			l.Mean.Lerp_(first.MeanDim(0).To(torch.Float32), 0.1)
		})
	}
	return x.Add(l.Dropout.Forward(l.Linear.ForwardGELU(x.Sub(l.Mean))))
}

// newNet makes a net that is freed when the test ends. It is the same each time.
func newNet(t testing.TB) *net {
	g := torch.NewGenerator(7)
	n := &net{Head: nn.NewLinear(width, 2, nn.LinearOptions{}, g)}
	for range 4 {
		n.Layers = append(n.Layers, &layer{
			Linear: nn.NewLinear(width, width, nn.LinearOptions{}, g), Mean: nn.Uniform(-0.1, 0.1, g, width), Dropout: &nn.Dropout{P: 0.1},
		})
	}
	t.Cleanup(func() { nn.Close(n) })
	return n
}

func (n *net) Stages() []nn.Stage[*rows] {
	var out []nn.Stage[*rows]
	for i, l := range n.Layers {
		name := fmt.Sprintf("stage.%d", i)
		out = append(out, nn.Stage[*rows]{Name: name, Module: l, Key: name + ".", Forward: func(b *rows, in nn.Values) nn.Values {
			n.enter(i)
			x := b.first(in)
			if n.seen != nil && i == 0 {
				n.seen(b, x)
			}
			return nn.Values{l.forward(x)}
		}})
	}
	return append(out, nn.Stage[*rows]{Name: "head", Module: n.Head, Key: "head.", Forward: func(b *rows, in nn.Values) nn.Values {
		n.enter(len(n.Layers))
		x := b.first(in)
		if b.lengths != nil {
			x = b.tensor(1).BMM(x).View(b.Size(), width)
		}
		return nn.Values{n.Head.Forward(x)}
	}})
}

func (n *net) enter(stage int) {
	if n.before != nil {
		n.before(stage)
	}
}

// first is the stage's input: the output of the stage before, or the batch's vectors.
func (b *rows) first(in nn.Values) torch.Tensor {
	if len(in) > 0 {
		return in[0]
	}
	return b.tensor(0)
}

// Objective is the classification of two classes.
func (n *net) Objective() train.Objective {
	return &changed{objective.Classification{Classes: []string{"minus", "plus"}}, n}
}

// changed is an objective whose loss a test may change.
type changed struct {
	objective.Classification
	net *net
}

func (c *changed) Loss(output, target nn.Values) torch.Tensor {
	l := c.Classification.Loss(output, target)
	if c.net.change != nil {
		l = c.net.change(l)
	}
	return l
}

func (c *changed) NewMetric() metric.Metric {
	return &changedMetric{c.Classification.NewMetric(), c.net}
}

// changedMetric is a metric whose outputs a test may change.
type changedMetric struct {
	metric.Metric
	net *net
}

func (m *changedMetric) Add(output, target nn.Values) error {
	if m.net.measure != nil {
		output = m.net.measure(output)
	}
	return m.Metric.Add(output, target)
}

func (n *net) SaveConfig(folder string) error {
	if n.saveConfig != nil {
		return n.saveConfig(folder)
	}
	return os.WriteFile(filepath.Join(folder, "config.json"), []byte("{}\n"), 0o644)
}

// bytes are all parameters and buffers of the net, by key.
func (n *net) bytes() map[string][]byte {
	out := map[string][]byte{}
	for _, s := range nn.State(n) {
		out[s.Name] = s.Tensor.Bytes()
	}
	return out
}

// rows is a batch of a corpus.
type rows struct {
	index, lengths, labels []int
	vectors                []float32 // [N, T, width], or [N, width] where nothing is padded
	longest                int
	given                  []torch.Tensor
}

func (b *rows) Size() int               { return len(b.index) }
func (b *rows) Indices() []int          { return b.index }
func (b *rows) Lengths() []int          { return b.lengths }
func (b *rows) Width() int              { return b.longest }
func (b *rows) Targets() []torch.Tensor { return []torch.Tensor{b.tensor(2)} }

// Tensors are the vectors, the weights of the mean and the labels.
func (b *rows) Tensors() []torch.Tensor {
	var weights torch.Tensor
	if b.lengths != nil {
		weights = b.meanWeights()
	}
	return []torch.Tensor{torch.FromSlice(b.vectors, b.shape()...), weights, torch.FromSlice(b.labels)}
}

func (b *rows) With(tensors []torch.Tensor) *rows {
	other := *b
	other.given = tensors
	return &other
}

func (b *rows) Slice(from, to int) *rows {
	part := &rows{index: b.index[from:to], labels: b.labels[from:to], longest: b.longest}
	if b.lengths != nil {
		part.lengths = b.lengths[from:to]
	}
	if b.given != nil {
		for _, t := range b.given {
			if t.Defined() {
				t = t.Narrow(0, from, to-from)
			}
			part.given = append(part.given, t)
		}
		return part
	}
	row := len(b.vectors) / b.Size()
	part.vectors = b.vectors[from*row : to*row]
	return part
}

func (b *rows) tensor(i int) torch.Tensor {
	if b.given != nil {
		return b.given[i]
	}
	return b.Tensors()[i]
}

func (b *rows) shape() []int {
	if b.lengths == nil {
		return []int{b.Size(), width}
	}
	return []int{b.Size(), b.longest, width}
}

// meanWeights is [N, 1, T]: a batched product with it is the mean over the rows that are no padding.
func (b *rows) meanWeights() torch.Tensor {
	w := make([]float32, b.Size()*b.longest)
	for i, n := range b.lengths {
		for j := range n {
			w[i*b.longest+j] = 1 / float32(n)
		}
	}
	return torch.FromSlice(w, b.Size(), 1, b.longest)
}

// samples is a Dataset of labelled sequences.
type samples struct {
	vectors [][]float32 // of each sample, [length, width]
	labels  []int
	padded  bool
	varies  bool
	before  func(indices []int) error // called before a batch is made
}

// newSamples makes sequences of the given lengths, whose class the sum of the first numbers of their vectors decides.
// All is one vector long where lengths is nil.
func newSamples(seed uint64, n int, lengths func(i int) int) *samples {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := &samples{padded: lengths != nil}
	for i := range n {
		length := 1
		if s.padded {
			length = lengths(i)
		}
		v := make([]float32, length*width)
		sum := float32(0)
		for j := range v {
			v[j] = float32(rng.NormFloat64())
			if j%width == 0 {
				sum += v[j]
			}
		}
		class := 0
		if sum > 0 {
			class = 1
		}
		s.vectors, s.labels = append(s.vectors, v), append(s.labels, class)
	}
	return s
}

// mixed is lengths from 1 to 9, many of them equal.
func mixed(i int) int { return 1 + i*5%9 }

// distinct is lengths that all differ, so that an order by length is the only one.
func distinct(i int) int { return 1 + i }

func (s *samples) Len() int         { return len(s.vectors) }
func (s *samples) Length(i int) int { return len(s.vectors[i]) / width }
func (s *samples) Augmented() bool  { return s.varies }

func (s *samples) Batch(r data.Request) (*rows, error) {
	indices := r.Indices
	if s.before != nil {
		if err := s.before(indices); err != nil {
			return nil, err
		}
	}
	if len(indices) == 0 {
		return nil, errors.New("an empty batch was asked for")
	}
	b := &rows{index: indices, longest: max(1, r.Length)}
	for _, i := range indices {
		b.longest = max(b.longest, s.Length(i))
		b.labels = append(b.labels, s.labels[i])
		if s.padded {
			b.lengths = append(b.lengths, s.Length(i))
		}
	}
	b.vectors = make([]float32, len(indices)*b.longest*width)
	for k, i := range indices {
		row := b.vectors[k*b.longest*width : (k+1)*b.longest*width]
		for j := copy(row, s.vectors[i]); j < len(row); j++ {
			row[j] = 100 // what is padded must not be seen
		}
	}
	return b, nil
}

var (
	_ Model[*rows]        = (*net)(nil)
	_ data.Dataset[*rows] = (*samples)(nil)
)
