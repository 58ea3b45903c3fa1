package text

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Prediction is what a classifier says of a text.
type Prediction = objective.Prediction

// Use moves the model to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, its matrix
// products in a precision ("float32", "bfloat16", "auto"), see [finetune.NewInference]. Without it, Predict runs on the
// CPU in float32.
func (c *Classifier) Use(device, precision string) error {
	c.running.Lock()
	defer c.running.Unlock()
	if c.inference != nil {
		return c.inference.Move(device, precision)
	}
	var err error
	c.inference, err = finetune.NewInference(c, device, precision)
	return err
}

// Inference is where the model predicts, see Use.
func (c *Classifier) Inference() (_ *finetune.Inference[*Batch], err error) {
	c.running.Lock()
	defer c.running.Unlock()
	if c.inference == nil {
		c.inference, err = finetune.NewInference(c, "cpu", "float32")
	}
	return c.inference, err
}

// Predict classifies texts or pairs of texts, as the model was trained, those of like length together. A text is cut
// where it was in training. Where that fails, or ctx ends, the predictions of the items before the first that has none
// are given too.
//
// Any number of goroutines may call Predict at once; the model runs for one of them at a time. Package serve puts the
// requests of many goroutines together.
func (c *Classifier) Predict(ctx context.Context, items []Item, o finetune.PredictOptions) ([]Prediction, error) {
	if c.Tokenizer == nil {
		return nil, errors.New("predicting: the classifier has no tokenizer")
	}
	size, err := o.Size()
	if err != nil {
		return nil, err
	}
	n, err := c.Inference()
	if err != nil {
		return nil, err
	}
	set, err := NewDataset(data.Items[Item](items), c.Tokenizer, c.Config, DatasetOptions{MaxLength: c.limit(), Unlabelled: true})
	if err != nil {
		return nil, err
	}
	asked := data.NewSampler(set, data.SamplerOptions{Size: size}).Evaluation()
	out := make([]Prediction, len(items))
	bad := len(items) // the first that the model gives no finite numbers for, as far as is known
	for len(asked) > 0 {
		done := 0
		err = n.Outputs(ctx, set, asked, func(b *Batch, output nn.Values) error {
			done++
			return c.fill(out, b.Index, output[0], func(k int) { bad = min(bad, b.Index[k]) })
		})
		if !errors.Is(err, errNotFinite) {
			break
		}
		// Batches are in the order of their lengths, so texts before that one may still be to come.
		asked = slices.DeleteFunc(asked[done:], func(r data.Request) bool { return slices.Min(r.Indices) > bad })
	}
	if bad < len(items) && (err == nil || errors.Is(err, errNotFinite)) {
		err = fmt.Errorf("%s: %w: the weights, %s, are damaged", suggest.Quote(items[bad].Text), errNotFinite, c.Source)
	}
	for i := range out {
		if out[i].Logits == nil {
			return out[:i], err
		}
		out[i].Input, out[i].Pair = items[i].Text, items[i].Pair
	}
	return out, err
}

// PredictTexts is Predict of single texts.
func (c *Classifier) PredictTexts(ctx context.Context, texts ...string) ([]Prediction, error) {
	return c.Predict(ctx, Items(texts...), finetune.PredictOptions{})
}

// LimitLength is where Predict cuts a text, in tokens: as in training, or else as transformers cuts it
// (truncation=True).
func (c *Classifier) LimitLength() int { return c.limit() }

func (c *Classifier) limit() int {
	if c.Config.MaxLength > 0 {
		return c.Config.MaxLength
	}
	longest := c.Config.MaxPositionEmbeddings
	if n := c.Tokenizer.MaxLength(); n > 0 {
		longest = min(longest, n)
	}
	return longest
}

var errNotFinite = errors.New("the model gives scores that are no finite numbers")

// fill writes the predictions of a batch to their places. A row of logits that are no finite numbers is given to bad,
// and is an errNotFinite.
func (c *Classifier) fill(out []Prediction, places []int, logits torch.Tensor, bad func(k int)) (err error) {
	values := torch.ToSlice[float32](logits)
	n := logits.Size(1)
	o := c.objective()
	for k, place := range places {
		row := values[k*n : (k+1)*n : (k+1)*n]
		if slices.ContainsFunc(row, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }) {
			bad(k)
			err = errNotFinite
			continue
		}
		out[place] = o.Predict(row)
	}
	return err
}

// Encode tokenises an item as Predict does. Many goroutines may call it at once.
func (c *Classifier) Encode(item Item) (Encoded, error) {
	pairs := item.Pair != ""
	if c.Config.Pairs != nil {
		pairs = *c.Config.Pairs
	}
	limit := c.limit()
	if err := c.Config.CheckTexts(pairs, limit); err != nil {
		return Encoded{}, err
	}
	return encode(item, c.Tokenizer, c.Config, pairs, limit)
}

// servedStep is what the width of a served batch is a multiple of. Kernels are made, and kept, for each shape of a
// batch: with fewer shapes a server's memory stops growing sooner, at the cost of a token and a half of padding a
// text.
const servedStep = 4

// Cost of a text in a batch is the number of tokens that it is padded to at least.
func (c *Classifier) Cost(e Encoded) int {
	return min((e.Len()+servedStep-1)/servedStep*servedStep, c.Config.MaxPositionEmbeddings)
}

// PredictEncoded classifies texts as one batch.
func (c *Classifier) PredictEncoded(ctx context.Context, texts []Encoded) ([]Prediction, error) {
	n, err := c.Inference()
	if err != nil {
		return nil, err
	}
	out := make([]Prediction, len(texts))
	width := 0
	for _, e := range texts {
		width = max(width, c.Cost(e))
	}
	err = n.Batch(ctx, newBatch(texts, width, int64(c.Config.PadTokenID)), func(b *Batch, output nn.Values) error {
		return c.fill(out, b.Index, output[0], func(int) {})
	})
	if errors.Is(err, errNotFinite) {
		err = fmt.Errorf("%w: the weights, %s, are damaged", errNotFinite, c.Source)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}
