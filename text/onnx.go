package text

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"github.com/thaw-ml/thaw/onnx"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ONNXFile is the name of the graph in a folder that SaveONNX writes.
const ONNXFile = "model.onnx"

// SaveONNX writes model.onnx, config.json and the tokenizer's files to a folder, which is made if need be. The graph
// maps input_ids, attention_mask and token_type_ids, int64 [batch, sequence] as transformers' tokenizers make them, to
// logits, float32 [batch, classes]; batch and sequence are any numbers, the latter up to the model's positions.
// Adapters are merged into the weights. Classes, what the logits mean and where texts are cut are in its metadata too.
//
// A graph of more than 2 GiB has its weights in model.onnx.data beside it.
func (c *Classifier) SaveONNX(folder string) error {
	if err := c.saveBeside(folder); err != nil {
		return err
	}
	path := filepath.Join(folder, ONNXFile)
	metadata, err := c.onnxMetadata()
	if err != nil {
		return err
	}
	c.running.Lock()
	defer c.running.Unlock()
	return torch.ScopedErr(func() error {
		state, err := nn.MergedState(c)
		if err != nil {
			return err
		}
		graph, err := c.graph(state)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		doc := c.Name() + ", logits of " + string(c.Config.problem())
		return onnx.Model{Graph: graph, Doc: doc, Metadata: metadata}.Save(path)
	})
}

// onnxMetadata is what the graph says of itself.
func (c *Classifier) onnxMetadata() (map[string]string, error) {
	classes, err := json.Marshal(c.Classes)
	if err != nil {
		return nil, err
	}
	m := map[string]string{
		"classes": string(classes), "problem_type": string(c.Config.problem()), "pooling": string(c.Config.Pooling),
		"max_length": strconv.Itoa(c.limit()), "pad_token_id": strconv.Itoa(c.Config.PadTokenID),
		"do_lower_case": strconv.FormatBool(c.Tokenizer.Normalizer().Lowercase),
	}
	if c.Config.Pairs != nil {
		m["pairs"] = strconv.FormatBool(*c.Config.Pairs)
	}
	return m, nil
}

// graph is the whole model in inference.
func (c *Classifier) graph(state []torch.Named) (*onnx.Graph, error) {
	l := bertLayers{onnx.NewLayers("bert", state), c.Config}
	batch, sequence := onnx.Dynamic("batch"), onnx.Dynamic("sequence")
	ids := l.Input("input_ids", onnx.Int64, batch, sequence)
	mask := l.Input("attention_mask", onnx.Int64, batch, sequence)
	types := l.Input("token_type_ids", onnx.Int64, batch, sequence)

	x := l.embed(ids, types, c.Bert.Embeddings)
	added := l.addedMask(mask)
	var err error
	for i, layer := range c.Bert.Encoder.Layer {
		if x, err = l.layer(x, added, fmt.Sprintf("bert.encoder.layer.%d", i), layer); err != nil {
			return nil, err
		}
	}
	if c.Bert.Pooler != nil {
		x = l.Op("Gather", "pool/Gather", []onnx.Value{x, l.Int("pool.first", 0)}, onnx.Attribute{Name: "axis", Value: 1})
		x = l.Linear(x, "bert.pooler.dense")
		x = l.Op("Tanh", "bert.pooler/Tanh", []onnx.Value{x})
	} else {
		x = l.mean(x, mask)
	}
	l.Output(l.Linear(x, "classifier"), "logits", onnx.Float, batch, onnx.Fixed(len(c.Classes)))
	return l.Graph, nil
}

// bertLayers adds the parts of a BERT to a graph. Shapes are [N, T, hidden] unless said otherwise.
type bertLayers struct {
	onnx.Layers
	config Config
}

// embed adds up the embeddings of ids, of types and of positions 0 to T-1, and normalises.
func (l bertLayers) embed(ids, types onnx.Value, e *BertEmbeddings) onnx.Value {
	const key = "bert.embeddings"
	word, kind := l.Embedding(ids, key+".word_embeddings"), l.Embedding(types, key+".token_type_embeddings")

	const position = key + ".position_embeddings"
	shape := l.Op("Shape", position+"/Shape", []onnx.Value{ids})
	length := l.Op("Gather", position+"/Gather", []onnx.Value{shape, l.Ints(position+".sequence", 1)}) // [1]
	table := l.Weight(position+".weight", l.State[position+".weight"])
	rows := l.Op("Slice", position+"/Slice",
		[]onnx.Value{table, l.Ints(position+".start", 0), length, l.Ints(position+".axis", 0)})

	x := l.Op("Add", key+"/Add", []onnx.Value{word, kind})
	x = l.Op("Add", key+"/Add", []onnx.Value{x, rows})
	return l.LayerNorm(x, key+".LayerNorm", e.LayerNorm)
}

