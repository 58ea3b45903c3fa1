package text

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Export writes a folder as SaveTransformers does. The folder must not exist yet, its parent must; it is there as a
// whole or not at all.
func (c *Classifier) Export(folder string) error {
	if err := atomicfile.Folder(folder, c.SaveTransformers); err != nil {
		return fmt.Errorf("exporting to %s: %w", folder, err)
	}
	return nil
}

// PoolingError says that transformers has no class for a classifier, because of its pooling.
type PoolingError struct{ Pooling Pooling }

func (e *PoolingError) Error() string {
	return fmt.Sprintf("transformers has no class for a classifier with pooling: %s, only for one with pooling: %s", e.Pooling, CLS)
}

// SaveTransformers writes a folder, which is made if need be, that transformers'
// BertForSequenceClassification.from_pretrained and AutoTokenizer.from_pretrained load to the same logits: config.json,
// model.safetensors and the tokenizer's files. Adapters are merged into the weights. A classifier with mean pooling is
// a *PoolingError.
func (c *Classifier) SaveTransformers(folder string) error {
	if c.Config.Pooling != CLS {
		return &PoolingError{c.Config.Pooling}
	}
	if err := c.saveBeside(folder); err != nil {
		return err
	}
	c.running.Lock()
	defer c.running.Unlock()
	return torch.ScopedErr(func() error {
		state, err := nn.MergedState(c)
		if err != nil {
			return err
		}
		format := map[string]string{"format": "pt"} // transformers asks for it
		return torch.SaveCheckpoint(filepath.Join(folder, "model.safetensors"), state, format)
	})
}

// saveBeside writes what other programs read beside the weights: config.json and the tokenizer's files, of which all
// are made that programs look for.
func (c *Classifier) saveBeside(folder string) error {
	if c.Tokenizer == nil {
		return errors.New("the classifier has no tokenizer to save")
	}
	if err := c.Tokenizer.Export(folder, c.limit()); err != nil {
		return err
	}
	return c.Config.write(folder)
}
