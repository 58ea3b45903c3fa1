package nn

import (
	"iter"

	"github.com/thaw-ml/thaw/torch"
)

// Adapter changes what a layer, such as [Linear] or [Conv2d], puts out: the seam for LoRA and its kin, which train a
// few parameters beside frozen ones. It is a module: a pointer to a struct whose tagged fields hold its parameters,
// found with those of the layer under keys beside "weight" and "bias". A layer whose Adapter is nil is as if there were
// none.
type Adapter interface {
	// Forward gives the layer's new output, of y's shape, from its input x and its own output y.
	Forward(x, y torch.Tensor) torch.Tensor
}

// Merging is an Adapter that can become part of its layer's weight, as [LoRA] can.
type Merging interface {
	Adapter
	// Delta is what added to the layer's weight makes the layer give what it gives with the adapter, outside training.
	Delta() torch.Tensor
}

// Adaptable is a layer that takes an Adapter: [*Linear], [*Conv2d], [*Embedding].
type Adaptable interface {
	// Adapted gives the place of the layer's adapter, which holds nil where there is none.
	Adapted() *Adapter
	// Base gives the layer's own weight, and its bias, undefined where there is none.
	Base() (weight, bias torch.Tensor)
}

// Adapted implements Adaptable.
func (l *Linear) Adapted() *Adapter { return &l.Adapter }

// Base implements Adaptable.
func (l *Linear) Base() (weight, bias torch.Tensor) { return l.Weight, l.Bias }

// Adapted implements Adaptable.
func (c *Conv2d) Adapted() *Adapter { return &c.Adapter }

// Base implements Adaptable.
func (c *Conv2d) Base() (weight, bias torch.Tensor) { return c.Weight, c.Bias }

// Adapted implements Adaptable.
func (e *Embedding) Adapted() *Adapter { return &e.Adapter }

// Base implements Adaptable.
func (e *Embedding) Base() (weight, bias torch.Tensor) { return e.Weight, torch.Tensor{} }

// AdapterParams gives the parameters of all adapters within m, by their keys in m.
func AdapterParams(m any) iter.Seq2[string, torch.Tensor] {
	return func(yield func(string, torch.Tensor) bool) {
		for layer, l := range Modules[Adaptable](m) {
			if *l.Adapted() == nil {
				continue
			}
			for key, p := range Params(*l.Adapted()) {
				if !yield(join(layer, key), p) {
					return
				}
			}
		}
	}
}

func adapt(a Adapter, x, y torch.Tensor) torch.Tensor {
	if a == nil {
		return y
	}
	return a.Forward(x, y)
}
