package nn

import "github.com/thaw-ml/thaw/torch"

// Embedding looks up rows: ids [...] (int64) become [..., dim].
type Embedding struct {
	Weight  torch.Tensor `torch:"weight"` // [num, dim]
	Padding int          // the row that gets no gradient; -1 for none

	Adapter Adapter `torch:""` // changes the output, or nil; its keys stand beside weight
}

// NewEmbedding makes a table of num rows drawn from N(0, 1), PyTorch's default.
func NewEmbedding(num, dim int, g *torch.Generator) *Embedding {
	return &Embedding{Weight: Normal(0, 1, g, num, dim), Padding: -1}
}

// EmptyEmbedding makes a table with memory but no values, to be loaded.
func EmptyEmbedding(num, dim int) *Embedding { return &Embedding{Weight: Empty(num, dim), Padding: -1} }

// Forward maps ids [...] to [..., dim].
func (e *Embedding) Forward(ids torch.Tensor) torch.Tensor {
	return adapt(e.Adapter, ids, torch.Embedding(e.Weight, ids, e.Padding))
}

// First gives the first n rows, [n, dim]: Forward of 0, 1, 2 and so on, as positions are looked up, of which none is
// padding.
func (e *Embedding) First(n int) torch.Tensor {
	rows := e.Weight.Narrow(0, 0, n)
	if e.Adapter == nil {
		return rows
	}
	return e.Adapter.Forward(torch.Arange(0, n, e.Weight.Device()), rows)
}