// addedMask is what is added to attention scores, [N, 1, 1, T]: 0 for tokens, and the lowest finite number for padding,
// as transformers has it, so that a row of padding alone is no NaN.
func (l bertLayers) addedMask(mask onnx.Value) onnx.Value {
	const key = "attention_mask"
	keep := l.Op("Cast", key+"/Cast", []onnx.Value{mask}, onnx.Attribute{Name: "to", Value: int(onnx.Bool)})
	added := l.Op("Where", key+"/Where",
		[]onnx.Value{keep, l.Scalar(key+".keep", 0), l.Scalar(key+".drop", -math.MaxFloat32)})
	return l.Op("Unsqueeze", key+"/Unsqueeze", []onnx.Value{added, l.Ints(key+".axes", 1, 2)})
}

// layer is BertLayer.Forward.
func (l bertLayers) layer(x, mask onnx.Value, key string, layer *BertLayer) (onnx.Value, error) {
	y := l.attention(x, mask, key+".attention.self", layer.Attention.Self)
	y = l.output(y, x, key+".attention.output", layer.Attention.Output)
	inner := key + ".intermediate"
	wide, err := l.Activation(l.Linear(y, inner+".dense"), inner, l.config.HiddenAct)
	if err != nil {
		return "", err
	}
	return l.output(wide, y, key+".output", layer.Output), nil
}

// output is BertOutput.Forward.
func (l bertLayers) output(x, residual onnx.Value, key string, o *BertOutput) onnx.Value {
	x = l.Op("Add", key+"/Add", []onnx.Value{l.Linear(x, key+".dense"), residual})
	return l.LayerNorm(x, key+".LayerNorm", o.LayerNorm)
}

// attention is BertSelfAttention.Forward: softmax(q k^T / sqrt(d) + mask) v of each head.
func (l bertLayers) attention(x, mask onnx.Value, key string, a *BertSelfAttention) onnx.Value {
	width := l.config.HiddenSize / a.heads
	split := func(name string, order ...int) onnx.Value { // [N, heads, T, width], or another order
		name = key + "." + name
		y := l.Op("Reshape", name+"/Reshape", []onnx.Value{l.Linear(x, name), l.Ints(name+".heads", 0, 0, a.heads, width)})
		return l.Op("Transpose", name+"/Transpose", []onnx.Value{y}, onnx.Attribute{Name: "perm", Value: order})
	}
	q, k, v := split("query", 0, 2, 1, 3), split("key", 0, 2, 3, 1), split("value", 0, 2, 1, 3)
	scores := l.Op("MatMul", key+"/MatMul", []onnx.Value{q, k}) // [N, heads, T, T]
	scores = l.Op("Div", key+"/Div", []onnx.Value{scores, l.Scalar(key+".scale", float32(math.Sqrt(float64(width))))})
	scores = l.Op("Add", key+"/Add", []onnx.Value{scores, mask})
	scores = l.Op("Softmax", key+"/Softmax", []onnx.Value{scores}, onnx.Attribute{Name: "axis", Value: -1})
	y := l.Op("MatMul", key+"/MatMul", []onnx.Value{scores, v})
	y = l.Op("Transpose", key+"/Transpose", []onnx.Value{y}, onnx.Attribute{Name: "perm", Value: []int{0, 2, 1, 3}})
	return l.Op("Reshape", key+"/Reshape", []onnx.Value{y, l.Ints(key+".joined", 0, 0, l.config.HiddenSize)})
}

// mean is the mean of x over the tokens that mask keeps, [N, hidden]; of none, 0.
func (l bertLayers) mean(x, mask onnx.Value) onnx.Value {
	const key = "pool"
	weights := l.Op("Cast", key+"/Cast", []onnx.Value{mask}, onnx.Attribute{Name: "to", Value: int(onnx.Float)})
	count := l.Op("ReduceSum", key+"/ReduceSum", []onnx.Value{weights, l.Ints(key+".sequence", 1)},
		onnx.Attribute{Name: "keepdims", Value: 1})
	count = l.Op("Max", key+"/Max", []onnx.Value{count, l.Scalar(key+".one", 1)})
	weights = l.Op("Div", key+"/Div", []onnx.Value{weights, count})
	weights = l.Op("Unsqueeze", key+"/Unsqueeze", []onnx.Value{weights, l.Ints(key+".row", 1)}) // [N, 1, T]
	x = l.Op("MatMul", key+"/MatMul", []onnx.Value{weights, x})                                 // [N, 1, hidden]
	return l.Op("Squeeze", key+"/Squeeze", []onnx.Value{x, l.Ints(key+".row", 1)})
}
