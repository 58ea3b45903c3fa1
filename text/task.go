package text

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Task is what a spec asks for, read and ready to run.
type Task struct {
	Model       *Classifier
	Train, Test *Dataset
	// What is worth telling of the data.
	MedianTokens int
	Duplicates   int // test rows whose text is among the training rows
	NotUTF8      int // rows with bytes that are not UTF-8, kept with the replacement character
	FirstNotUTF8 string
	Empty        int // rows without text, kept
}

// specMaxLength is the default of a spec's data.max_length. A spec does not say whether that was given; where a model
// has fewer positions, no text can be longer than these anyway.
const specMaxLength = 128

// Prepare checks all that a spec names, then reads the data and loads the model. spec must be resolved.
func Prepare(spec *finetune.Spec) (*Task, error) {
	if err := finetune.JoinFaults(spec.CheckPaths(hub.LocalFineTunable), spec.ChooseDevice()); err != nil {
		return nil, err
	}
	config, err := ReadConfig(filepath.Join(spec.Model, "config.json"))
	if err != nil {
		return nil, err
	}
	if spec.Data.MaxLength == 0 || spec.Data.MaxLength == specMaxLength {
		spec.Data.MaxLength = config.DefaultMaxLength()
	}
	if err := config.checkLength(spec.Data.MaxLength); err != nil {
		return nil, spec.Errorf("data.max_length", "%v", err)
	}
	pairs := spec.Data.Columns.Pair != ""
	if err := config.checkPairs(pairs); err != nil {
		return nil, spec.Errorf("data.columns.pair", "%v", err)
	}
	if err := checkPhases(spec, config); err != nil {
		return nil, err
	}
	train, test, err := openData(spec)
	if err != nil {
		return nil, err
	}
	if err := checkClasses(spec, train, test); err != nil {
		return nil, err
	}
	t := &Task{Duplicates: corpus.Duplicates(train, test)}
	first := 0
	for _, table := range []*corpus.Table{train, test} {
		t.Empty += table.Empty
		if table.InvalidUTF8 > 0 {
			t.NotUTF8 += table.InvalidUTF8
			// A table's test rows stand between its training rows.
			if line := table.FirstInvalid; first == 0 || table.Path == train.Path && line < first {
				first, t.FirstNotUTF8 = line, fmt.Sprintf("%s:%d", table.Path, line)
			}
		}
	}
	tok, err := tokenizer.Load(spec.Model)
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		table *corpus.Table
		data  **Dataset
	}{{train, &t.Train}, {test, &t.Test}} {
		if *d.data, err = NewDataset(d.table, tok, spec.Head.Classes, spec.Data.MaxLength, config); err != nil {
			return nil, err
		}
	}
	t.MedianTokens = median(t.Train)
	if t.Model, err = LoadClassifier(spec.Model, spec.Weights, headOf(spec), spec.Seed); err != nil {
		return nil, err
	}
	t.Model.Config.MaxLength, t.Model.Config.Pairs = spec.Data.MaxLength, &pairs
	return t, nil
}

// headOf is the head that a spec asks for.
func headOf(spec *finetune.Spec) Head {
	return Head{spec.Head.Classes, Pooling(spec.Head.Pooling), spec.Head.Dropout}
}

// textColumns are the columns of the tables that a spec names.
func textColumns(spec *finetune.Spec) corpus.Columns {
	c := spec.Data.Columns
	return corpus.Columns{Text: c.Text, Pair: c.Pair, Label: c.Label}
}

// openData reads the training and the test rows.
func openData(spec *finetune.Spec) (train, test *corpus.Table, err error) {
	columns := textColumns(spec)
	all, err := corpus.Open(spec.Data.Train, columns)
	if err != nil {
		return nil, nil, err
	}
	if file, ok := spec.Data.TestFile(); ok {
		test, err = corpus.Open(file, columns)
		return all, test, err
	}
	train, test, err = all.Split(spec.Data.Test, spec.Seed)
	if err != nil {
		return nil, nil, spec.Errorf("data.test", "%v", err)
	}
	return train, test, nil
}

