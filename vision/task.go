package vision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
)

// Task is what a spec asks for, read and ready to run.
type Task struct {
	Model       *Classifier
	Train, Test *Dataset
	Duplicates  []album.Pair // pictures that training and test data share
	training    *album.Album
	testing     *album.Album
	unreadable  []error // by their headers
}

// Prepare checks all that a spec names, opens the pictures and loads the model. spec must be resolved; what only the data
// and the model tell is put into it.
func Prepare(ctx context.Context, spec *finetune.Spec) (_ *Task, err error) {
	if err := finetune.JoinFaults(spec.CheckPaths(hub.LocalFineTunable), spec.ChooseDevice()); err != nil {
		return nil, err
	}
	from, err := find(spec.Model, spec.Weights)
	if err != nil {
		return nil, spec.Errorf("model", "%w", err)
	}
	t := &Task{}
	if t.training, t.testing, err = openAlbums(spec); err != nil {
		return nil, err
	}
	if len(t.training.Classes) < 2 {
		return nil, fmt.Errorf("%s has pictures of one class alone, %v: a classifier needs two or more", spec.Data.Train, t.training.Classes)
	}
	input := from.input.as(spec.Pictures)
	if input.Resize < input.Crop {
		return nil, spec.Errorf("pictures.resize", "%d is less than the %d pixels of the model's input: give a larger one, or pictures.size too", input.Resize, input.Crop)
	}
	choose(spec, t.training.Classes, input)
	if err := t.look(ctx, spec); err != nil {
		return nil, err
	}
	if t.Train, err = NewDataset(t.training, input, Options{*spec.Pictures, spec.Seed}); err != nil {
		return nil, err
	}
	if t.Test, err = NewDataset(t.testing, input, Options{*spec.Pictures, spec.Seed}); err != nil {
		return nil, err
	}
	if t.Model, err = LoadClassifier(spec.Model, spec.Weights, spec.Head.Classes, spec.Seed); err != nil {
		return nil, err
	}
	t.Model.Input = input
	if err := spec.CheckPhases(t.Model.Stages()); err != nil {
		t.Model.Close()
		return nil, err
	}
	return t, nil
}

// openAlbums opens the training and the test pictures.
func openAlbums(spec *finetune.Spec) (train, test *album.Album, err error) {
	o := album.Options{
		Columns: album.Columns{Image: spec.Data.Columns.Image, Label: spec.Data.Columns.Label},
		Classes: spec.Head.Classes, Subset: spec.Data.OtherClasses == "skip",
	}
	all, err := album.Open(spec.Data.Train, o)
	if err != nil {
		return nil, nil, withMend(err)
	}
	if path, ok := spec.Data.TestFile(); ok {
		o.Classes, o.Absent = all.Classes, true
		if test, err = album.Open(path, o); err != nil {
			return nil, nil, withMend(err)
		}
		train = all
	} else if train, test, err = all.Split(spec.Data.Test, spec.Seed); err != nil {
		return nil, nil, spec.Errorf("data.test", "%v", err)
	}
	if spec.Data.PerClass > 0 {
		train = train.Limit(spec.Data.PerClass, spec.Seed)
	}
	return train, test, nil
}

// withMend says how a spec can do without the pictures that an error is about.
func withMend(err error) error {
	if other := new(album.OtherClassError); errors.As(err, &other) {
		return fmt.Errorf("%w (data.other_classes=skip leaves pictures of other classes out)", err)
	}
	return err
}

