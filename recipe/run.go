package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision/detection"
)

// configFile is in the folder of weights, which is one that transformers reads.
const configFile = "config.json"

// OpenError says that what was to be opened is not there, or is something else.
type OpenError struct{ msg string }

func (e *OpenError) Error() string { return e.msg }

func noSuch(format string, args ...any) error { return &OpenError{fmt.Sprintf(format, args...)} }

// Model is a trained model. It is used from one goroutine at a time.
type Model interface {
	// Use moves the model to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, in a
	// precision ("float32", "bfloat16", "auto"). A value that is none of these is a *SpecError of the key "device" or
	// "precision".
	Use(device, precision string) error
	// Predict classifies inputs; beside an error, the predictions of the inputs before the one at fault.
	Predict(ctx context.Context, inputs []Input, o finetune.PredictOptions) ([]Prediction, error)
	// Pairs reports whether an input is two texts.
	Pairs() bool
	// Together is how many batches of inputs Predict likes to be given at once, so that those of like length share one.
	Together() int
	// Labels are the classes in the order of the logits; none for a regression.
	Labels() []string
	// save writes the model in a format to a folder that is there, without a model card.
	save(folder string, to Format) error
	// task says what the model does: what hubs call it, and a sentence.
	task() (pipeline, sentence string)
	// use is a program in Python that uses what save wrote, and a sentence on what it gives.
	use(folder string, to Format) (program, after string)
	// Close frees the model.
	Close()
}

// Input is what a model predicts from: a text, a pair of texts, or the path of an image.
type Input struct {
	Text string `json:"text"`
	Pair string `json:"pair,omitempty"` // the second text
}

// Prediction is what a model says of an input. It can be written as JSON.
type Prediction = objective.Prediction

// Run is a run folder with its best model.
type Run struct {
	Model
	Folder string
	kind   kind
}

// OpenRun opens the best model of a run folder, whether the program left it or a Go program's finetune.Fit. A folder
// that is none is an *OpenError.
func OpenRun(folder string) (*Run, error) {
	if _, err := os.Stat(folder); err != nil {
		return nil, noSuch("there is no run folder %q", folder)
	}
	weights := filepath.Join(folder, finetune.WeightsDir)
	modelType, err := readModelType(weights)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noSuch("%q is no run folder: it has no %s", folder, filepath.Join(finetune.WeightsDir, configFile))
	}
	if err != nil {
		return nil, err
	}
	k, err := kindOf(modelType)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(weights, configFile), err)
	}
	model, err := k.openWeights(weights)
	if err != nil {
		return nil, err
	}
	return &Run{model, folder, k}, nil
}

// IsRun reports whether a folder is a run folder.
func IsRun(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, finetune.WeightsDir, configFile))
	return err == nil
}

// readModelType reads model_type of the config.json in a folder.
func readModelType(folder string) (string, error) {
	path := filepath.Join(folder, configFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var config struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return config.ModelType, nil
}

// Spec reads the spec that the run was made from; a run that a Go program made has none, which is an error that is
// fs.ErrNotExist.
func (r *Run) Spec() (*Spec, error) {
	s, err := Read(filepath.Join(r.Folder, finetune.SpecFile))
	if err != nil {
		return nil, fmt.Errorf("the spec of %s: %w", r.Folder, err)
	}
	return &s, nil
}

// EvalOptions say on what to measure a run's best model, and where.
type EvalOptions struct {
	Data      string  // a table, or for images also a folder or an idx file; "" is the run's own test data
	Columns   Columns // of Data, each in place of the spec's
	Device    string  // "cpu", "cuda", "cuda:1", or "auto"
	Precision string  // "float32", "bfloat16", or "auto"
	Batch     int     // samples at a time; 0 is 64, or 4 pictures of a detector
	// Detections is a file to leave in what a detector finds, in COCO's result format; "" is none.
	Detections string
}

// Evaluate measures the model. A run without a spec, which a Go program left, needs Data and, where that is a table,
// Columns.
func (r *Run) Evaluate(ctx context.Context, o EvalOptions) (*metric.Score, error) {
	if o.Detections != "" && r.kind.name() != (boxes{}).name() {
		return nil, noSuch("%s is no detector, and has no detections to write", r.Folder)
	}
	return r.kind.evaluate(ctx, r, o)
}

// source is where an evaluation's data comes from: the options, and where those leave something out the spec, which a
// run of a Go program lacks.
func (r *Run) source(o EvalOptions) (*Spec, error) {
	s, err := r.Spec()
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.Data == "":
		return nil, noSuch("%s has no %s, so its test data is not known: name some with --data", r.Folder, finetune.SpecFile)
	case errors.Is(err, fs.ErrNotExist):
		s = &Spec{}
	case err != nil:
		return nil, err
	}
	for _, c := range []struct{ to, from *string }{
		{&s.Data.Columns.Text, &o.Columns.Text}, {&s.Data.Columns.Pair, &o.Columns.Pair},
		{&s.Data.Columns.Image, &o.Columns.Image}, {&s.Data.Columns.Label, &o.Columns.Label},
	} {
		if *c.from != "" {
			*c.to = *c.from
		}
	}
	return s, nil
}

