package recipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// defaultMaxLength is max_seq_length of BERT's run_classifier.py.
const defaultMaxLength = 128

// texts are single texts, or pairs of them, in tables.
type texts struct{}

func (texts) name() string                    { return "texts" }
func (texts) modelTypes() ([]string, string)  { return []string{"bert"}, "BERT" }
func (texts) registered() hub.Kind            { return hub.TextEncoder }
func (texts) trains(architecture string) bool { return architecture == "bert" }
func (texts) hasHead(hub.Model) bool          { return false }
func (texts) means(s *Spec) bool              { return s.Data.Columns.Text != "" }
func (texts) isArchitecture(*Spec) bool       { return false }
func (texts) takesFolders() bool              { return false }
func (texts) sizeKey() string                 { return "data.max_length" }
func (texts) loraTargets() []string           { return []string{"query", "value"} }
func (texts) objectives() []string            { return labelObjectives }
func (texts) checkMetrics(s *Spec) error      { return s.checkMetrics() }

func (texts) resolve(s *Spec, f *faults) {
	h, d := &s.Head, &s.Data
	if len(h.Classes) == 0 && h.Objective != Regression && f.source != nil {
		f.add("head.classes", "a classifier needs two classes or more, found 0")
	}
	f.choice("head.pooling", &h.Pooling, "cls", "mean")
	if h.Dropout != nil {
		f.check(0 <= *h.Dropout && *h.Dropout < 1, "head.dropout", "must be from 0 to below 1, found %v", *h.Dropout)
	}
	f.check(s.Images == nil, "images", "is for images, and kind is texts")
	f.check(s.Boxes == nil, "boxes", "is for boxes, and kind is texts")
	f.check(d.Columns.Image == "", "data.columns.image", "is for images")
	f.check(d.OtherClasses == "", "data.other_classes", "is for images")
	f.check(d.PerClass == 0, "data.per_class", "is for images")

	f.required("data.train", d.Train, "a .csv, .tsv or .jsonl file")
	f.required("data.columns.text", d.Columns.Text, "the name of the column with the texts")
	f.required("data.columns.label", d.Columns.Label, "the name of the column with the "+h.labelled())
	f.text("data.columns.pair", d.Columns.Pair)
	if d.Columns.Text != "" {
		f.check(d.Columns.Label != d.Columns.Text, "data.columns.label", "is the column of the texts")
		f.check(d.Columns.Pair != d.Columns.Text, "data.columns.pair", "is the column of the texts")
	}
	if d.Columns.Label != "" {
		f.check(d.Columns.Pair != d.Columns.Label, "data.columns.pair", "is the column of the labels")
	}
	var err error
	d.Test, err = cleanTest(d.Test)
	f.check(err == nil, "data.test", "%v", err)
	f.fallbackInt("data.max_length", &d.MaxLength, defaultMaxLength)
	f.check(d.MaxLength >= 3, "data.max_length", "must be 3 tokens or more, of which [CLS] and [SEP] are two; found %d", d.MaxLength)
}

// checkModel checks the folder of the model.
func (texts) checkModel(s *Spec, f *faults) {
	info, err := os.Stat(s.Model)
	switch {
	case err != nil:
		f.add("model", "%w", notThere(s.Model, "folder", err))
	case !info.IsDir():
		f.add("model", "%s is a file; expected a folder with config.json, the weights and the tokenizer", s.Model)
	default:
		f.file("model", filepath.Join(s.Model, configFile))
	}
}

// textTask is a Task on texts.
type textTask struct {
	job[*text.Batch]
	model       *text.Classifier
	train, test *text.Dataset
	// What is worth telling of the data.
	duplicates   int // test rows whose text is among the training rows
	notUTF8      int // rows with bytes that are not UTF-8, kept with the replacement character
	firstNotUTF8 string
	empty        int // rows without text, kept
	report       *preflight.Report
}

