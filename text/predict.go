package text

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/torch"
)

// Item is what a classifier reads at once: a text, or a pair of texts.
type Item struct {
	Text, Pair string
}

// Prediction is what a classifier says of a text.
type Prediction struct {
	Input  string             `json:"input"`
	Pair   string             `json:"pair,omitempty"` // the second text of a pair
	Label  string             `json:"label"`          // the class of the highest logit
	Scores map[string]float64 `json:"scores"`         // by class: of the logits the softmax, or what [ProblemType] says
	Logits []float32          `json:"logits"`         // in the order of the classes
}

// Use moves the model to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, its matrix
// products in a precision ("float32", "bfloat16", "auto"), see [finetune.NewInference]. Without it, Predict runs on the
// CPU in float32.
func (c *Classifier) Use(device, precision string) error {
	c.running.Lock()
	defer c.running.Unlock()
	return c.use(device, precision)
}

func (c *Classifier) use(device, precision string) (err error) {
	if c.inference != nil {
		return c.inference.Move(device, precision)
	}
	c.inference, err = finetune.NewInference(c, device, precision)
	return err
}

// Predict is PredictItems of single texts.
func (c *Classifier) Predict(ctx context.Context, texts []string, batchSize int) ([]Prediction, error) {
	items := make([]Item, len(texts))
	for i, t := range texts {
		items[i].Text = t
	}
	return c.PredictItems(ctx, items, batchSize)
}

// PredictItems classifies texts or pairs of texts, as the model was trained, batchSize at a time, those of like length
// together. A text is cut where it was in training. Where that fails, or ctx ends, the predictions of the items before
// the first that has none are given too.
//
// Any number of goroutines may call Predict and PredictItems at once; the model runs for one of them at a time.
func (c *Classifier) PredictItems(ctx context.Context, items []Item, batchSize int) ([]Prediction, error) {
	if c.Tokenizer == nil {
		return nil, errors.New("predicting: the classifier has no tokenizer")
	}
	table, err := c.table(items)
	if err != nil {
		return nil, err
	}
	data, err := NewDataset(table, c.Tokenizer, nil, c.limit(), c.Config)
	if err != nil {
		return nil, err
	}
	c.running.Lock()
	defer c.running.Unlock()
	if c.inference == nil {
		if err := c.use("cpu", "float32"); err != nil {
			return nil, err
		}
	}
	return c.predict(ctx, items, data, finetune.SortedBatches(data, batchSize))
}

// limit is where a text is cut: as in training, or else as transformers cuts it (truncation=True).
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

// table holds the items, all single texts or all pairs, whichever the model was trained on.
func (c *Classifier) table(items []Item) (*corpus.Table, error) {
	table := &corpus.Table{}
	pairs := len(items) > 0 && items[0].Pair != ""
	trained := ""
	if c.Config.Pairs != nil {
		pairs = *c.Config.Pairs
		trained = ", and the model was trained on single texts"
		if pairs {
			trained = ", and the model was trained on pairs of texts"
		}
	} else if len(items) > 0 {
		trained = ", and " + suggest.Quote(items[0].Text) + " has none"
		if pairs {
			trained = ", and " + suggest.Quote(items[0].Text) + " has one"
		}
	}
	if pairs {
		table.Columns.Pair = "pair"
	}
	for _, item := range items {
		switch {
		case pairs && item.Pair == "":
			return nil, fmt.Errorf("%s has no second text%s", suggest.Quote(item.Text), trained)
		case !pairs && item.Pair != "":
			return nil, fmt.Errorf("%s has a second text, %s%s", suggest.Quote(item.Text), suggest.Quote(item.Pair), trained)
		}
		table.Rows = append(table.Rows, corpus.Row{Text: item.Text, Pair: item.Pair})
	}
	return table, nil
}

// predict runs the batches that are asked for of the items, which data holds as tokens.
func (c *Classifier) predict(
	ctx context.Context, items []Item, data *Dataset, asked []finetune.Request,
) (_ []Prediction, err error) {
	out := make([]Prediction, len(items))
	first := len(items) // that the model fails at, as far as is known
	for len(asked) > 0 {
		done := 0
		err = c.inference.Outputs(ctx, data, asked, func(b *Batch, logits torch.Tensor) error {
			done++
			if worst := c.fill(out, items, b, logits); worst < first {
				first = worst
				return errNotFinite
			}
			return nil
		})
		if !errors.Is(err, errNotFinite) {
			break
		}
		// Batches are in the order of their lengths, so texts before that one may still be to come.
		asked = slices.DeleteFunc(asked[done:], func(r finetune.Request) bool { return slices.Min(r.Indices) > first })
	}
	if err == nil && first < len(items) {
		err = errNotFinite
	}
	if errors.Is(err, errNotFinite) {
		err = fmt.Errorf("%s: %w: the weights, %s, are damaged", suggest.Quote(items[first].Text), errNotFinite, c.Source)
	}
	if unknown := slices.IndexFunc(out, func(p Prediction) bool { return p.Scores == nil }); unknown >= 0 {
		out = out[:unknown]
	}
	return out, err
}

var errNotFinite = errors.New("the model gives scores that are no finite numbers")

// fill writes the predictions for a batch. It gives the first text whose scores are no finite numbers, which has none,
// and len(items) where there is none such.
func (c *Classifier) fill(out []Prediction, items []Item, b *Batch, logits torch.Tensor) (worst int) {
	scores := torch.ToSlice[float64](c.Config.ProblemType.scores(logits.To(torch.Float64)))
	raw := torch.ToSlice[float32](logits)
	n := len(c.Classes)
	worst = len(items)
	for k, i := range b.Index {
		if slices.ContainsFunc(raw[k*n:(k+1)*n], func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }) {
			worst = min(worst, i)
			continue
		}
		p := Prediction{Input: items[i].Text, Pair: items[i].Pair, Scores: map[string]float64{}, Logits: raw[k*n : (k+1)*n]}
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

// scores maps logits [N, classes] to scores, as transformers' pipeline does.
func (p ProblemType) scores(logits torch.Tensor) torch.Tensor {
	switch p {
	case MultiLabel:
		return logits.Sigmoid()
	case Regression:
		return logits
	}
	return logits.Softmax(1)
}

// RunWeights is the folder inside a run folder that OpenClassifier reads.
func RunWeights(run string) string { return filepath.Join(run, "weights") }

// OpenRun opens a run's best model and the rows that it is measured on: those of file, or the run's own test rows.
func OpenRun(run, file string) (*Classifier, *Dataset, error) {
	spec, err := finetune.ReadSpec(filepath.Join(run, "spec.yaml"))
	if err != nil {
		return nil, nil, fmt.Errorf("%s is no run folder: %w", run, err)
	}
	var table *corpus.Table
	if own, ok := spec.Data.TestFile(); file == "" && ok { // the training rows may be gone
		file = own
	}
	if file != "" {
		table, err = corpus.Open(file, textColumns(&spec))
	} else {
		_, table, err = openData(&spec)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("the test rows of %s: %w: name a file with --data", run, err)
	}
	if err != nil {
		return nil, nil, err
	}
	if len(table.Rows) == 0 {
		return nil, nil, fmt.Errorf("%s has no test rows: name a file with --data", run)
	}
	model, err := OpenClassifier(RunWeights(run), "")
	if err != nil {
		return nil, nil, err
	}
	data, err := NewDataset(table, model.Tokenizer, model.Classes, spec.Data.MaxLength, model.Config)
	if err != nil {
		model.Close()
		return nil, nil, err
	}
	return model, data, nil
}
