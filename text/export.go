package text

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Export writes a folder that transformers' BertForSequenceClassification.from_pretrained and
// AutoTokenizer.from_pretrained load to the same logits: config.json, model.safetensors and the tokenizer's files. The
// folder must not exist yet, its parent must; it is there as a whole or not at all. A classifier with mean pooling, for
// which transformers has no class, is an error.
func (c *Classifier) Export(folder string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("exporting to %s: %w", folder, err)
		}
	}()
	if c.Config.Pooling != CLS {
		return fmt.Errorf("transformers has no class for a classifier with pooling: %s, only for one with pooling: %s",
			c.Config.Pooling, CLS)
	}
	if _, err := os.Lstat(folder); err == nil {
		return errors.New("it exists; nothing is overwritten")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	temporary := filepath.Join(filepath.Dir(folder), atomicfile.TempPrefix+rand.Text()+atomicfile.TempSuffix)
	if err := os.Mkdir(temporary, 0o777); err != nil {
		return fserror.WithoutPath(err) // a name that nobody knows
	}
	defer os.RemoveAll(temporary) // nothing is there once it is renamed
	if err := c.SaveConfig(temporary); err != nil {
		return err
	}
	c.running.Lock()
	defer c.running.Unlock()
	weights, format := filepath.Join(temporary, "model.safetensors"), map[string]string{"format": "pt"}
	torch.Scoped(func() {
		var state []torch.Named
		if state, err = nn.MergedState(c); err == nil {
			err = torch.SaveCheckpoint(weights, state, format) // transformers asks for the format
		}
	})
	if err != nil {
		return err
	}
	return fserror.WithoutPath(os.Rename(temporary, folder))
}
