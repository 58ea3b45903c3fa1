package recipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
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
	"github.com/thaw-ml/thaw/vision/detection"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
)

// boxes are pictures with boxes around objects.
type boxes struct{}

// Boxes says how annotated pictures are read and become the network's input.
type Boxes struct {
	// Format of the annotations: "coco", "voc", "yolo" or "table". Left out, the path tells: a .json file is COCO's, a
	// .csv or .tsv file a table, data.yaml or a folder YOLO's, and a folder with .xml files Pascal VOC's.
	Format string `yaml:"format,omitempty"`
	// Pictures is the folder that pictures' paths are relative to; left out, it is where the format has them.
	Pictures string `yaml:"pictures,omitempty"`
	// VOCOrigin says what the numbers of Pascal VOC's boxes are, "one", the default, counts pixels from 1 as VOC's own files do, "zero"
	// counts edges from 0, as many tools write them. See
	// annotation.VOC.
	VOCOrigin string `yaml:"voc_origin,omitempty"`
	// TrainList and TestList are Pascal VOC's lists of pictures, as ImageSets/Main/train.txt: of the folders data.train and
	// data.test, which may be one, only the files that they name are read.
	TrainList string `yaml:"train_list,omitempty"`
	TestList  string `yaml:"test_list,omitempty"`
	// TrainSplit and TestSplit are the parts of YOLO's data.yaml that are trained and tested on, "train", "val" or "test".
	// The defaults are "train" and "val".
	TrainSplit string `yaml:"train_split,omitempty"`
	TestSplit  string `yaml:"test_split,omitempty"`
	// Faults says what becomes of boxes and pictures with something wrong, such as no area or a file that is missing:
	// "fail", the default, ends the run, "skip" goes on without them. Either names them.
	Faults string `yaml:"faults"`
	// Clip cuts boxes that stand out of their picture; otherwise more than a pixel is a fault.
	Clip bool `yaml:"clip,omitempty"`
	// MinSize is what the shorter side of a picture becomes, in pixels, unless the longer one had more than MaxSize then.
	// The defaults are torchvision's, 800 and 1333.
	MinSize int `yaml:"min_size"`
	MaxSize int `yaml:"max_size"`
	// TrainSizes are what the shorter side of a training picture becomes, one of them at random. The default is MinSize, or,
	// of augment: multiscale, eleven sizes from 0.6 of it on.
	TrainSizes []int `yaml:"train_sizes,omitempty"`
	// Augment is what happens to training pictures: "flip", the default, turns them left to right in one of two cases;
	// "multiscale", "lsj" (large-scale jitter), "ssd" and "ssdlite" are torchvision's; "none" shows them as in evaluation.
	// See detection.DatasetOptions.
	Augment string `yaml:"augment"`
	// Scale are the bounds of lsj's scale, 1 being that of evaluation. The default is 0.1 to 2.
	Scale *[2]float64 `yaml:"scale,omitempty"`
	// Distort changes brightness, contrast, saturation, hue and the channels' order of training pictures, as "ssd" does.
	Distort bool `yaml:"distort,omitempty"`
	// AspectGroups puts pictures of like shape into one batch, so that less of it is padding: so many groups of pictures
	// higher than wide, and as many of wider ones. The default is torchvision's 3; 0 puts them together as they come.
	AspectGroups *int `yaml:"aspect_groups"`
	// TrainNorms trains the backbone's batch norms. By default they stay as they were pre-trained, as in torchvision, but
	// in networks whose weights are random, and in torchvision's second versions.
	TrainNorms bool `yaml:"train_norms,omitempty"`
	Workers    int  `yaml:"workers"` // pictures that are read at a time; 0, the default, is one for each core
}

func (boxes) name() string { return "boxes" }
func (boxes) modelTypes() ([]string, string) {
	return detection.ModelTypes(), "FCOS, RetinaNet and Faster R-CNN"
}
func (boxes) registered() hub.Kind { return hub.Detector }
func (boxes) trains(architecture string) bool {
	return slices.Contains(detection.Architectures(), architecture)
}
func (boxes) hasHead(hub.Model) bool      { return true }
func (boxes) isArchitecture(s *Spec) bool { return s.Weights != "" }
func (boxes) takesFolders() bool          { return true }
func (boxes) sizeKey() string             { return "boxes.min_size" }
func (boxes) loraTargets() []string       { return []string{lora.AllLinear} }
func (boxes) objectives() []string        { return []string{Detection} }
func (boxes) checkMetrics(s *Spec) error {
	_, err := detection.Objective{}.WithMetrics(s.Metrics)
	return err
}
func (boxes) means(s *Spec) bool { return s.Boxes != nil || s.Head.Objective == Detection }

