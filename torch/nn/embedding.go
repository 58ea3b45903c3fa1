package nn

import "github.com/thaw-ml/thaw/torch"

// Embedding looks up rows: ids [...] (int64) become [..., dim].
type Embedding struct {
	Weight  torch.Tensor `torch:"weight"` // [num, dim]
	Padding int          // the row that gets no gradient; -1 for none
}

// NewEmbedding makes a table of num rows drawn from N(0, 1), PyTorch's default.
func NewEmbedding(num, dim int, g *torch.Generator) *Embedding {
	return &Embedding{Weight: Normal(0, 1, g, num, dim), Padding: -1}
}

// EmptyEmbedding makes a table with memory but no values, to be loaded.
func EmptyEmbedding(num, dim int) *Embedding { return &Embedding{Weight: Empty(num, dim), Padding: -1} }

// Forward maps ids [...] to [..., dim].
func (e *Embedding) Forward(ids torch.Tensor) torch.Tensor {
	return torch.Embedding(e.Weight, ids, e.Padding)
}
