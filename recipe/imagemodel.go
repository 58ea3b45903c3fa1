package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
)

// imageModel is a Model of images.
type imageModel struct{ *vision.Classifier }

func (images) openWeights(folder string) (Model, error) {
	m, err := vision.OpenClassifier(folder, "")
	if err != nil {
		return nil, err
	}
	return &imageModel{m}, nil
}

func (images) openModel(model, weights string) (Model, error) {
	m, err := vision.OpenPretrained(model, weights)
	if err != nil {
		return nil, err
	}
	return &imageModel{m}, nil
}

// Use implements Model.
func (m *imageModel) Use(device, precision string) error {
	device, precision, err := chosenDevice(device, precision)
	if err != nil {
		return err
	}
	return m.Classifier.Use(device, precision)
}

// Pairs implements Model.
func (m *imageModel) Pairs() bool { return false }

// Together implements Model: images are not sorted, and a few batches suffice to read ahead.
func (m *imageModel) Together() int { return 4 }

// Labels implements Model.
func (m *imageModel) Labels() []string { return m.Classes }

// Predict implements Model.
func (m *imageModel) Predict(ctx context.Context, inputs []Input, o finetune.PredictOptions) ([]Prediction, error) {
	files := make([]vision.Image, len(inputs))
	for i, in := range inputs {
		files[i] = vision.File(in.Text)
	}
	return m.Classifier.Predict(ctx, files, o)
}

func (images) evaluate(ctx context.Context, r *Run, o EvalOptions) (*metric.Score, error) {
	s, err := r.source(o)
	if err != nil {
		return nil, err
	}
	m := r.Model.(*imageModel)
	testing, err := testAlbum(r, s, o.Data, m.Classes)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the test images of %s: %w: name some with --data", r.Folder, err)
	}
	if err != nil {
		return nil, err
	}
	if testing.Len() == 0 {
		return nil, fmt.Errorf("%s has no test images: name some with --data", r.Folder)
	}
	options := vision.DatasetOptions{Seed: s.Seed}
	if s.Images != nil {
		options = s.Images.options(s.Seed)
	}
	if !slices.Equal(testing.Classes, m.Classes) {
		return nil, fmt.Errorf("%s: the classes of its weights are %v, those of its spec %v",
			r.Folder, m.Classes, testing.Classes)
	}
	set, err := vision.NewDataset(testing, m.Input, options)
	if err != nil {
		return nil, err
	}
	measured, err := withMetrics(s, objective.New(m.ProblemType, m.Classes))
	if err != nil {
		return nil, err
	}
	score, err := evaluate(ctx, m.Classifier, set, measured, o, finetune.DefaultPredictBatch)
	return score, withUnreadable(err)
}

// testAlbum opens the images that a network of the classes is measured on.
func testAlbum(r *Run, s *Spec, data string, classes []string) (*album.Album, error) {
	if own, ok := s.Data.TestFile(); data == "" && ok { // the training images may be gone
		data = own
	}
	if data == "" {
		_, test, err := openAlbums(s)
		return test, err
	}
	if table.MatchString(data) {
		if err := r.columnsMissing(data, "image", s.Data.Columns.Image, "label", s.Data.Columns.Label); err != nil {
			return nil, err
		}
	}
	return album.Open(data, album.Options{
		Columns: album.Columns{Image: s.Data.Columns.Image, Label: s.Data.Columns.Label},
		Classes: classes, Absent: true, Subset: s.Data.OtherClasses == "skip",
	})
}