func (boxes) resolve(s *Spec, f *faults) {
	f.check(s.Head.Pooling == "", "head.pooling", "is for texts")
	f.check(s.Head.Dropout == nil, "head.dropout", "is for texts")
	f.check(s.Images == nil, "images", "is for images, and kind is boxes")
	f.check(len(s.ClassWeights) == 0, "class_weights", "are for classes of whole samples; a detector's loss is focal")
	f.check(s.Preset == "", "preset", "is for texts and images; phases say how a detector is trained")

	d := &s.Data
	f.required("data.train", d.Train, "annotations: COCO's .json, a folder of Pascal VOC's .xml files, YOLO's data.yaml or folder, or a .csv")
	f.check(d.MaxLength == 0, "data.max_length", "is for texts")
	f.check(d.PerClass == 0, "data.per_class", "is for images with one class each")
	f.check(d.Columns == (Columns{}), "data.columns", "is for texts and images; a table of boxes has the columns path, x1, y1, x2, y2 and class")
	f.choice("data.other_classes", &d.OtherClasses, "fail", "skip")
	var err error
	d.Test, err = cleanTest(d.Test)
	f.check(err == nil, "data.test", "%v", err)
	f.check(s.Batch.Tokens == 0, "batch.tokens", "is for texts")
	f.fallbackInt("batch.size", &s.Batch.Size, 2) // of torchvision's references, on each of eight GPUs

	if s.Boxes == nil {
		s.Boxes = &Boxes{}
	}
	s.Boxes.resolve(f)
	if _, apart := d.TestFile(); !apart {
		f.check(s.Boxes.TestList == "", "boxes.test_list", "is of data.test, which is no folder: name that of the .xml files, the training one's perhaps")
		f.check(s.Boxes.TestSplit == "", "boxes.test_split", "is of data.test, which is no data.yaml: name it there, too")
	}
}

func (b *Boxes) resolve(f *faults) {
	if b.Format != "" || f.source.given("boxes.format") {
		f.choice("boxes.format", &b.Format, string(annotation.COCO), string(annotation.PascalVOC), string(annotation.YOLOText), string(annotation.Table))
	}
	if b.VOCOrigin != "" || f.source.given("boxes.voc_origin") {
		f.choice("boxes.voc_origin", &b.VOCOrigin, string(annotation.OneBased), string(annotation.ZeroBased))
	}
	for _, split := range []struct {
		key   string
		value *string
	}{{"boxes.train_split", &b.TrainSplit}, {"boxes.test_split", &b.TestSplit}} {
		if *split.value != "" || f.source.given(split.key) {
			f.choice(split.key, split.value, "train", "val", "test")
		}
	}
	f.choice("boxes.faults", &b.Faults, "fail", "skip")
	in := detection.DefaultInput()
	f.fallbackInt("boxes.min_size", &b.MinSize, in.MinSize)
	f.fallbackInt("boxes.max_size", &b.MaxSize, max(in.MaxSize, b.MinSize))
	f.check(32 <= b.MinSize && b.MinSize <= 8192, "boxes.min_size", "must be from 32 to 8192 pixels, found %d", b.MinSize)
	f.check(b.MinSize <= b.MaxSize && b.MaxSize <= 8192, "boxes.max_size", "must be from boxes.min_size, %d, to 8192 pixels, found %d", b.MinSize, b.MaxSize)
	for i, size := range b.TrainSizes {
		f.check(32 <= size && size <= b.MaxSize, fmt.Sprintf("boxes.train_sizes[%d]", i), "must be from 32 to boxes.max_size, %d, found %d", b.MaxSize, size)
	}
	f.choice("boxes.augment", &b.Augment, detection.Augmentations()...)
	if b.Augment == "lsj" && b.Scale == nil {
		b.Scale = &[2]float64{0.1, 2}
	}
	if b.Scale != nil {
		f.check(b.Augment == "lsj", "boxes.scale", "is for boxes.augment: lsj")
		f.check(0 < b.Scale[0] && b.Scale[0] <= b.Scale[1] && b.Scale[1] <= 16, "boxes.scale",
			"must be two numbers, rising, above 0 and at most 16, found %v", *b.Scale)
	}
	if b.AspectGroups == nil {
		b.AspectGroups = new(3)
	}
	f.check(0 <= *b.AspectGroups && *b.AspectGroups <= 100, "boxes.aspect_groups", "must be from 0 (none) to 100, found %d", *b.AspectGroups)
	f.check(0 <= b.Workers && b.Workers <= 1024, "boxes.workers", "must be 0 (one for each core) or from 1 to 1024, found %d", b.Workers)
}

