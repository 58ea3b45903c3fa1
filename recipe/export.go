package recipe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/text"
)

// Format is whose form a model is exported in.
type Format string

// The formats of Export.
const (
	Transformers Format = "transformers" // for from_pretrained: texts with pooling: cls; ResNets but for ResNeXt and wide ones
	Torchvision  Format = "torchvision"  // a state dict for torchvision's constructor: images
	ONNX         Format = "onnx"         // a graph for onnxruntime and others: all
)

// Formats lists the formats.
func Formats() []Format { return []Format{Transformers, Torchvision, ONNX} }

// ParseFormat reads the name of a format. The error says which there are.
func ParseFormat(name string) (Format, error) {
	var names []string
	for _, f := range Formats() {
		if names = append(names, string(f)); name == string(f) {
			return f, nil
		}
	}
	return "", noSuch("there is no format %q%s; there are %s", name, suggest.DidYouMean(name, names), strings.Join(names, ", "))
}

// cardFile is the model card, as hubs show it.
const cardFile = "README.md"

// Export writes the run's best model to a folder, adapters merged into the weights, with a model card, README.md, that
// says what the run knows of itself: data, measures, settings. The folder must not exist yet, its parent must; it is
// there as a whole or not at all. What a format has no form for is an *OpenError that says which one has.
func (r *Run) Export(folder string, to Format) error {
	return exported(folder, func(temporary string) error {
		if err := r.save(temporary, to); err != nil {
			return err
		}
		card, err := r.card(filepath.Base(filepath.Clean(folder)), temporary, to)
		if err != nil {
			return err
		}
		return atomicfile.Write(filepath.Join(temporary, cardFile), func(w io.Writer) error {
			_, err := w.Write(card)
			return err
		})
	})
}

// exported makes a folder whole; what is there already is an *OpenError.
func exported(folder string, fill func(temporary string) error) error {
	err := atomicfile.Folder(folder, fill)
	switch {
	case errors.As(err, new(*OpenError)):
		return err
	case errors.Is(err, atomicfile.ErrExists):
		return noSuch("%s exists; nothing is overwritten", folder)
	case errors.Is(err, fs.ErrNotExist) && !exists(filepath.Dir(filepath.Clean(folder))):
		return noSuch("there is no folder %s to make %s in", filepath.Dir(filepath.Clean(folder)), filepath.Base(folder))
	case err != nil:
		return fmt.Errorf("exporting to %s: %w", folder, err)
	}
	return nil
}

// save implements Model.
func (m *textModel) save(folder string, to Format) error {
	switch to {
	case Transformers:
		err := m.SaveTransformers(folder)
		if errors.As(err, new(*text.PoolingError)) {
			return noSuch("%v: --to onnx holds it, or train with head.pooling: cls", err)
		}
		return err
	case ONNX:
		return m.SaveONNX(folder)
	}
	return noSuch("%s has no network for texts: there are --to %s and --to %s", to, Transformers, ONNX)
}

// save implements Model.
func (m *imageModel) save(folder string, to Format) error {
	switch to {
	case Transformers:
		if !m.HasTransformers() {
			return noSuch("transformers has no class for a %s: --to %s and --to %s have one", m.Net.Architecture, Torchvision, ONNX)
		}
		return m.SaveTransformers(folder)
	case Torchvision:
		return m.SaveTorchvision(folder)
	case ONNX:
		return m.SaveONNX(folder)
	}
	return noSuch("there is no format %q", to)
}

// ExportAdapters writes the best adapters of a run folder by themselves, as PEFT's PeftModel.from_pretrained reads
// them. The folder must not exist yet, its parent must. A run that has trained no adapters, or that is none, is an
// *OpenError.
func ExportAdapters(run, folder string) error {
	from := filepath.Join(run, finetune.WeightsDir, finetune.AdapterDir)
	if !IsRun(run) {
		return noSuch("%q is no run folder", run)
	}
	if !exists(from) {
		return noSuch("%s has trained no adapters: it has no %s", run, filepath.Join(finetune.WeightsDir, finetune.AdapterDir))
	}
	return exported(folder, func(temporary string) error {
		for _, name := range []string{"adapter_config.json", "adapter_model.safetensors"} {
			if err := copyFile(filepath.Join(from, name), filepath.Join(temporary, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// copyFile copies a file.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("%s: %w", from, fserror.WithoutPath(err))
	}
	defer in.Close()
	return atomicfile.Write(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// task implements Model.
func (m *textModel) task() (pipeline, called string) {
	kind := cmp.Or(m.Config.ProblemType, text.SingleLabel)
	return "text-classification", describedTask(string(kind), "texts", m.Name())
}

// task implements Model.
func (m *imageModel) task() (pipeline, called string) {
	kind := cmp.Or(m.ProblemType, text.SingleLabel)
	return "image-classification", describedTask(string(kind), "images", m.Name())
}

func describedTask(problem, samples, model string) string {
	verb := map[string]string{
		string(text.SingleLabel): "sorts %s into one of several classes",
		string(text.MultiLabel):  "gives %s any number of labels",
		string(text.Regression):  "gives %s a number",
	}[problem]
	return fmt.Sprintf("A model (%s) that "+verb+".", model, samples)
}