// look reads the headers of all pictures, so that what is no picture is known before the first step, and compares those
// that training and test share.
func (t *Task) look(ctx context.Context, spec *finetune.Spec) (err error) {
	for _, a := range []*album.Album{t.training, t.testing} {
		t.unreadable = append(t.unreadable, a.CheckHeaders(ctx, runtime.GOMAXPROCS(0))...)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if n := len(t.unreadable); n > 0 && spec.Pictures.Unreadable == "fail" {
		return fmt.Errorf("cannot read %s (pictures.unreadable=skip leaves such out); the first: %w",
			quantity.Count(n, "picture", "pictures"), t.unreadable[0])
	}
	t.Duplicates, err = album.Duplicates(t.training, t.testing)
	if err != nil && spec.Pictures.Unreadable == "fail" {
		return err
	}
	return nil
}

// Describe tells what was read, a subject and a line each.
func (t *Task) Describe() [][2]string {
	m := t.Model
	classes := fmt.Sprintf("[%s]", strings.Join(m.Classes, " "))
	if len(m.Classes) > 12 {
		classes = fmt.Sprintf("[%s ... %s]", strings.Join(m.Classes[:5], " "), m.Classes[len(m.Classes)-1])
	}
	data := fmt.Sprintf("%s train · %s test · %d x %d pixels", quantity.Digits(t.Train.Len()), quantity.Digits(t.Test.Len()), m.Input.Crop, m.Input.Crop)
	if t.Test.Len() > 0 {
		data += fmt.Sprintf(" · %s also in train", quantity.Count(len(t.Duplicates), "test picture", "test pictures"))
	}
	decoder, err := picture.JPEGDecoder()
	if err != nil {
		decoder = err.Error() // which ends the run at the first picture that is a file
	}
	lines := [][2]string{
		{"model", fmt.Sprintf("%s  %.1fM parameters  %s", m.Name(), float64(nn.NumParams(m))/1e6, m.Source)},
		{"head", fmt.Sprintf("new: %d -> %d %s", m.Net.Features(), len(m.Classes), classes)},
		{"data", data + " · " + decoder},
	}
	warn := func(format string, args ...any) {
		lines = append(lines, [2]string{"warning", fmt.Sprintf(format, args...)})
	}
	for _, w := range m.Warnings {
		warn("%s", w)
	}
	if len(t.Duplicates) > 0 {
		d := t.Duplicates[0]
		warn("%s in training and test alike, which makes the measures too good; the first: %s and %s", quantity.Count(len(t.Duplicates), "picture", "pictures"), d.FirstName, d.SecondName)
	}
	if len(t.unreadable) > 0 {
		warn("%s left out; the first: %v", quantity.Count(len(t.unreadable), "picture", "pictures"), t.unreadable[0])
	}
	if t.training.Others > 0 {
		warn("%s passed over; the first: %s", quantity.Count(t.training.Others, "file that is no picture", "files that are no pictures"), t.training.FirstOther)
	}
	if t.training.LeftOut > 0 {
		warn("%s of other classes left out", quantity.Count(t.training.LeftOut, "picture", "pictures"))
	}
	return lines
}

// Skipped tells of the pictures that turned out damaged; "" when there were none.
func (t *Task) Skipped() string {
	count, first := 0, error(nil)
	for _, d := range []*Dataset{t.Train, t.Test} {
		lowest := -1
		for i, err := range d.Skipped() {
			count++
			if first == nil || lowest >= 0 && i < lowest {
				lowest, first = i, err
			}
		}
	}
	if count == 0 {
		return ""
	}
	return fmt.Sprintf("%s left out, unreadable; the first: %v", quantity.Count(count, "picture", "pictures"), first)
}

// OpenRun opens a run's best network and the pictures that it is measured on: those of data, or the run's own.
func OpenRun(run string, spec *finetune.Spec, data string) (*Classifier, *Dataset, error) {
	model, err := OpenClassifier(filepath.Join(run, "weights"), "")
	if err != nil {
		return nil, nil, err
	}
	pictures, err := testPictures(spec, data, model.Classes)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("the test pictures of %s: %w: name some with --data", run, err)
	}
	var set *Dataset
	if err == nil {
		set, err = NewDataset(pictures, model.Input, Options{Pictures: *spec.Pictures, Seed: spec.Seed})
	}
	if err == nil && set.Len() == 0 {
		err = fmt.Errorf("%s has no test pictures: name some with --data", run)
	}
	if err == nil && !slices.Equal(set.Classes(), model.Classes) {
		err = fmt.Errorf("%s: the classes of its weights are %v, those of its spec %v", run, model.Classes, set.Classes())
	}
	if err != nil {
		model.Close()
		return nil, nil, err
	}
	return model, set, nil
}

// testPictures opens the pictures that a network of the classes is measured on.
func testPictures(spec *finetune.Spec, data string, classes []string) (*album.Album, error) {
	if own, ok := spec.Data.TestFile(); data == "" && ok { // the training pictures may be gone
		data = own
	}
	if data == "" {
		_, test, err := openAlbums(spec)
		return test, err
	}
	return album.Open(data, album.Options{
		Columns: album.Columns{Image: spec.Data.Columns.Image, Label: spec.Data.Columns.Label},
		Classes: classes, Absent: true, Subset: spec.Data.OtherClasses == "skip",
	})
}
