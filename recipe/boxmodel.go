package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
)

// Finder is a Model that finds objects in pictures.
type Finder interface {
	Model
	// Find gives what is in the pictures of files; beside an error, what is in those before the one at fault.
	Find(ctx context.Context, paths []string, o finetune.PredictOptions) ([]detection.Prediction, error)
	// ClassOf names a detection's label.
	ClassOf(label int) string
}

// boxModel is a Model of boxes.
type boxModel struct{ *detection.Detector }

var _ Finder = (*boxModel)(nil)

func (boxes) openWeights(folder string) (Model, error) {
	m, err := detection.OpenDetector(folder, "")
	if err != nil {
		return nil, err
	}
	return &boxModel{m}, nil
}

func (boxes) openModel(model, weights string) (Model, error) {
	open := func() (*detection.Detector, error) { return detection.OpenDetector(model, weights) }
	if info, err := os.Stat(model); err == nil && !info.IsDir() {
		open = func() (*detection.Detector, error) { return detection.OpenCheckpoint(model) }
	}
	m, err := open()
	if err != nil {
		return nil, err
	}
	return &boxModel{m}, nil
}

// Use implements Model.
func (m *boxModel) Use(device, precision string) error {
	device, precision, err := chosenDevice(device, precision)
	if err != nil {
		return err
	}
	return m.Detector.Use(device, precision)
}

// Pairs implements Model.
func (m *boxModel) Pairs() bool { return false }

// Together implements Model: pictures are not sorted.
func (m *boxModel) Together() int { return 1 }

// Labels implements Model.
func (m *boxModel) Labels() []string { return m.Classes }

// Find implements Finder.
func (m *boxModel) Find(ctx context.Context, paths []string, o finetune.PredictOptions) ([]detection.Prediction, error) {
	files := make([]vision.Image, len(paths))
	for i, path := range paths {
		files[i] = vision.File(path)
	}
	return m.Detector.Predict(ctx, files, o)
}

// Predict implements Model: a detector gives no labels of whole pictures, see Find.
func (m *boxModel) Predict(context.Context, []Input, finetune.PredictOptions) ([]Prediction, error) {
	return nil, errors.New("a detector finds boxes and gives no labels of whole pictures")
}

// save implements Model.
func (m *boxModel) save(folder string, to Format) error {
	switch to {
	case Torchvision:
		return m.SaveTorchvision(folder)
	case ONNX:
		return m.SaveONNX(folder)
	}
	return noSuch("detectors are not written for %s: there are --to %s and --to %s", to, Torchvision, ONNX)
}

// task implements Model.
func (m *boxModel) task() (pipeline, sentence string) {
	return "object-detection", fmt.Sprintf("A model (%s) that finds objects in images.", m.Name())
}

// use implements Model.
func (m *boxModel) use(_ string, to Format) (program, after string) {
	if to == ONNX {
		return `import json

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("model.onnx")
names = json.loads(session.get_modelmeta().custom_metadata_map["id2label"])
picture = np.asarray(Image.open("picture.png").convert("RGB"), np.float32) / 255  # [height, width, 3]
boxes, labels, scores = session.run(["boxes", "labels", "scores"], {"image": picture.transpose(2, 0, 1)})
for box, label, score in zip(boxes, labels, scores):
    print(names[str(label)], round(float(score), 3), box.tolist())
`, aboutBoxes
	}
	return `import json

import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms.functional import pil_to_tensor

config = json.load(open("config.json"))
c = config["torchvision"]
model = torchvision.models.get_model(c["architecture"], weights=None, weights_backbone=None, **c["arguments"])
for module in model.backbone.body.modules():
    if c["frozen_norms"] and isinstance(module, torch.nn.BatchNorm2d):
        module.eps = c["norm_eps"]
model.load_state_dict(load_file("model.safetensors"))
model.eval()
picture = pil_to_tensor(Image.open("picture.png").convert("RGB")) / 255
with torch.no_grad():
    found = model([picture])[0]
for box, label, score in zip(found["boxes"], found["labels"], found["scores"]):
    print(config["id2label"][str(label.item())], round(score.item(), 3), box.tolist())
`, m.afterUse()
}

const aboutBoxes = "Boxes are x1, y1, x2, y2 in pixels, scores from 0 to 1."

// afterUse says what the program prints, and where it does not serve.
func (m *boxModel) afterUse() string {
	after := aboutBoxes
	if !strings.Contains(m.Name(), "resnet50") {
		after += " torchvision's get_model names detectors on a ResNet-50 alone: build one on another ResNet of its parts, as" +
			" bench/peers/check_boxes.py of Thaw does."
	}
	return after
}

func (boxes) evaluate(ctx context.Context, r *Run, o EvalOptions) (*metric.Score, error) {
	s, err := r.source(o)
	if err != nil {
		return nil, err
	}
	m := r.Model.(*boxModel)
	testing, err := testSet(s, o.Data, m.Classes)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the test pictures of %s: %w: name some with --data", r.Folder, err)
	}
	if err != nil {
		return nil, err
	}
	if testing.Len() == 0 {
		return nil, fmt.Errorf("%s has no test pictures: name some with --data", r.Folder)
	}
	if !slices.Equal(testing.Classes, m.Classes) {
		return nil, fmt.Errorf("%s: the classes of its weights are %v, those of its spec %v", r.Folder, m.Classes, testing.Classes)
	}
	set, err := m.NewDataset(detection.Files{Set: testing}, s.Boxes.options(s.Seed))
	if err != nil {
		return nil, err
	}
	if s.Metrics == nil {
		s.Metrics = detection.MetricNames()
	}
	measured, err := withMetrics(s, m.Objective().(detection.Objective))
	if err != nil {
		return nil, err
	}
	found := make([][]detection.Detection, testing.Len())
	if o.Detections != "" {
		measured.Found = func(sample int, what []detection.Detection) { found[sample] = what }
	}
	score, err := evaluate(ctx, m.Detector, set, measured, o, detection.DefaultPredictBatch)
	if err == nil && o.Detections != "" {
		err = annotation.WriteResults(o.Detections, results(testing, m.FirstLabel(), found))
	}
	return score, withFaults(err)
}

// results are detections with COCO's ids.
func results(set *annotation.Set, first int, found [][]detection.Detection) iter.Seq[annotation.Result] {
	return func(yield func(annotation.Result) bool) {
		for i, detections := range found {
			for _, d := range detections {
				r := annotation.Result{
					ImageID: set.Pictures[i].ID, CategoryID: set.CategoryIDs[d.Label-first],
					X1: float64(d.X1), Y1: float64(d.Y1), X2: float64(d.X2), Y2: float64(d.Y2), Score: float64(d.Score),
				}
				if !yield(r) {
					return
				}
			}
		}
	}
}

// testSet opens the pictures that a detector of the classes is measured on.
func testSet(s *Spec, data string, classes []string) (*annotation.Set, error) {
	if s.Boxes == nil {
		s.Boxes = &Boxes{}
	}
	if own, ok := s.Data.TestFile(); data == "" && ok { // the training pictures may be gone
		data = own
	}
	if data == "" {
		_, test, err := openBoxes(s)
		return test, err
	}
	set, err := annotation.Open(data, s.annotated().forTest(classes))
	return set, withFaults(err)
}