func (texts) open(_ context.Context, s *Spec) (Task, error) {
	config, err := text.ReadConfig(filepath.Join(s.Model, configFile))
	if err != nil {
		return nil, err
	}
	if err := fitLimits(s, config); err != nil {
		return nil, err
	}
	train, test, err := openTables(s)
	if err != nil {
		return nil, s.ofColumns(err)
	}
	head := textHead(s)
	labels := newLabelReader(head.Problem, s.Head.Classes, s.Head.Separator)
	t := &textTask{job: job[*text.Batch]{spec: s}}
	t.inspect(train, test)
	tok, err := tokenizer.Load(s.Model)
	if err != nil {
		return nil, err
	}
	config = config.WithHead(head)
	if t.train, err = textData(s, train, tok, config, labels); err != nil {
		return nil, s.ofLabels(err)
	}
	if missing := labels.unseen(); missing >= 0 && !s.accepts(preflight.EmptyClasses) {
		return nil, s.Errorf(fmt.Sprintf("head.classes[%d]", missing), "no row of %s has the label %q; there are %v",
			train.Path, s.Head.Classes[missing], labels.met())
	}
	if t.test, err = textData(s, test, tok, config, labels); err != nil {
		return nil, s.ofLabels(err)
	}
	t.shown = shownTexts(t.train, t.test, test)
	if t.report, err = checkTables(s, train, test); err != nil {
		return nil, err
	}
	if t.model, err = text.LoadClassifier(s.Model, s.Weights, head); err != nil {
		return nil, err
	}
	t.model.Remember(t.train)
	t.ready()
	task := "SEQ_CLS" // of which PEFT's model pools as transformers does
	if head.Pooling != text.CLS {
		task = ""
	}
	if t.adapters, err = adapt(s, t.model, task); err == nil {
		err = checkPhases(s, t.model)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// ready has the job know what was opened.
func (t *textTask) ready() {
	t.network, t.trainSet, t.testSet = t.model, t.train, t.test
	t.objective = func() (train.Objective, error) { return t.spec.objective(t.model.Classes, t.train.Targets()) }
}

// textHead is the head that a spec asks for.
func textHead(s *Spec) text.Head {
	return text.Head{
		Classes: s.Head.Classes, Problem: s.Head.problem(), Pooling: text.Pooling(s.Head.Pooling), Dropout: s.Head.Dropout, Seed: s.Seed,
	}
}

// textData tokenises a table.
func textData(
	s *Spec, t *corpus.Table, tok *tokenizer.Tokenizer, config text.Config, labels *labelReader,
) (*text.Dataset, error) {
	targets, err := labels.targets(t)
	if err != nil {
		return nil, err
	}
	items := make(data.Items[text.Item], len(t.Rows))
	for i, r := range t.Rows {
		if t.Columns.Pair != "" && r.Pair == "" {
			r.Pair = " " // an empty text is one of two, as an empty text alone is kept
		}
		items[i] = text.Item{
			Text: r.Text, Pair: r.Pair, Class: targets[i].Class, Labels: targets[i].Labels, Value: targets[i].Value,
			Origin: fmt.Sprintf("%s:%d", t.Path, r.Line),
		}
	}
	pairs := t.Columns.Pair != ""
	config.Pairs = &pairs
	return text.NewDataset(items, tok, config, text.DatasetOptions{MaxLength: s.Data.MaxLength})
}

// ofLabels gives an error about a row's label the place of the key that says which labels there are.
func (s *Spec) ofLabels(err error) error {
	if _, ok := errors.AsType[*corpus.Error](err); !ok {
		return err
	}
	key := "head.classes"
	if s.Head.Objective == Regression {
		key = "head.objective"
	}
	return s.Errorf(key, "%w", err)
}

// ofColumns gives an error about a column that is not there the place of the key that names it.
func (s *Spec) ofColumns(err error) error {
	fault, ok := errors.AsType[*corpus.Error](err)
	if !ok || fault.Column == "" {
		return err
	}
	c := s.Data.Columns
	for _, key := range []struct{ name, column string }{{"text", c.Text}, {"pair", c.Pair}, {"image", c.Image}, {"label", c.Label}} {
		if key.column == fault.Column {
			return s.Errorf("data.columns."+key.name, "%w", err)
		}
	}
	return err
}

// fitLimits compares what a spec asks for with the limits of the model, before its weights are read.
func fitLimits(s *Spec, config text.Config) error {
	if limit := config.MaxPositionEmbeddings; s.Data.MaxLength > limit {
		if s.source.given("data.max_length") || s.Data.MaxLength != defaultMaxLength {
			return s.Errorf("data.max_length", "%d is more than the %d positions of the model", s.Data.MaxLength, limit)
		}
		s.Data.MaxLength = limit
	}
	if s.Data.Columns.Pair != "" && config.TypeVocabSize < 2 {
		return s.Errorf("data.columns.pair", "the model tells no two texts apart: type_vocab_size of its config.json is %d", config.TypeVocabSize)
	}
	return nil
}

// tableColumns are the columns of the tables that a spec names.
func tableColumns(s *Spec) corpus.Columns {
	c := s.Data.Columns
	return corpus.Columns{Text: c.Text, Pair: c.Pair, Label: c.Label, Several: s.Head.Objective == MultiLabel}
}

// openTables reads the training and the test rows.
func openTables(s *Spec) (train, test *corpus.Table, err error) {
	return openColumns(s, tableColumns(s))
}

func openColumns(s *Spec, columns corpus.Columns) (train, test *corpus.Table, err error) {
	all, err := corpus.Open(s.Data.Train, columns)
	if err != nil {
		return nil, nil, err
	}
	if file, ok := s.Data.TestFile(); ok {
		test, err = corpus.Open(file, columns)
		return all, test, err
	}
	chosen, err := data.Split(strata(s, all), s.Data.Test, s.Seed)
	if err != nil {
		return nil, nil, s.Errorf("data.test", "%s: %v", all.Path, err)
	}
	train = all.Part(func(i int) bool { return !chosen[i] })
	return train, all.Part(func(i int) bool { return chosen[i] }), nil
}

// strata are the class numbers that a share of the rows is drawn from evenly.
func strata(s *Spec, t *corpus.Table) []int {
	number := map[string]int{}
	if s.Head.Objective == Classification {
		for i, class := range t.Classes() {
			number[class] = i
		}
	}
	classes := make([]int, len(t.Rows))
	for i, r := range t.Rows {
		classes[i] = number[r.Label]
	}
	return classes
}

// inspect counts what is worth telling.
func (t *textTask) inspect(train, test *corpus.Table) {
	t.duplicates = corpus.Duplicates(train, test)
	first := 0
	for _, table := range []*corpus.Table{train, test} {
		t.empty += table.Empty
		if table.InvalidUTF8 == 0 {
			continue
		}
		t.notUTF8 += table.InvalidUTF8
		// A table's test rows stand between its training rows.
		if line := table.FirstInvalid; first == 0 || table.Path == train.Path && line < first {
			first, t.firstNotUTF8 = line, fmt.Sprintf("%s:%d", table.Path, line)
		}
	}
}

func medianLength(d *text.Dataset) int {
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

// Describe implements Task.
func (t *textTask) Describe() [][2]string {
	m := t.model
	pooled := "the pooled first token"
	if m.Config.Pooling == text.Mean {
		pooled = "mean pooling"
	}
	rows := fmt.Sprintf("%s train · %s test · median %d tokens", quantity.Digits(t.train.Len()), quantity.Digits(t.test.Len()), medianLength(t.train))
	if t.test.Len() > 0 {
		rows += fmt.Sprintf(" · %s also in train", quantity.Count(t.duplicates, "test text", "test texts"))
	}
	if t.notUTF8 > 0 {
		rows += fmt.Sprintf(" · %s not UTF-8", quantity.Count(t.notUTF8, "row", "rows"))
	}
	lines := [][2]string{
		{"model", fmt.Sprintf("%s  %.1fM parameters  %s", m.Name(), float64(nn.NumParams(m))/1e6, m.Source)},
		{"head", fmt.Sprintf("new: %d -> %s, %s", m.Config.HiddenSize, describeHead(t.spec, m.Classes), pooled)},
		{"data", rows},
	}
	lines = append(lines, describeAdapters(t.adapters)...)
	if t.notUTF8 > 0 {
		lines = append(lines, [2]string{"warning", fmt.Sprintf("%s with bytes that are not UTF-8 (the first is %s), kept with U+FFFD in their place",
			quantity.Count(t.notUTF8, "row", "rows"), t.firstNotUTF8)})
	}
	if t.empty > 0 {
		lines = append(lines, [2]string{"warning", fmt.Sprintf("%s without a text, kept as they are", quantity.Count(t.empty, "row", "rows"))})
	}
	if n := t.train.Truncated() + t.test.Truncated(); n > 0 {
		lines = append(lines, [2]string{"warning", fmt.Sprintf("%s cut to %d tokens (data.max_length)", quantity.Count(n, "text", "texts"), t.train.MaxLength())})
	}
	return append(lines, describeFindings(t.report)...)
}

// describeHead says what a head gives.
func describeHead(s *Spec, classes []string) string {
	if s.Head.Objective == Regression {
		return "a number"
	}
	names := strings.Join(classes, " ")
	if len(classes) > 12 {
		names = fmt.Sprintf("%s ... %s", strings.Join(classes[:5], " "), classes[len(classes)-1])
	}
	if s.Head.Objective == MultiLabel {
		return fmt.Sprintf("%d [%s], several at once", len(classes), names)
	}
	return fmt.Sprintf("%d [%s]", len(classes), names)
}

// Close implements Task.
func (t *textTask) Close() { t.model.Close() }