// checkClasses compares the spec's classes with the labels there are, both ways.
func checkClasses(spec *finetune.Spec, train, test *corpus.Table) error {
	for _, table := range []*corpus.Table{train, test} {
		if _, err := table.Indices(spec.Head.Classes); err != nil {
			return spec.Errorf("head.classes", "%w", err)
		}
	}
	seen := train.Classes()
	for i, class := range spec.Head.Classes {
		if !slices.Contains(seen, class) {
			return spec.Errorf(fmt.Sprintf("head.classes[%d]", i), "no row of %s has the label %q; there are %v", train.Path, class, seen)
		}
	}
	return nil
}

// checkPhases compares what the phases train with the model that the configuration describes, before its weights are
// read.
func checkPhases(spec *finetune.Spec, config Config) (err error) {
	head := headOf(spec)
	sketch := &Classifier{Config: config.withClasses(head.Classes, head), Classes: head.Classes}
	defer sketch.Close()
	failure := torch.Try(func() {
		if err = sketch.allocate(); err == nil {
			err = spec.CheckPhases(sketch.Stages())
		}
	})
	return errors.Join(err, failure)
}

func median(d *Dataset) int {
	if d.Len() == 0 {
		return 0
	}
	lengths := make([]int, d.Len())
	for i := range lengths {
		lengths[i] = d.Length(i)
	}
	slices.Sort(lengths)
	return lengths[len(lengths)/2]
}

// Name says what the model is, for people: "BERT, 6 layers of 384".
func (c *Classifier) Name() string {
	return fmt.Sprintf("%s, %d layers of %d", strings.ToUpper(c.Config.ModelType), c.Config.NumHiddenLayers, c.Config.HiddenSize)
}

// Describe tells what was read, a subject and a line each.
func (t *Task) Describe() [][2]string {
	m := t.Model
	pooled := "the pooled first token"
	if m.Config.Pooling == Mean {
		pooled = "mean pooling"
	}
	data := fmt.Sprintf("%s train · %s test · median %d tokens", quantity.Digits(t.Train.Len()), quantity.Digits(t.Test.Len()), t.MedianTokens)
	if t.Test.Len() > 0 {
		data += fmt.Sprintf(" · %s also in train", quantity.Count(t.Duplicates, "test text", "test texts"))
	}
	if t.NotUTF8 > 0 {
		data += fmt.Sprintf(" · %s not UTF-8", quantity.Count(t.NotUTF8, "row", "rows"))
	}
	lines := [][2]string{
		{"model", fmt.Sprintf("%s  %.1fM parameters  %s", m.Name(), float64(nn.NumParams(m))/1e6, m.Source)},
		{"head", fmt.Sprintf("new: %d -> %d [%s], %s", m.Config.HiddenSize, len(m.Classes), strings.Join(m.Classes, " "), pooled)},
		{"data", data},
	}
	if t.NotUTF8 > 0 {
		lines = append(lines, [2]string{"warning", fmt.Sprintf("%s with bytes that are not UTF-8 (the first is %s), kept with U+FFFD in their place", quantity.Count(t.NotUTF8, "row", "rows"), t.FirstNotUTF8)})
	}
	if t.Empty > 0 {
		lines = append(lines, [2]string{"warning", fmt.Sprintf("%s without a text, kept as they are", quantity.Count(t.Empty, "row", "rows"))})
	}
	if cut := t.Train.Truncated() + t.Test.Truncated(); cut > 0 {
		line := fmt.Sprintf("%s longer than %d tokens (data.max_length), cut there: %s of train, %s of test",
			quantity.Count(cut, "text is", "texts are"), m.Config.MaxLength,
			quantity.Digits(t.Train.Truncated()), quantity.Digits(t.Test.Truncated()))
		lines = append(lines, [2]string{"warning", line})
	}
	return lines
}
