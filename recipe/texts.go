package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/text/tokenizer"
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
	spec        *Spec
	model       *text.Classifier
	train, test *text.Dataset
	// What is worth telling of the data.
	duplicates   int // test rows whose text is among the training rows
	notUTF8      int // rows with bytes that are not UTF-8, kept with the replacement character
	firstNotUTF8 string
	empty        int // rows without text, kept
}

func (texts) open(_ context.Context, s *Spec) (Task, error) {
	if s.Head.Objective != Classification {
		return nil, s.Errorf("head.objective", "texts are not trained for %s yet", s.Head.Objective)
	}
	config, err := text.ReadConfig(filepath.Join(s.Model, configFile))
	if err != nil {
		return nil, err
	}
	if err := fitLimits(s, config); err != nil {
		return nil, err
	}
	train, test, err := openTables(s)
	if err != nil {
		return nil, err
	}
	if err := checkClasses(s, train, test); err != nil {
		return nil, err
	}
	t := &textTask{spec: s}
	t.inspect(train, test)
	tok, err := tokenizer.Load(s.Model)
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		table *corpus.Table
		data  **text.Dataset
	}{{train, &t.train}, {test, &t.test}} {
		if *d.data, err = text.NewDataset(d.table, tok, s.Head.Classes, s.Data.MaxLength, config.PadTokenID); err != nil {
			return nil, err
		}
	}
	head := text.Head{Classes: s.Head.Classes, Pooling: text.Pooling(s.Head.Pooling), Dropout: s.Head.Dropout}
	if t.model, err = text.LoadClassifier(s.Model, s.Weights, head, s.Seed); err != nil {
		return nil, err
	}
	t.model.Config.MaxLength = s.Data.MaxLength
	if err := s.checkPhases(t.model.Stages()); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
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
	return corpus.Columns{Text: c.Text, Pair: c.Pair, Label: c.Label}
}

// openTables reads the training and the test rows.
func openTables(s *Spec) (train, test *corpus.Table, err error) {
	columns := tableColumns(s)
	all, err := corpus.Open(s.Data.Train, columns)
	if err != nil {
		return nil, nil, err
	}
	if file, ok := s.Data.TestFile(); ok {
		test, err = corpus.Open(file, columns)
		return all, test, err
	}
	train, test, err = all.Split(s.Data.Test, s.Seed)
	if err != nil {
		return nil, nil, s.Errorf("data.test", "%v", err)
	}
	return train, test, nil
}

// checkClasses compares the spec's classes with the labels there are, both ways.
func checkClasses(s *Spec, train, test *corpus.Table) error {
	for _, table := range []*corpus.Table{train, test} {
		if _, err := table.Indices(s.Head.Classes); err != nil {
			return s.Errorf("head.classes", "%w", err)
		}
	}
	seen := train.Classes()
	for i, class := range s.Head.Classes {
		if !slices.Contains(seen, class) {
			return s.Errorf(fmt.Sprintf("head.classes[%d]", i), "no row of %s has the label %q; there are %v", train.Path, class, seen)
		}
	}
	return nil
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
	data := fmt.Sprintf("%s train · %s test · median %d tokens", quantity.Digits(t.train.Len()), quantity.Digits(t.test.Len()), medianLength(t.train))
	if t.test.Len() > 0 {
		data += fmt.Sprintf(" · %s also in train", quantity.Count(t.duplicates, "test text", "test texts"))
	}
	if t.notUTF8 > 0 {
		data += fmt.Sprintf(" · %s not UTF-8", quantity.Count(t.notUTF8, "row", "rows"))
	}
	lines := [][2]string{
		{"model", fmt.Sprintf("%s  %.1fM parameters  %s", m.Name(), float64(nn.NumParams(m))/1e6, m.Source)},
		{"head", fmt.Sprintf("new: %d -> %d [%s], %s", m.Config.HiddenSize, len(m.Classes), strings.Join(m.Classes, " "), pooled)},
		{"data", data},
	}
	if t.notUTF8 > 0 {
		lines = append(lines, [2]string{"warning", fmt.Sprintf("%s with bytes that are not UTF-8 (the first is %s), kept with U+FFFD in their place",
			quantity.Count(t.notUTF8, "row", "rows"), t.firstNotUTF8)})
	}
	if t.empty > 0 {
		lines = append(lines, [2]string{"warning", fmt.Sprintf("%s without a text, kept as they are", quantity.Count(t.empty, "row", "rows"))})
	}
	return lines
}