// checkModel leaves it to package detection what stands in a file.
func (boxes) checkModel(s *Spec, f *faults) {
	known := slices.Contains(detection.Architectures(), s.Model)
	switch {
	case s.Weights != "" && known:
	case s.Weights != "":
		f.add("model", "with weights it is a detector's name%s; there are fcos_resnet50_fpn, retinanet_resnet50_fpn, "+
			"retinanet_resnet50_fpn_v2 and others", suggest.DidYouMean(s.Model, detection.Architectures()))
	case s.ModelName() != "":
		f.add("model", "no file, folder or detector is named %s%s", s.Model, suggest.DidYouMean(s.Model, detection.Architectures()))
	case s.Model != "":
		f.there("model", s.Model)
	}
}

// detectionTask is a Task on boxes.
type detectionTask struct {
	job[*detection.Batch]
	model             *detection.Detector
	training, testing *annotation.Set
	train, test       *detection.Dataset
	report            *preflight.Report
}

func (boxes) open(ctx context.Context, s *Spec) (_ Task, err error) {
	t := &detectionTask{job: job[*detection.Batch]{spec: s, explained: withFaults}}
	if t.training, t.testing, err = openBoxes(s); err != nil {
		return nil, err
	}
	s.Head.Classes = t.training.Classes
	weights, architecture := s.Model, ""
	if s.Weights != "" {
		weights, architecture = s.Weights, s.Model
	}
	if s.FromScratch() {
		weights = ""
	}
	if t.model, err = detection.LoadDetector(weights, detection.HeadOptions{
		Architecture: architecture, Classes: s.Head.Classes, Seed: s.Seed, TrainNorms: s.Boxes.TrainNorms,
	}); err != nil {
		return nil, err
	}
	if err := t.fit(ctx); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// fit fits the model's input and the data to one another.
func (t *detectionTask) fit(ctx context.Context) (err error) {
	s := t.spec
	if s.LoRA != nil {
		return s.Errorf("lora", "detectors are convolutions of which adapters would save little: name stages, as in train: [head, fpn]")
	}
	if err := checkPhases(s, t.model); err != nil {
		return err
	}
	t.model.Input.MinSize, t.model.Input.MaxSize = s.Boxes.MinSize, s.Boxes.MaxSize
	if t.report, err = checkSets(ctx, s, t.training, t.testing); err != nil {
		return err
	}
	if t.train, err = t.model.NewDataset(detection.Files{Set: t.training}, s.Boxes.options(s.Seed)); err != nil {
		return err
	}
	if t.test, err = t.model.NewDataset(detection.Files{Set: t.testing}, s.Boxes.options(s.Seed)); err != nil {
		return err
	}
	t.network, t.trainSet, t.testSet = t.model, t.train, t.test
	seen := &sightings{set: t.testing, first: t.model.FirstLabel()}
	t.objective = func() (train.Objective, error) {
		return withMetrics(s, seen.watch(t.model.Objective().(detection.Objective)))
	}
	t.shown = shown{train: dataSet(t.train), test: dataSet(t.test), detection: seen.report}
	t.skipped = func() string { return skippedOf("picture", "pictures", t.train, t.test) }
	return nil
}

// parted reports whether one folder or file names the training and the test pictures apart.
func (b *Boxes) parted(path string) bool {
	if b == nil {
		return false
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml":
		return cmp.Or(b.TrainSplit, "train") != cmp.Or(b.TestSplit, "val")
	}
	return b.TrainList != "" && b.TestList != "" && b.TrainList != b.TestList
}

// options say how a data set makes samples.
func (b *Boxes) options(seed uint64) detection.DatasetOptions {
	groups := -1
	if b.AspectGroups == nil {
		groups = 0 // as by default, of a run without a spec
	} else if *b.AspectGroups > 0 {
		groups = *b.AspectGroups
	}
	var scale [2]float64
	if b.Scale != nil {
		scale = *b.Scale
	}
	return detection.DatasetOptions{
		Augment: b.Augment, Scale: scale, Distort: b.Distort, MinSizes: b.TrainSizes, AspectGroups: groups,
		SkipUnreadable: b.Faults == "skip", Workers: b.Workers, Seed: seed,
	}
}

// annotated are the options that a spec's annotations are opened with.
type annotated struct {
	annotation.Options
	testSplit, testList string
}

// forTest are those of the test pictures: YOLO's data.yaml names them, too, as val.
func (o annotated) forTest(classes []string) annotation.Options {
	o.Classes, o.YOLO.Split, o.VOC.List = classes, cmp.Or(o.testSplit, "val"), o.testList
	return o.Options
}

func (s *Spec) annotated() annotated {
	b := s.Boxes
	o := annotation.Options{
		Format: annotation.Format(b.Format), Pictures: b.Pictures, Classes: s.Head.Classes, Subset: s.Data.OtherClasses == "skip",
		Skip: b.Faults == "skip", Clip: b.Clip,
	}
	o.VOC.Origin = annotation.Origin(b.VOCOrigin)
	o.VOC.List, o.YOLO.Split = b.TrainList, b.TrainSplit
	return annotated{o, b.TestSplit, b.TestList}
}

// openBoxes opens the training and the test pictures.
func openBoxes(s *Spec) (training, test *annotation.Set, err error) {
	o := s.annotated()
	all, err := annotation.Open(s.Data.Train, o.Options)
	if err != nil {
		return nil, nil, withFaults(err)
	}
	if path, ok := s.Data.TestFile(); ok {
		test, err = annotation.Open(path, o.forTest(all.Classes))
		return all, test, withFaults(err)
	}
	chosen, err := data.Split(make([]int, all.Len()), s.Data.Test, s.Seed)
	if err != nil {
		return nil, nil, s.Errorf("data.test", "%s: %v", s.Data.Train, err)
	}
	return all.Part(func(i int) bool { return !chosen[i] }), all.Part(func(i int) bool { return chosen[i] }), nil
}

// withFaults says how a spec goes on without what is wrong.
func withFaults(err error) error {
	if errors.As(err, new(*annotation.FaultsError)) {
		return fmt.Errorf("%w (boxes.faults=skip goes on without them)", err)
	}
	if errors.As(err, new(*vision.UnreadableError)) {
		return fmt.Errorf("%w (boxes.faults=skip leaves such pictures out)", err)
	}
	return err
}

// Describe implements Task.
func (t *detectionTask) Describe() [][2]string {
	m := t.model
	classes := m.Classes
	if len(classes) > 12 {
		classes = append(slices.Clone(classes[:5]), "...", classes[len(classes)-1])
	}
	lines := [][2]string{
		{"model", fmt.Sprintf("%s  %.1fM parameters  %s", m.Name(), float64(nn.NumParams(m))/1e6, m.Source)},
		{"head", fmt.Sprintf("new: %s [%s]", quantity.Count(len(m.Classes), "class", "classes"), strings.Join(classes, " "))},
		{"data", fmt.Sprintf("%s with %s to train on · %s with %s to test on · %d to %d pixels",
			quantity.Count(t.training.Len(), "picture", "pictures"), quantity.Count(t.training.Boxes(), "box", "boxes"),
			quantity.Count(t.testing.Len(), "picture", "pictures"), quantity.Count(t.testing.Boxes(), "box", "boxes"),
			m.Input.MinSize, m.Input.MaxSize)},
	}
	for _, note := range t.training.Notes {
		lines = append(lines, [2]string{"data", note})
	}
	sets := []*annotation.Set{t.training}
	if t.testing.Source != t.training.Source {
		sets = append(sets, t.testing)
	}
	for _, set := range sets {
		name := filepath.Base(set.Source)
		if n := set.Skipped.Count; n > 0 {
			lines = append(lines, [2]string{"warning", fmt.Sprintf("%s: %s left out; the first: %v", name, quantity.Count(n, "fault", "faults"), set.Skipped.First[0])})
		}
		if n := set.OtherClasses; n > 0 {
			lines = append(lines, [2]string{"warning", fmt.Sprintf("%s: %s of other classes left out", name, quantity.Count(n, "box", "boxes"))})
		}
		if n := set.Clipped; n > 0 {
			lines = append(lines, [2]string{"warning", fmt.Sprintf("%s: %s cut to the picture", name, quantity.Count(n, "box", "boxes"))})
		}
	}
	return append(lines, describeFindings(t.report)...)
}

// Close implements Task.
func (t *detectionTask) Close() { t.model.Close() }
