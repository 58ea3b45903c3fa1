package text

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// LoadClassifier loads a pre-trained BERT from a folder as transformers saves it (config.json, model.safetensors or
// pytorch_model.bin, the tokenizer's files) and gives it a new head, drawn from N(0, initializer_range) with the seed.
// weights names a file to read in place of the folder's; "" reads the folder's.
func LoadClassifier(folder, weights string, head Head, seed uint64) (*Classifier, error) {
	if len(head.Classes) < 2 {
		return nil, fmt.Errorf("a head with %d classes: give two or more", len(head.Classes))
	}
	config, err := ReadConfig(filepath.Join(folder, "config.json"))
	if err != nil {
		return nil, err
	}
	config = config.withClasses(head.Classes, head)
	config.Pairs, config.MaxLength = nil, 0 // what another run trained on
	return load(folder, weights, config, func(c *Classifier) nn.LoadOptions {
		g := torch.NewGenerator(seed)
		c.Linear.Weight.Normal_(0, config.InitializerRange, g)
		c.Linear.Bias.Zero_()
		if c.Bert.Pooler != nil { // for checkpoints without one
			c.Bert.Pooler.Dense.Weight.Normal_(0, config.InitializerRange, g)
			c.Bert.Pooler.Dense.Bias.Zero_()
		}
		return nn.LoadOptions{
			Rename: func(key string) (string, bool) {
				name, keep := canonical(key)
				ours := strings.HasPrefix(name, "bert.") && (c.Bert.Pooler != nil || !strings.HasPrefix(name, "bert.pooler."))
				return name, keep && ours
			},
			Optional: func(key string) bool {
				return strings.HasPrefix(key, "classifier.") || strings.HasPrefix(key, "bert.pooler.")
			},
		}
	})
}

// OpenClassifier loads a classifier with its head, as SaveConfig and transformers' BertForSequenceClassification save
// it. Its scores are made as problem_type of config.json says. Classes without names are LABEL_0, LABEL_1 and so on.
func OpenClassifier(folder, weights string) (*Classifier, error) {
	config, err := ReadConfig(filepath.Join(folder, "config.json"))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, "config.json")
	if err := config.checkHead(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(config.ID2Label) > 0 { // else the weights tell
		if err := config.checkLabels(); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if config.Pooling == "" {
		config.Pooling = CLS
	}
	return load(folder, weights, config, func(*Classifier) nn.LoadOptions {
		return nn.LoadOptions{Rename: canonical}
	})
}

// load makes the model, lets prepare draw what is new, and reads the weights.
func load(folder, weights string, config Config, prepare func(*Classifier) nn.LoadOptions) (_ *Classifier, err error) {
	if weights == "" {
		if weights, err = findWeights(folder); err != nil {
			return nil, err
		}
	}
	if config.Pooling != CLS && config.Pooling != Mean {
		return nil, fmt.Errorf("no pooling is named %q: write cls or mean", config.Pooling)
	}
	tok, err := tokenizer.Load(folder)
	if err != nil {
		return nil, err
	}
	if tok.VocabSize()-len(tok.Implied()) > config.VocabSize {
		return nil, fmt.Errorf("%s: the tokenizer has %d tokens, the model's vocab_size is %d", folder, tok.VocabSize(), config.VocabSize)
	}
	checkpoint, err := torch.OpenCheckpoint(weights)
	if err != nil {
		return nil, err
	}
	defer checkpoint.Close()
	if config, err = config.named(checkpoint); err == nil {
		err = errors.Join(config.checkLabels(), config.near(checkpoint))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, "config.json"), err)
	}
	c := &Classifier{Config: config, Tokenizer: tok, Classes: config.Classes(), Source: weights}
	failure := torch.Try(func() { // memory may not do
		if err = c.allocate(); err != nil {
			err = fmt.Errorf("%s: %w", filepath.Join(folder, "config.json"), err)
			return
		}
		c.Report, err = nn.Load(c, checkpoint, prepare(c))
	})
	if err = errors.Join(err, failure); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// allocate gives the model memory, but no values.
func (c *Classifier) allocate() (err error) {
	if c.Bert, err = newBert(c.Config, c.Config.Pooling == CLS); err != nil {
		return err
	}
	dropout := c.Config.HiddenDropoutProb
	if c.Config.ClassifierDropout != nil {
		dropout = *c.Config.ClassifierDropout
	}
	c.Dropout, c.Linear = &nn.Dropout{P: dropout}, nn.EmptyLinear(c.Config.HiddenSize, len(c.Classes))
	return nil
}

// near refuses a configuration of a model that is far larger than the weights, before memory is asked for. What differs
// less is named key by key when it is loaded.
func (c Config) near(checkpoint *torch.Checkpoint) error {
	stored := 0.0
	for _, name := range checkpoint.Names() {
		shape, _ := checkpoint.Shape(name)
		n := 1.0
		for _, d := range shape {
			n *= float64(d)
		}
		stored += n
	}
	h, wide := float64(c.HiddenSize), float64(c.IntermediateSize)
	asked := h*float64(c.VocabSize+c.MaxPositionEmbeddings+c.TypeVocabSize) + float64(c.NumHiddenLayers)*(4*h*h+2*h*wide)
	if asked > 10*stored+1e6 {
		return fmt.Errorf("it describes a model of %.3g parameters, and %s has %.3g", asked, checkpoint.Path(), stored)
	}
	return nil
}

// canonical gives BertForSequenceClassification's name for a key of any layout that is met: with or without `bert.`,
// TensorFlow's gamma and beta. Heads of pre-training and saved position numbers are passed over.
func canonical(key string) (string, bool) {
	if strings.HasPrefix(key, "cls.") || strings.HasSuffix(key, "position_ids") {
		return "", false
	}
	key = strings.TrimPrefix(key, "model.")
	for _, part := range []string{"embeddings.", "encoder.", "pooler."} {
		if strings.HasPrefix(key, part) {
			key = "bert." + key
		}
	}
	if k, ok := strings.CutSuffix(key, ".gamma"); ok {
		key = k + ".weight"
	}
	if k, ok := strings.CutSuffix(key, ".beta"); ok {
		key = k + ".bias"
	}
	return key, true
}

// findWeights looks for the weights in a model's folder.
func findWeights(folder string) (string, error) {
	names := []string{"model.safetensors", "model.safetensors.index.json", "best.safetensors", "pytorch_model.bin"}
	for _, name := range names {
		path := filepath.Join(folder, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	hint := ""
	if _, err := os.Stat(filepath.Join(folder, "pytorch_model.bin.index.json")); err == nil {
		hint = "; pytorch_model.bin.index.json is not read: save the model as safetensors (save_pretrained of transformers)"
	}
	return "", fmt.Errorf("%s has no weights: looked for %s%s", folder, strings.Join(names, ", "), hint)
}
