package text

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/torch"
	tdata "github.com/thaw-ml/thaw/torch/data"
)

// Prediction is what a classifier says of a text.
type Prediction struct {
	Input  string             `json:"input"`
	Label  string             `json:"label"`
	Scores map[string]float64 `json:"scores"` // softmax of the logits, by class
	Logits []float32          `json:"logits"` // in the order of the classes
}

// Use moves the model to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, its matrix products in
// a precision ("float32", "bfloat16", "auto"), see [finetune.NewInference]. Without it, Predict runs on the CPU in float32.
func (c *Classifier) Use(device, precision string) (err error) {
	if c.inference != nil {
		return c.inference.Move(device, precision)
	}
	c.inference, err = finetune.NewInference(c, device, precision)
	return err
}

// Predict classifies texts, batchSize at a time, those of like length together. A text is cut where it was in training.
// Where it fails, or ctx ends, the predictions of the texts before the first that has none are given too.
func (c *Classifier) Predict(ctx context.Context, texts []string, batchSize int) ([]Prediction, error) {
	limit := c.Config.MaxLength
	if limit == 0 {
		limit = c.Config.MaxPositionEmbeddings
	}
	table := &corpus.Table{}
	for _, t := range texts {
		table.Rows = append(table.Rows, corpus.Row{Text: t})
	}
	data, err := NewDataset(table, c.Tokenizer, nil, limit, c.Config.PadTokenID)
	if err != nil {
		return nil, err
	}
	if c.inference == nil {
		if err := c.Use("cpu", "float32"); err != nil {
			return nil, err
		}
	}
	return c.predict(ctx, texts, data, tdata.NewSampler(data, tdata.SamplerOptions{Size: batchSize}).Evaluation())
}

// predict runs the batches that are asked for of the texts, which data holds as tokens.
func (c *Classifier) predict(ctx context.Context, texts []string, data *Dataset, asked []tdata.Request) (_ []Prediction, err error) {
	out := make([]Prediction, len(texts))
	first := len(texts) // that the model fails at, as far as is known
	for len(asked) > 0 {
		done := 0
		err = c.inference.Outputs(ctx, data, asked, func(b *Batch, logits torch.Tensor) error {
			done++
			if worst := c.fill(out, texts, b, logits); worst < first {
				first = worst
				return errNotFinite
			}
			return nil
		})
		if !errors.Is(err, errNotFinite) {
			break
		}
		// Batches are in the order of their lengths, so texts before that one may still be to come.
		asked = slices.DeleteFunc(asked[done:], func(r tdata.Request) bool { return slices.Min(r.Indices) > first })
	}
	if err == nil && first < len(texts) {
		err = errNotFinite
	}
	if errors.Is(err, errNotFinite) {
		err = fmt.Errorf("%s: %w: the weights, %s, are damaged", suggest.Quote(texts[first]), errNotFinite, c.Source)
	}
	if unknown := slices.IndexFunc(out, func(p Prediction) bool { return p.Scores == nil }); unknown >= 0 {
		out = out[:unknown]
	}
	return out, err
}

var errNotFinite = errors.New("the model gives scores that are no finite numbers")

// fill writes the predictions for a batch. It gives the first text whose scores are no finite numbers, which has none, and
// len(texts) where there is none such.
func (c *Classifier) fill(out []Prediction, texts []string, b *Batch, logits torch.Tensor) (worst int) {
	scores := torch.ToSlice[float64](logits.To(torch.Float64).Softmax(1))
	raw := torch.ToSlice[float32](logits)
	n := len(c.Classes)
	worst = len(texts)
	for k, i := range b.Index {
		if slices.ContainsFunc(raw[k*n:(k+1)*n], func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }) {
			worst = min(worst, i)
			continue
		}
		p := Prediction{Input: texts[i], Scores: map[string]float64{}, Logits: raw[k*n : (k+1)*n]}
		best := 0
		for j, class := range c.Classes {
			p.Scores[class] = scores[k*n+j]
			if p.Logits[j] > p.Logits[best] {
				best = j
			}
		}
		p.Label = c.Classes[best]
		out[i] = p
	}
	return worst
}

// RunWeights is the folder inside a run folder that OpenClassifier reads.
func RunWeights(run string) string { return filepath.Join(run, "weights") }
