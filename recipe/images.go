package recipe

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
)

// images are image files in a folder for each class, in a table, or in an idx file.
type images struct{}

// table matches the files that hold rows.
var table = regexp.MustCompile(`(?i)\.(csv|tsv|jsonl|ndjson)(\.gz)?$`)

func (images) name() string                   { return "images" }
func (images) modelTypes() ([]string, string) { return []string{"resnet"}, "ResNet" }
func (images) registered() hub.Kind           { return hub.Classifier }
func (images) trains(architecture string) bool {
	return slices.Contains(vision.Architectures(), architecture)
}
func (images) hasHead(hub.Model) bool      { return true }
func (images) isArchitecture(s *Spec) bool { return s.Weights != "" }
func (images) takesFolders() bool          { return true }
func (images) sizeKey() string             { return "images.size" }
func (images) loraTargets() []string       { return []string{lora.AllLinear} }
func (images) objectives() []string        { return labelObjectives }
func (images) checkMetrics(s *Spec) error  { return s.checkMetrics() }

func (images) means(s *Spec) bool {
	if s.Images != nil || s.Data.Columns.Image != "" {
		return true
	}
	return s.Data.Columns.Text == "" && s.Data.Train != "" && !table.MatchString(s.Data.Train)
}

func (images) resolve(s *Spec, f *faults) {
	f.check(s.Head.Pooling == "", "head.pooling", "is for texts")
	f.check(s.Head.Dropout == nil, "head.dropout", "is for texts")

	d := &s.Data
	f.required("data.train", d.Train, "a folder with a folder of images for each class, a .csv, .tsv or .jsonl file, or an idx file")
	if table.MatchString(d.Train) {
		f.required("data.columns.image", d.Columns.Image, "the name of the column with the images' paths")
		f.required("data.columns.label", d.Columns.Label, "the name of the column with the "+s.Head.labelled())
	} else if d.Train != "" {
		f.check(s.Head.Objective == Classification, "head.objective", "%s needs a table: a folder gives each image one class", s.Head.Objective)
	}
	f.check(d.Columns.Text == "" && d.Columns.Pair == "", "data.columns.text", "is for texts, and data.columns.image or images is for images")
	f.check(d.MaxLength == 0, "data.max_length", "is for texts")
	f.check(d.PerClass >= 0, "data.per_class", "must be 0 (all) or above, found %d", d.PerClass)
	f.choice("data.other_classes", &d.OtherClasses, "fail", "skip")
	var err error
	d.Test, err = cleanTest(d.Test)
	f.check(err == nil, "data.test", "%v", err)
	f.check(s.Batch.Tokens == 0, "batch.tokens", "is for texts")

	if s.Images == nil {
		s.Images = &Images{}
	}
	s.Images.resolve(f, s.Head.Objective)
}

func (p *Images) resolve(f *faults, objective string) {
	f.check(p.Size == 0 || 8 <= p.Size && p.Size <= 4096, "images.size", "must be 0 (the model's own) or from 8 to 4096 pixels, found %d", p.Size)
	f.check(p.Resize == 0 || p.Resize >= p.Size && p.Resize <= 8192, "images.resize",
		"must be 0 (the model's own) or from images.size, %d, to 8192 pixels, found %d", p.Size, p.Resize)
	f.choice("images.augment", &p.Augment, "crop", "flip", "randaugment", "trivialaugment", "none")
	if p.Scale == [2]float64{} && !f.source.given("images.scale") {
		p.Scale = [2]float64{0.08, 1}
	}
	f.check(0 < p.Scale[0] && p.Scale[0] <= p.Scale[1] && p.Scale[1] <= 1, "images.scale",
		"must be two shares of the area, rising, above 0 and at most 1, found %v", p.Scale)
	f.check(0 <= p.Erase && p.Erase <= 1, "images.erase", "must be a probability, found %v", p.Erase)
	f.check(p.MixUp == 0 || positive(p.MixUp), "images.mixup", "must be 0 (off) or above, found %v", p.MixUp)
	f.check(p.CutMix == 0 || positive(p.CutMix), "images.cutmix", "must be 0 (off) or above, found %v", p.CutMix)
	if objective != Classification {
		f.check(p.MixUp == 0, "images.mixup", "is for head.objective: classification")
		f.check(p.CutMix == 0, "images.cutmix", "is for head.objective: classification")
	}
	f.choice("images.unreadable", &p.Unreadable, "fail", "skip")
	f.check(0 <= p.Workers && p.Workers <= 1024, "images.workers", "must be 0 (one for each core) or from 1 to 1024, found %d", p.Workers)
}

