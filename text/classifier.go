package text

import (
	"errors"
	"fmt"
	"sync"

	"github.com/thaw-ml/thaw/finetune"
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

// Head is the new part of a classifier.
type Head struct {
	Classes []string
	Pooling Pooling
	Dropout *float64 // before the last layer; nil: the model's own
}

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

	running   sync.Mutex                  // guards inference and what runs there
	inference *finetune.Inference[*Batch] // where Predict runs, see Use
}

// Stages are the embeddings, the layers, the pooling, and the head.
func (c *Classifier) Stages() []finetune.Stage {
	stages := []finetune.Stage{{Name: "embeddings", Module: c.Bert.Embeddings, Prefix: "bert.embeddings."}}
	for i, layer := range c.Bert.Encoder.Layer {
		stages = append(stages, finetune.Stage{
			Name: fmt.Sprintf("layer.%d", i), Module: layer, Prefix: fmt.Sprintf("bert.encoder.layer.%d.", i),
		})
	}
	return append(stages, finetune.Stage{Name: "pool", Module: &struct{}{}, Pooled: true},
		finetune.Stage{Name: "head", Module: &head{c.Bert.Pooler, c.Dropout, c.Linear}})
}

// head views what is behind the last layer as one module.
type head struct {
	Pooler  *BertPooler `torch:"bert.pooler"`
	Dropout *nn.Dropout `torch:""`
	Linear  *nn.Linear  `torch:"classifier"`
}

// Forward runs the stages from (included) to to (not included). x is the output of the stage before, undefined for
// stage 0: [N, T, hidden], behind the pooling [N, hidden]; the head gives logits [N, classes].
func (c *Classifier) Forward(b *Batch, x torch.Tensor, from, to int) torch.Tensor {
	layers := c.Bert.Encoder.Layer
	var mask torch.Tensor
	if from <= len(layers) && to > 1 {
		mask = b.attentionMask()
	}
	for stage := from; stage < to; stage++ {
		y := lean(func() torch.Tensor {
			switch {
			case stage == 0:
				return c.Bert.Embeddings.Forward(b.ids(), b.types())
			case stage == len(layers) && to > stage+1 && c.Bert.Pooler != nil:
				return layers[stage-1].ForwardFirst(x, mask) // the pooler reads no other token
			case stage <= len(layers):
				return layers[stage-1].Forward(x, mask)
			case stage == len(layers)+1:
				return c.pool(b, x)
			}
			return c.classify(x)
		})
		if stage > from { // the caller's x is not ours to close
			x.Close()
		}
		x = y
	}
	return x
}

// lean frees at once what f made besides its result: a scope alone would hold every activation until it ends, also
// those that no gradient needs.
func lean(f func() torch.Tensor) torch.Tensor {
	var y torch.Tensor
	torch.Scoped(func() { y = torch.Keep(f()) })
	defer y.Close()
	return y.Alias() // owned by the caller's scope
}

// pool gives what the head reads of a text's tokens, [N, hidden].
func (c *Classifier) pool(b *Batch, x torch.Tensor) torch.Tensor {
	if c.Bert.Pooler != nil {
		return x.Select(1, 0)
	}
	x = b.meanWeights().BMM(x).Squeeze() // [N, hidden], or [hidden] for one text
	return x.View(b.Size(), -1)
}

func (c *Classifier) classify(x torch.Tensor) torch.Tensor {
	if c.Bert.Pooler != nil {
		x = c.Bert.Pooler.Forward(x)
	}
	return c.Linear.Forward(c.Dropout.Forward(x))
}

// Longest is how many tokens a text may have.
func (c *Classifier) Longest() int { return c.Config.MaxPositionEmbeddings }

// Loss is the mean cross-entropy of logits [N, classes].
func (c *Classifier) Loss(b *Batch, logits torch.Tensor, smoothing float64) torch.Tensor {
	return nn.CrossEntropy(logits, b.labels(), smoothing)
}

// Logits runs the whole model.
func (c *Classifier) Logits(b *Batch) torch.Tensor {
	return c.Forward(b, torch.Tensor{}, 0, len(c.Bert.Encoder.Layer)+3)
}

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