// columnsMissing says which columns a table of a run without a spec needs.
func (r *Run) columnsMissing(path string, columns ...string) error {
	for i := 0; i < len(columns); i += 2 {
		if columns[i+1] == "" {
			why := "has no " + finetune.SpecFile
			if _, err := os.Stat(filepath.Join(r.Folder, finetune.SpecFile)); err == nil {
				why = "was trained on no table" // but a folder, say
			}
			return noSuch("%s %s, so the columns of %s are not known: name them, as in --columns %s", r.Folder, why, path, columnsExample(columns))
		}
	}
	return nil
}

func columnsExample(columns []string) (s string) {
	for i := 0; i < len(columns); i += 2 {
		if i > 0 {
			s += ","
		}
		s += columns[i] + "=NAME"
	}
	return s
}

// OpenModel opens a model that predicts as it is: a folder with config.json, a checkpoint file of images, or the name
// of a model that was downloaded. weights is a file in place of the model's own; "" is the model's own. What is not
// there is an *OpenError.
func OpenModel(model, weights string) (Model, error) {
	info, err := os.Stat(model)
	if errors.Is(err, fs.ErrNotExist) && weights == "" {
		if m, err := hub.Find(model); err == nil {
			if err := CanTrain(m); err != nil {
				return nil, noSuch("%v", err)
			}
			if k := trainer(m); !k.hasHead(m) {
				return nil, noSuch("%s is an encoder without a head: fine-tune it first (thaw train)", model)
			}
		}
		path, failure := hub.Local(model)
		if failure != nil {
			return nil, noSuch("there is no file or folder %s, and %v", model, failure)
		}
		model = path
		info, err = os.Stat(model)
	}
	if err == nil && info.IsDir() && weights == "" && onlyONNX(model) {
		return nil, noSuch("%s was exported for ONNX, which Thaw writes and does not read: name the run", model)
	}
	if err == nil && info.IsDir() {
		modelType, err := readModelType(model)
		switch {
		case err == nil:
			k, err := kindOf(modelType)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", filepath.Join(model, configFile), err)
			}
			return k.openModel(model, weights)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	// Of pictures alone there are checkpoints without a config.
	if err == nil && !info.IsDir() && weights == "" && detection.IsDetector(model) {
		return boxes{}.openModel(model, weights)
	}
	return images{}.openModel(model, weights)
}

// onlyONNX reports whether a folder has a graph and no weights that are read.
func onlyONNX(folder string) bool {
	_, err := torch.FindWeights(folder)
	return err != nil && exists(filepath.Join(folder, text.ONNXFile))
}

// trainer is the kind that trains a model of the registry.
func trainer(m hub.Model) kind {
	for _, k := range kinds {
		if m.Kind == k.registered() {
			return k
		}
	}
	return nil
}

// chosenDevice checks a device and a precision, and chooses those that are "auto".
func chosenDevice(device, precision string) (string, string, error) {
	s := Spec{Device: device, Precision: precision}
	err := s.ChooseDevice()
	if s.Precision == "auto" { // which is for runs
		s.Precision = torch.Float32.String()
	}
	return s.Device, s.Precision, err
}

// String is an input on one line.
func (in Input) String() string {
	if in.Pair == "" {
		return in.Text
	}
	return in.Text + "\t" + in.Pair
}
