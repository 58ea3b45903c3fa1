package finetune

import (
	"path/filepath"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// AdapterDir is the folder within WeightsDir with the adapters of a run that trains some, as PEFT reads them.
const AdapterDir = "adapter"

// AdapterSaver writes adapters by themselves into a folder, as *lora.Adapters do.
type AdapterSaver interface{ Save(folder string) error }

// Adapters is the folder with the adapters.
func (f *Folder) Adapters() string { return filepath.Join(f.Weights(), AdapterDir) }

// saveWeights writes the model's weights with the adapters merged into them, so that the file loads as any model does,
// and where these weights are the best the adapters themselves. It gives the weights' file; "" without a folder.
func (r *run[B]) saveWeights(name string) (path string, err error) {
	folder := r.options.Folder
	if folder == nil {
		return "", nil
	}
	torch.Scoped(func() {
		var state []torch.Named
		if state, err = nn.MergedStageState(r.forward.Stages); err == nil {
			path, err = folder.saveWeights(name, state)
		}
	})
	if err == nil && r.options.Adapters != nil && name == "best" {
		err = r.options.Adapters.Save(folder.Adapters())
	}
	return path, err
}
