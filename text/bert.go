package text

import (
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Bert is the encoder of Devlin et al. 2018; fields are named as transformers' BertModel keys.
type Bert struct {
	Embeddings *BertEmbeddings `torch:"embeddings"`
	Encoder    *BertEncoder    `torch:"encoder"`
	Pooler     *BertPooler     `torch:"pooler"` // nil where the head does not use it
}

// BertEmbeddings adds up word, position and segment.
type BertEmbeddings struct {
	Word      *nn.Embedding `torch:"word_embeddings"`
	Position  *nn.Embedding `torch:"position_embeddings"`
	TokenType *nn.Embedding `torch:"token_type_embeddings"`
	LayerNorm *nn.LayerNorm `torch:"LayerNorm"`
	Dropout   *nn.Dropout   `torch:""`
}

// BertEncoder is the stack of layers.
type BertEncoder struct {
	Layer []*BertLayer `torch:"layer"`
}

// BertLayer is self-attention and a feed-forward network, each with a residual and a norm behind it.
type BertLayer struct {
	Attention    *BertAttention    `torch:"attention"`
	Intermediate *BertIntermediate `torch:"intermediate"`
	Output       *BertOutput       `torch:"output"`
}

// BertAttention is multi-head self-attention.
type BertAttention struct {
	Self   *BertSelfAttention `torch:"self"`
	Output *BertOutput        `torch:"output"`
}

// BertSelfAttention holds the projections to queries, keys and values.
type BertSelfAttention struct {
	Query   *nn.Linear  `torch:"query"`
	Key     *nn.Linear  `torch:"key"`
	Value   *nn.Linear  `torch:"value"`
	Dropout *nn.Dropout `torch:""`
	heads   int
}

// BertIntermediate widens.
type BertIntermediate struct {
	Dense      *nn.Linear                      `torch:"dense"`
	activation func(torch.Tensor) torch.Tensor // nil for GELU, which the layer itself does
}

// BertOutput projects back, and adds and normalises.
type BertOutput struct {
	Dense     *nn.Linear    `torch:"dense"`
	LayerNorm *nn.LayerNorm `torch:"LayerNorm"`
	Dropout   *nn.Dropout   `torch:""`
}

// BertPooler is tanh of a projection of the first token.
type BertPooler struct {
	Dense *nn.Linear `torch:"dense"`
}

// newBert makes a model with memory but no values, to be loaded.
func newBert(c Config, pooler bool) (*Bert, error) {
	activation, err := nn.Activation(c.HiddenAct)
	if err != nil {
		return nil, err
	}
	if c.HiddenAct == "gelu" {
		activation = nil
	}
	h := c.HiddenSize
	norm := func() *nn.LayerNorm {
		return &nn.LayerNorm{Weight: nn.Empty(h), Bias: nn.Empty(h), Eps: c.LayerNormEps}
	}
	output := func(in int) *BertOutput {
		return &BertOutput{nn.EmptyLinear(in, h, nn.LinearOptions{}), norm(), &nn.Dropout{P: c.HiddenDropoutProb}}
	}
	b := &Bert{
		Embeddings: &BertEmbeddings{
			nn.EmptyEmbedding(c.VocabSize, h), nn.EmptyEmbedding(c.MaxPositionEmbeddings, h),
			nn.EmptyEmbedding(c.TypeVocabSize, h), norm(), &nn.Dropout{P: c.HiddenDropoutProb},
		},
		Encoder: &BertEncoder{},
	}
	b.Embeddings.Word.Padding = c.PadTokenID
	for range c.NumHiddenLayers {
		self := &BertSelfAttention{
			nn.EmptyLinear(h, h, nn.LinearOptions{}), nn.EmptyLinear(h, h, nn.LinearOptions{}), nn.EmptyLinear(h, h, nn.LinearOptions{}),
			&nn.Dropout{P: c.AttentionDropoutProb}, c.NumAttentionHeads,
		}
		b.Encoder.Layer = append(b.Encoder.Layer, &BertLayer{
			&BertAttention{self, output(h)},
			&BertIntermediate{nn.EmptyLinear(h, c.IntermediateSize, nn.LinearOptions{}), activation},
			output(c.IntermediateSize),
		})
	}
	if pooler {
		b.Pooler = &BertPooler{nn.EmptyLinear(h, h, nn.LinearOptions{})}
	}
	return b, nil
}

// Forward maps ids and segments [N, T] (int64) to [N, T, hidden].
func (e *BertEmbeddings) Forward(ids, types torch.Tensor) torch.Tensor {
	positions := e.Position.First(ids.Size(1)) // [T, hidden]
	x := e.Word.Forward(ids)
	if types.Defined() {
		x = x.Add(e.TokenType.Forward(types)).Add(positions)
	} else { // all of segment 0: [T, hidden] first, which is little
		x = x.Add(positions.Add(e.TokenType.First(1)))
	}
	return e.Dropout.Forward(e.LayerNorm.Forward(x))
}

// Forward maps [N, T, hidden] to [N, T, hidden]. mask is added to the attention scores, [N, 1, 1, T] with 0 for tokens
// and -Inf for padding, or undefined where there is no padding.
func (l *BertLayer) Forward(x, mask torch.Tensor) torch.Tensor {
	x, in := fused.Fork(x)
	y, in := fused.Fork(l.Attention.Output.Forward(l.Attention.Self.Forward(in, mask), x))
	return l.Output.Forward(l.Intermediate.Forward(in), y)
}

// ForwardFirst is the first token of Forward, [N, 1, hidden], for a last layer of which no other is read: queries and
// all behind the attention are computed of that token only.
func (l *BertLayer) ForwardFirst(x, mask torch.Tensor) torch.Tensor {
	first := x.Narrow(1, 0, 1)
	y := l.Attention.Output.Forward(l.Attention.Self.forwardFirst(x, first, mask), first)
	return l.Output.Forward(l.Intermediate.Forward(y), y)
}

// Forward maps [N, T, hidden] to [N, T, hidden].
func (a *BertSelfAttention) Forward(x, mask torch.Tensor) torch.Tensor {
	y := nn.Project(x, a.Query, a.Key, a.Value)
	return a.join(a.attend(a.split(y[0]), a.split(y[1]), a.split(y[2]), mask))
}

// forwardFirst is Forward for queries of first alone.
func (a *BertSelfAttention) forwardFirst(x, first, mask torch.Tensor) torch.Tensor {
	y := nn.Project(x, a.Key, a.Value)
	return a.join(a.attend(a.split(a.Query.Forward(first)), a.split(y[0]), a.split(y[1]), mask))
}

// split maps [N, T, hidden] to [N, heads, T, hidden/heads], and join back.
func (a *BertSelfAttention) split(x torch.Tensor) torch.Tensor {
	shape := x.Shape()
	return x.View(shape[0], shape[1], a.heads, shape[2]/a.heads).Transpose(1, 2)
}

func (a *BertSelfAttention) join(x torch.Tensor) torch.Tensor {
	return x.Transpose(1, 2).Flatten(2, 3)
}

// attend is softmax(q k^T / sqrt(d) + mask) v. libtorch's fused kernel for the CPU cannot drop, so there, with dropout,
// the steps stand here one by one, the mask in place.
func (a *BertSelfAttention) attend(q, k, v, mask torch.Tensor) torch.Tensor {
	drop := 0.0
	if a.Dropout.Training() {
		drop = a.Dropout.P
	}
	if drop == 0 || q.Device().Type != torch.CPUType {
		return torch.ScaledDotProductAttention(q, k, v, mask, drop, false)
	}
	scores := q.MulScalar(1 / math.Sqrt(float64(q.Size(-1)))).MatMul(k.Transpose(2, 3)) // [N, heads, T, T]
	if mask.Defined() {
		scores = scores.Add(mask)
	}
	return a.Dropout.Forward(scores.Softmax(-1)).MatMul(v)
}

// Forward maps [N, T, hidden] to [N, T, intermediate].
func (i *BertIntermediate) Forward(x torch.Tensor) torch.Tensor {
	if i.activation == nil {
		return i.Dense.ForwardGELU(x)
	}
	return i.activation(i.Dense.Forward(x))
}

// Forward maps [N, T, in] to [N, T, hidden]; residual is what is added.
func (o *BertOutput) Forward(x, residual torch.Tensor) torch.Tensor {
	return o.LayerNorm.Forward(o.Dropout.ForwardAdd(o.Dense.Forward(x), residual))
}

// Forward maps the first token of each text, [N, hidden], to [N, hidden].
func (p *BertPooler) Forward(x torch.Tensor) torch.Tensor { return p.Dense.Forward(x).Tanh() }
