package text

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Pooling says how a text's tokens become one vector.
type Pooling string

// The ways of pooling.
const (
	CLS  Pooling = "cls"  // the pooler's projection of the first token, as BertForSequenceClassification
	Mean Pooling = "mean" // the mean over the text's tokens, as sentence-transformers
)

// Classifier is a BERT with a head, keys as in transformers' BertForSequenceClassification.
type Classifier struct {
	Bert    *Bert       `torch:"bert"`
	Dropout *nn.Dropout `torch:""`
	Linear  *nn.Linear  `torch:"classifier"` // [classes, hidden]

	Config    Config
	Tokenizer *tokenizer.Tokenizer
	Classes   []string
	Report    nn.LoadReport // how the weights met the model
	Source    string        // the weights' file

	running   sync.Mutex                  // guards inference
	inference *finetune.Inference[*Batch] // where Predict runs, see Use
}

// Stages are the embeddings, the layers, the pooling, and the head. Hidden states are [N, T, hidden], behind the
// pooling [N, hidden]; the head gives logits [N, classes].
func (c *Classifier) Stages() []nn.Stage[*Batch] {
	stages := []nn.Stage[*Batch]{{
		Name: "embeddings", Module: c.Bert.Embeddings, Key: "bert.embeddings.",
		Forward: func(b *Batch, _ nn.Values) nn.Values {
			return nn.Values{c.Bert.Embeddings.Forward(b.ids(), b.types())}
		},
	}}
	layers := c.Bert.Encoder.Layer
	for i, layer := range layers {
		stage := nn.Stage[*Batch]{
			Name: fmt.Sprintf("layer.%d", i), Module: layer, Key: fmt.Sprintf("bert.encoder.layer.%d.", i),
			Forward: func(b *Batch, in nn.Values) nn.Values { return nn.Values{layer.Forward(in[0], b.attentionMask())} },
		}
		if i == len(layers)-1 && c.Bert.Pooler != nil { // the pooler reads no token but the first
			stage.ForwardWithNext = func(b *Batch, in nn.Values) nn.Values {
				return nn.Values{c.pool(b, layer.ForwardFirst(in[0], b.attentionMask()))}
			}
		}
		stages = append(stages, stage)
	}
	return append(stages,
		nn.Stage[*Batch]{Name: "pool", PerSample: true, Forward: func(b *Batch, in nn.Values) nn.Values {
			return nn.Values{c.pool(b, in[0])}
		}},
		nn.Stage[*Batch]{Name: "head", Module: &head{c.Bert.Pooler, c.Dropout, c.Linear}, Forward: func(_ *Batch, in nn.Values) nn.Values {
			return nn.Values{c.classify(in[0])}
		}})
}

// head views what is behind the last layer as one module.
type head struct {
	Pooler  *BertPooler `torch:"bert.pooler"`
	Dropout *nn.Dropout `torch:""`
	Linear  *nn.Linear  `torch:"classifier"`
}

// pool gives what the head reads of a text's tokens, [N, hidden].
func (c *Classifier) pool(b *Batch, x torch.Tensor) torch.Tensor {
	if c.Bert.Pooler != nil {
		return x.Select(1, 0)
	}
	x = b.MeanWeights().BMM(x).Squeeze() // [N, hidden], or [hidden] for one text
	return x.View(b.Size(), -1)
}

func (c *Classifier) classify(x torch.Tensor) torch.Tensor {
	if c.Bert.Pooler != nil {
		x = c.Bert.Pooler.Forward(x)
	}
	return c.Linear.Forward(c.Dropout.Forward(x))
}

// MaxLength is how many tokens a text may have.
func (c *Classifier) MaxLength() int { return c.Config.MaxPositionEmbeddings }

// Objective is what the head was made for.
func (c *Classifier) Objective() train.Objective { return c.objective() }

func (c *Classifier) objective() objective.Objective {
	return objective.New(c.Config.ProblemType, c.Classes)
}

// Logits runs the whole model on a batch: [N, classes].
func (c *Classifier) Logits(b *Batch) torch.Tensor { return nn.RunStages(c.Stages(), b, nil)[0] }

// SaveConfig writes what belongs beside the weights: config.json and the tokenizer's files.
func (c *Classifier) SaveConfig(folder string) error {
	if c.Tokenizer == nil {
		return errors.New("the classifier has no tokenizer to save")
	}
	if err := c.Config.write(folder); err != nil {
		return err
	}
	return c.Tokenizer.Save(folder)
}

// Close frees the model, once no prediction runs.
func (c *Classifier) Close() {
	c.running.Lock()
	defer c.running.Unlock()
	if n := c.inference; n != nil {
		c.inference = nil
		_ = n.Close() // a device that fails here has failed before, and was reported
	}
	nn.Close(c)
}

// Name says what the model is, for people: "BERT, 6 layers of 384".
func (c *Classifier) Name() string {
	return fmt.Sprintf("%s, %d layers of %d", strings.ToUpper(c.Config.ModelType), c.Config.NumHiddenLayers, c.Config.HiddenSize)
}