// checkModel leaves it to package vision what stands in a file.
func (images) checkModel(s *Spec, f *faults) {
	known := slices.Contains(vision.Architectures(), s.Model)
	switch {
	case s.FromScratch() && !known:
		_, err := vision.NewResNet(s.Model, 2)
		f.check(err == nil, "model", "%w", err)
	case s.Weights != "" && known:
	case s.ModelName() != "":
		f.add("model", "no file, folder or architecture is named %s%s", s.Model, suggest.DidYouMean(s.Model, vision.Architectures()))
	case s.Model != "":
		f.there("model", s.Model)
	}
}

// imageTask is a Task on images.
type imageTask struct {
	job[*vision.Batch]
	model             *vision.Classifier
	train, test       *vision.Dataset
	duplicates        []album.Pair // images that training and test data share
	training, testing *album.Album
	unreadable        []error // by their headers
	report            *preflight.Report
}

func (images) open(ctx context.Context, s *Spec) (_ Task, err error) {
	if s.Head.Objective != Classification {
		return nil, errNotYet(s)
	}
	t := &imageTask{job: job[*vision.Batch]{spec: s, explained: withUnreadable}}
	if t.training, t.testing, err = openAlbums(s); err != nil {
		return nil, s.ofColumns(err)
	}
	if len(t.training.Classes) < 2 {
		return nil, fmt.Errorf("%s has images of one class alone, %v: a classifier needs two or more", s.Data.Train, t.training.Classes)
	}
	s.Head.Classes = t.training.Classes
	if t.model, err = vision.LoadClassifier(s.Model, s.Weights, vision.Head{Classes: s.Head.Classes, Seed: s.Seed}); err != nil {
		return nil, err
	}
	if err := t.fit(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// fit fits the model's input and the data to one another.
func (t *imageTask) fit(ctx context.Context) (err error) {
	s := t.spec
	if t.adapters, err = adapt(s, t.model, ""); err != nil {
		return err
	}
	if err := checkPhases(s, t.model); err != nil {
		return err
	}
	input := t.model.Input.Sized(s.Images.Size, s.Images.Resize)
	if input.Resize < input.Crop {
		return s.Errorf("images.resize", "%d is less than the %d pixels of the model's input: give a larger one, or images.size too", input.Resize, input.Crop)
	}
	s.Images.Size, s.Images.Resize = input.Crop, input.Resize
	t.model.Input = input
	if err := t.look(ctx); err != nil {
		return err
	}
	options := s.Images.options(s.Seed)
	if t.train, err = vision.NewDataset(t.training, input, options); err != nil {
		return err
	}
	if t.test, err = vision.NewDataset(t.testing, input, options); err != nil {
		return err
	}
	t.network, t.trainSet, t.testSet = t.model, t.train, t.test
	t.objective = func() (train.Objective, error) { return s.objective(t.model.Classes, t.train.Targets()) }
	t.shown = shownImages(t.train, t.test, t.testing)
	t.skipped = func() string { return skippedOf("image", "images", t.train, t.test) }
	return nil
}

// options say how a data set makes samples.
func (p *Images) options(seed uint64) vision.DatasetOptions {
	return vision.DatasetOptions{
		Augment: p.Augment, Scale: p.Scale, Erase: p.Erase, MixUp: p.MixUp, CutMix: p.CutMix,
		SkipUnreadable: p.Unreadable == "skip", Workers: p.Workers, Seed: seed,
	}
}

// openAlbums opens the training and the test images.
func openAlbums(s *Spec) (training, test *album.Album, err error) {
	o := album.Options{
		Columns: album.Columns{Image: s.Data.Columns.Image, Label: s.Data.Columns.Label},
		Classes: s.Head.Classes, Subset: s.Data.OtherClasses == "skip", Absent: s.accepts(preflight.EmptyClasses),
	}
	all, err := album.Open(s.Data.Train, o)
	if err != nil {
		return nil, nil, withSkip(err)
	}
	if path, ok := s.Data.TestFile(); ok {
		o.Classes, o.Absent = all.Classes, true
		if test, err = album.Open(path, o); err != nil {
			return nil, nil, withSkip(err)
		}
		training = all
	} else {
		chosen, err := data.Split(all.ClassNumbers(), s.Data.Test, s.Seed)
		if err != nil {
			return nil, nil, s.Errorf("data.test", "%s: %v", s.Data.Train, err)
		}
		training = all.Part(func(i int) bool { return !chosen[i] })
		test = all.Part(func(i int) bool { return chosen[i] })
	}
	if s.Data.PerClass > 0 {
		chosen := data.Limit(training.ClassNumbers(), s.Data.PerClass, s.Seed)
		training = training.Part(func(i int) bool { return chosen[i] })
	}
	return training, test, nil
}

// withSkip says how a spec leaves out the images that an error is about.
func withSkip(err error) error {
	if other := new(album.OtherClassError); errors.As(err, &other) {
		return fmt.Errorf("%w (data.other_classes=skip leaves images of other classes out)", err)
	}
	return err
}

// look reads the headers of all images, so that what is no image is known before the first step, and compares those
// that training and test share.
func (t *imageTask) look(ctx context.Context) (err error) {
	for _, a := range []*album.Album{t.training, t.testing} {
		t.unreadable = append(t.unreadable, a.CheckHeaders(ctx, runtime.GOMAXPROCS(0))...)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	fail := t.spec.Images.Unreadable == "fail"
	if n := len(t.unreadable); n > 0 && fail {
		return fmt.Errorf("cannot read %s (images.unreadable=skip leaves such out); the first: %w",
			quantity.Count(n, "image", "images"), t.unreadable[0])
	}
	keys, unread, err := album.CopyKeys(ctx, t.training, t.testing)
	if err != nil {
		return err
	}
	if len(unread) > 0 && fail {
		return unread[0]
	}
	t.duplicates = album.Pairs(t.training, t.testing, keys[0], keys[1])
	t.report, err = checkAlbums(t.spec, t.training, t.testing, keys)
	return err
}

// Describe implements Task.
func (t *imageTask) Describe() [][2]string {
	m := t.model
	classes := fmt.Sprintf("[%s]", strings.Join(m.Classes, " "))
	if len(m.Classes) > 12 {
		classes = fmt.Sprintf("[%s ... %s]", strings.Join(m.Classes[:5], " "), m.Classes[len(m.Classes)-1])
	}
	rows := fmt.Sprintf("%s train · %s test · %d x %d pixels", quantity.Digits(t.train.Len()), quantity.Digits(t.test.Len()), m.Input.Crop, m.Input.Crop)
	if t.test.Len() > 0 {
		rows += fmt.Sprintf(" · %s also in train", quantity.Count(len(t.duplicates), "test image", "test images"))
	}
	decoder, err := picture.JPEGDecoder()
	if err != nil {
		decoder = err.Error() // which ends the run at the first JPEG
	}
	lines := [][2]string{
		{"model", fmt.Sprintf("%s  %.1fM parameters  %s", m.Name(), float64(nn.NumParams(m))/1e6, m.Source)},
		{"head", fmt.Sprintf("new: %d -> %d %s", m.Net.Features(), len(m.Classes), classes)},
		{"data", rows + " · " + decoder},
	}
	lines = append(lines, describeAdapters(t.adapters)...)
	warn := func(format string, args ...any) {
		lines = append(lines, [2]string{"warning", fmt.Sprintf(format, args...)})
	}
	for _, w := range m.Warnings {
		warn("%s", w)
	}
	if len(t.duplicates) > 0 {
		d := t.duplicates[0]
		warn("%s in training and test alike, which makes the measures too good; the first: %s and %s",
			quantity.Count(len(t.duplicates), "image", "images"), d.FirstName, d.SecondName)
	}
	if len(t.unreadable) > 0 {
		warn("%s left out; the first: %v", quantity.Count(len(t.unreadable), "image", "images"), t.unreadable[0])
	}
	if t.training.Others > 0 {
		warn("%s passed over; the first: %s", quantity.Count(t.training.Others, "file that is no image", "files that are no images"), t.training.FirstOther)
	}
	if t.training.LeftOut > 0 {
		warn("%s of other classes left out", quantity.Count(t.training.LeftOut, "image", "images"))
	}
	return append(lines, describeFindings(t.report)...)
}

// withUnreadable says how a spec goes on without a damaged image.
func withUnreadable(err error) error {
	if errors.As(err, new(*vision.UnreadableError)) {
		return fmt.Errorf("%w (images.unreadable=skip leaves such images out)", err)
	}
	return err
}

// Close implements Task.
func (t *imageTask) Close() { t.model.Close() }
