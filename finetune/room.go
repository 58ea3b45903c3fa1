package finetune

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// outOfMemory reports whether memory ran short, of the CPU or of a GPU.
func outOfMemory(err error) bool {
	e, ok := errors.AsType[*torch.Error](err)
	return ok && e.Kind == torch.OutOfMemory
}

// mendMemory adds to an error that memory ran short what of the spec makes a run take less.
func (s *Spec) mendMemory(err error) error {
	if !outOfMemory(err) {
		return err
	}
	keys := fmt.Sprintf("batch.size (now %d; in evaluation batch.eval_size, %d)", s.Batch.Size, s.Batch.EvalSize)
	switch {
	case s.Pictures != nil && s.Pictures.Size > 0:
		keys += fmt.Sprintf(", pictures.size (%d)", s.Pictures.Size)
	case s.Pictures == nil && s.Data.MaxLength > 0:
		keys += fmt.Sprintf(", data.max_length (%d)", s.Data.MaxLength)
	}
	return fmt.Errorf("%w; a smaller %s, or fewer trained stages, take less", err, keys)
}
