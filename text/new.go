package text

import (
	"cmp"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// BertBase is the shape of bert-base-uncased (Devlin et al. 2018: L=12, H=768, A=12), 110M parameters.
func BertBase() Config { return defaultConfig() }

// NewClassifier makes a classifier that is not pre-trained, and has no tokenizer: weights are drawn from N(0,
// initializer_range) with the head's seed, biases are 0 and norms 1, as transformers does. It serves to measure; for
// training there is [LoadClassifier].
func NewClassifier(config Config, head Head) (*Classifier, error) {
	if err := cmp.Or(head.check(), config.check()); err != nil {
		return nil, err
	}
	head.Pooling = cmp.Or(head.Pooling, CLS)
	c := &Classifier{Config: config.WithHead(head), Classes: head.labels()}
	err := torch.TryErr(func() error { // allocation panics when memory runs out
		if err := c.allocate(); err != nil {
			return err
		}
		g := torch.NewGenerator(head.Seed)
		for key, p := range nn.Params(c) {
			switch {
			case strings.HasSuffix(key, "LayerNorm.weight"):
				p.Fill_(1)
			case strings.HasSuffix(key, ".bias"):
				p.Zero_()
			default:
				p.Normal_(0, config.InitializerRange, g)
			}
		}
		return nil
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// NewSynthetic makes random texts of the given lengths in tokens, with ids below vocabulary, and labels of two classes.
// It serves to measure.
func NewSynthetic(lengths []int, vocabulary int, seed uint64) *Dataset {
	rng := rand.New(rand.NewPCG(seed, 0))
	d := &Dataset{}
	for _, n := range lengths {
		ids := make([]int64, n)
		for i := range ids {
			ids[i] = rng.Int64N(int64(vocabulary))
		}
		d.samples, d.targets.Classes = append(d.samples, Encoded{IDs: ids}), append(d.targets.Classes, rng.IntN(2))
	}
	return d
}

// ShortTexts draws n lengths as short real texts have them, reviews or messages: lognormal with mean 23 tokens, the
// 95th percentile at 54, from 4 to 66.
func ShortTexts(n int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, 1))
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = int(min(max(math.Exp(3+0.6*rng.NormFloat64()), 4), 66))
	}
	return lengths
}
