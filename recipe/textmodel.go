package recipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
)

// textModel is a Model of texts.
type textModel struct{ *text.Classifier }

func (texts) openWeights(folder string) (Model, error) { return texts{}.openModel(folder, "") }

func (texts) openModel(folder, weights string) (Model, error) {
	m, err := text.OpenClassifier(folder, weights)
	if err != nil {
		return nil, err
	}
	return &textModel{m}, nil
}

// Use implements Model.
func (m *textModel) Use(device, precision string) error {
	device, precision, err := chosenDevice(device, precision)
	if err != nil {
		return err
	}
	return m.Classifier.Use(device, precision)
}

// Pairs implements Model.
func (m *textModel) Pairs() bool { return m.Config.Pairs != nil && *m.Config.Pairs }

// Together implements Model: 1,024 texts in batches of 64.
func (m *textModel) Together() int { return 16 }

// Labels implements Model.
func (m *textModel) Labels() []string { return m.Classes }

// Predict implements Model.
func (m *textModel) Predict(ctx context.Context, inputs []Input, o finetune.PredictOptions) ([]Prediction, error) {
	items := make([]text.Item, len(inputs))
	for i, in := range inputs {
		items[i] = text.Item{Text: in.Text, Pair: in.Pair}
	}
	return m.Classifier.Predict(ctx, items, o)
}

func (texts) evaluate(ctx context.Context, r *Run, o EvalOptions) (*metric.Score, error) {
	s, err := r.source(o)
	if err != nil {
		return nil, err
	}
	m := r.Model.(*textModel)
	if s.Head.Objective = Classification; m.Config.ProblemType == objective.MultiLabel {
		s.Head.Objective, s.Head.Separator = MultiLabel, cmp.Or(s.Head.Separator, ",")
	} else if m.Config.ProblemType == objective.Regression {
		s.Head.Objective = Regression
	}
	table, err := testTable(r, s, o.Data)
	if err != nil {
		return nil, err
	}
	s.Data.MaxLength = cmp.Or(s.Data.MaxLength, m.Config.MaxLength, m.Config.DefaultMaxLength())
	set, err := textData(s, table, m.Tokenizer, m.Config, newLabelReader(m.Config.ProblemType, m.Classes, s.Head.Separator))
	if err != nil {
		return nil, err
	}
	measured, err := withMetrics(s, objective.New(m.Config.ProblemType, m.Classes))
	if err != nil {
		return nil, err
	}
	return evaluate(ctx, m.Classifier, set, measured, o, finetune.DefaultPredictBatch)
}

// testTable reads the rows that a run is measured on: those of file, or the run's own test rows.
func testTable(r *Run, s *Spec, file string) (table *corpus.Table, err error) {
	if own, ok := s.Data.TestFile(); file == "" && ok { // the training rows may be gone
		file = own
	}
	if file != "" {
		columns := []string{"text", s.Data.Columns.Text, "label", s.Data.Columns.Label}
		switch {
		case r.Pairs():
			columns = slices.Insert(columns, 2, "pair", s.Data.Columns.Pair)
		case s.Data.Columns.Pair != "":
			return nil, noSuch("%s was trained on single texts, and data.columns.pair names a second: leave it out", r.Folder)
		}
		if err := r.columnsMissing(file, columns...); err != nil {
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