// Train implements Task.
func (t *textTask) Train(ctx context.Context, report finetune.Reporter) (*finetune.Result, error) {
	return train(ctx, t.spec, t.model, t.train, t.test, report)
}

// Close implements Task.
func (t *textTask) Close() { t.model.Close() }

// textModel is a Model of texts.
type textModel struct {
	*text.Classifier
	pairs bool
}

func (texts) openWeights(folder string) (Model, error) { return texts{}.openModel(folder, "") }

func (texts) openModel(folder, weights string) (Model, error) {
	m, err := text.OpenClassifier(folder, weights)
	if err != nil {
		return nil, err
	}
	pairs, err := takesPairs(folder)
	if err != nil {
		m.Close()
		return nil, err
	}
	return &textModel{m, pairs}, nil
}

// takesPairs reads from config.json whether the model was trained on pairs.
func takesPairs(folder string) (bool, error) {
	path := filepath.Join(folder, configFile)
	data, err := os.ReadFile(path)
	var config struct {
		Pairs bool `json:"thaw_pairs"`
	}
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return config.Pairs, nil
}

// pairPredictor is a classifier of pairs of texts.
type pairPredictor interface {
	PredictPairs(ctx context.Context, pairs [][2]string, batchSize int) ([]text.Prediction, error)
}

// exporter is a classifier that writes what transformers loads.
type exporter interface{ Export(folder string) error }

// Use implements Model.
func (m *textModel) Use(device, precision string) error {
	device, precision, err := chosenDevice(device, precision)
	if err != nil {
		return err
	}
	return m.Classifier.Use(device, precision)
}

// Pairs implements Model.
func (m *textModel) Pairs() bool { return m.pairs }

// Together implements Model: 1,024 texts in batches of 64.
func (m *textModel) Together() int { return 16 }

// Labels implements Model.
func (m *textModel) Labels() []string { return m.Classes }

// Predict implements Model.
func (m *textModel) Predict(ctx context.Context, inputs []Input, batch int) ([]Prediction, error) {
	var found []text.Prediction
	var failure error
	if m.pairs {
		p, ok := any(m.Classifier).(pairPredictor)
		if !ok {
			return nil, errors.New("pairs of texts are not predicted yet")
		}
		pairs := make([][2]string, len(inputs))
		for i, in := range inputs {
			pairs[i] = [2]string{in.Text, in.Pair}
		}
		found, failure = p.PredictPairs(ctx, pairs, batch)
	} else {
		single := make([]string, len(inputs))
		for i, in := range inputs {
			single[i] = in.Text
		}
		found, failure = m.Classifier.Predict(ctx, single, batch)
	}
	out := make([]Prediction, len(found))
	for i, p := range found {
		out[i] = Prediction{Input: inputs[i].String(), Label: p.Label, Score: p.Scores[p.Label], Details: p}
	}
	return out, failure
}

// Export implements Model.
func (m *textModel) Export(folder string) error {
	if e, ok := any(m.Classifier).(exporter); ok {
		return e.Export(folder)
	}
	return noSuch("%s is in transformers' layout already", filepath.Dir(m.Source))
}

func (texts) evaluate(ctx context.Context, r *Run, o EvalOptions) (*Evaluation, error) {
	s, err := r.source(o)
	if err != nil {
		return nil, err
	}
	m := r.Model.(*textModel)
	table, err := testTable(r, s, o.Data)
	if err != nil {
		return nil, err
	}
	length := s.Data.MaxLength
	if length == 0 {
		length = m.Config.MaxLength
	}
	if length == 0 {
		length = m.Config.MaxPositionEmbeddings
	}
	data, err := text.NewDataset(table, m.Tokenizer, m.Classes, length, m.Config.PadTokenID)
	if err != nil {
		return nil, err
	}
	return evaluate(ctx, m.Classifier, data, o)
}

// testTable reads the rows that a run is measured on: those of file, or the run's own test rows.
func testTable(r *Run, s *Spec, file string) (table *corpus.Table, err error) {
	if own, ok := s.Data.TestFile(); file == "" && ok { // the training rows may be gone
		file = own
	}
	if file != "" {
		if err := r.columnsMissing(file, "text", s.Data.Columns.Text, "label", s.Data.Columns.Label); err != nil {
			return nil, err
		}
		table, err = corpus.Open(file, tableColumns(s))
	} else {
		_, table, err = openTables(s)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the test rows of %s: %w: name a file with --data", r.Folder, err)
	}
	if err == nil && len(table.Rows) == 0 {
		return nil, fmt.Errorf("%s has no test rows: name a file with --data", r.Folder)
	}
	return table, err
}
