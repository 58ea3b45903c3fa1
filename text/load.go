package text

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Load loads a pre-trained BERT and gives it a new head. model is a folder, or the name of a model that thaw download,
// or transformers, has brought to this machine; nothing is downloaded. See [LoadClassifier].
func Load(model string, head Head) (*Classifier, error) {
	if _, err := os.Stat(model); err != nil {
		path, failure := hub.Local(model)
		if failure != nil {
			return nil, fmt.Errorf("there is no folder %s, and %w", model, failure)
		}
		model = path
	}
	return LoadClassifier(model, "", head)
}

// LoadClassifier loads a pre-trained BERT from a folder as transformers saves it (config.json, model.safetensors or
// pytorch_model.bin, the tokenizer's files) and gives it a new head, drawn from N(0, initializer_range) with the head's
// seed. weights names a file to read in place of the folder's; "" reads the folder's.
func LoadClassifier(folder, weights string, head Head) (*Classifier, error) {
	if err := head.check(); err != nil {
		return nil, err
	}
	head.Pooling = cmp.Or(head.Pooling, CLS)
	config, err := ReadConfig(filepath.Join(folder, "config.json"))
	if err != nil {
		return nil, err
	}
	config = config.WithHead(head)
	return load(folder, weights, config, func(c *Classifier) nn.LoadOptions {
		g := torch.NewGenerator(head.Seed)
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
	config.ProblemType = config.problem()
	c := &Classifier{Config: config, Tokenizer: tok, Classes: config.Classes(), Source: weights}
	err = torch.TryErr(func() (err error) { // allocation panics when memory runs out
		if err := c.allocate(); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(folder, "config.json"), err)
		}
		c.Report, err = nn.Load(c, checkpoint, prepare(c))
		return err
	})
	if err != nil {
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
	c.Dropout, c.Linear = &nn.Dropout{P: dropout}, nn.EmptyLinear(c.Config.HiddenSize, len(c.Classes), nn.LinearOptions{})
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
