package vision

import (
	"fmt"
	"math/rand/v2"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// NewClassifier makes a network that is not pre-trained, its weights drawn as torchvision does. It serves to measure;
// for training there is [LoadClassifier].
func NewClassifier(architecture string, classes int, seed uint64) (*Classifier, error) {
	net, err := NewResNet(architecture, classes)
	if err != nil {
		return nil, err
	}
	if err := torch.Try(func() { net.Init(torch.NewGenerator(seed), InitOptions{}) }); err != nil {
		net.Close()
		return nil, err
	}
	net.ChannelsLast()
	c := &Classifier{Net: net, Input: imageNet(), Source: "random"}
	for i := range classes {
		c.Classes = append(c.Classes, fmt.Sprint(i))
	}
	return c, nil
}

// Synthetic is a data set of random pictures and labels that costs nothing to load. It serves to measure.
type Synthetic struct {
	length, side int
	classes      []string
	input        Input
	pixels       []byte // of some pictures, which all are taken from
}

// NewSynthetic makes a data set of length pictures for a network; distinct of them differ.
func NewSynthetic(c *Classifier, length, distinct int, seed uint64) *Synthetic {
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	s := &Synthetic{length: length, side: c.Input.Crop, classes: c.Classes, input: c.Input}
	s.pixels = make([]byte, distinct*3*s.side*s.side)
	_, _ = rng.Read(s.pixels)
	return s
}

// Len is the number of pictures.
func (s *Synthetic) Len() int { return s.length }

// Length is 1: pictures are not padded.
func (s *Synthetic) Length(int) int { return 1 }

// Augmented is false.
func (s *Synthetic) Augmented() bool { return false }

// Concurrency lets batches be copied by several goroutines.
func (s *Synthetic) Concurrency() int { return 4 }

// Batch gives pictures in the order they are kept, whatever the positions that are asked for.
func (s *Synthetic) Batch(r data.Request) (*Batch, error) {
	b := &Batch{Index: r.Indices, Side: s.side, Mean: single(s.input.Mean), Std: single(s.input.Std)}
	for _, i := range r.Indices {
		b.Target.Classes = append(b.Target.Classes, i%len(s.classes))
	}
	if r.FirstStage > 0 {
		return b, nil
	}
	size := 3 * s.side * s.side
	first := r.Indices[0] * size % len(s.pixels)
	if n := len(r.Indices) * size; first+n <= len(s.pixels) {
		b.Pixels = s.pixels[first : first+n]
		return b, nil
	}
	for _, i := range r.Indices {
		at := i * size % len(s.pixels)
		b.Pixels = append(b.Pixels, s.pixels[at:at+size]...)
	}
	return b, nil
}
