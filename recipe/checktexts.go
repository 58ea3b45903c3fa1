package recipe

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/text/tokenizer"

	"github.com/thaw-ml/thaw/internal/suggest"
)

var textNoun = [2]string{"text", "texts"}

// tableRows are the rows of a table as package preflight sees them.
type tableRows struct {
	*corpus.Table
	labels *labelReader
}

func rowsOf(s *Spec, t *corpus.Table) tableRows {
	return tableRows{t, newLabelReader(s.Head.problem(), s.Head.Classes, s.Head.Separator)}
}

// Len implements preflight.Rows.
func (t tableRows) Len() int { return len(t.Rows) }

// Labels implements preflight.Rows.
func (t tableRows) Labels(i int) []string {
	row := t.Rows[i]
	switch {
	case t.Columns.Several && t.labels.separator != "":
		return t.labels.names(row)
	case strings.TrimSpace(row.Label) == "":
		return nil
	}
	return []string{row.Label}
}

// Where implements preflight.Rows.
func (t tableRows) Where(i int) string { return fmt.Sprintf("%s:%d", t.Path, t.Rows[i].Line) }

func (t tableRows) keys() preflight.Keys {
	keys := make(preflight.Keys, len(t.Rows))
	for i, r := range t.Rows {
		if strings.TrimSpace(r.Text) != "" || r.Pair != "" {
			keys[i] = preflight.TextKey(r.Text, r.Pair)
		}
	}
	return keys
}

// checkTables does the checks that take no time, before a run.
func checkTables(s *Spec, train, test *corpus.Table) (*preflight.Report, error) {
	r := &preflight.Report{}
	quickChecks(r, s, rowsOf(s, train), rowsOf(s, test))
	return r, s.refused(r)
}

func quickChecks(r *preflight.Report, s *Spec, train, test tableRows) {
	problem := s.problemOfLabels()
	r.CheckClasses(train, test, problem)
	r.CheckCopies(train, test, train.keys(), test.keys(), problem, textNoun)
	r.CheckTestSize(s.chosenBy(), problem)
}

// preflight implements kind.
func (texts) preflight(ctx context.Context, s *Spec) (*preflight.Report, error) {
	config, err := text.ReadConfig(filepath.Join(s.Model, configFile))
	if err != nil {
		return nil, err
	}
	if err := fitLimits(s, config); err != nil {
		return nil, err
	}
	tok, err := tokenizer.Load(s.Model)
	if err != nil {
		return nil, err
	}
	r := &preflight.Report{}
	train, test, err := lenientTables(s, r)
	if err != nil || len(r.Findings) > 0 {
		return r, err
	}
	trained, tested := rowsOf(s, train), rowsOf(s, test)
	quickChecks(r, s, trained, tested)
	if s.Head.Objective == Regression {
		r.Add(preflight.UnknownLabels, preflight.Fatal, trained.Len()+tested.Len(),
			"labels are no finite numbers, which head.objective: regression needs", append(noNumbers(trained), noNumbers(tested)...))
	}
	var empty, notUTF8 []preflight.Case
	for _, rows := range []tableRows{trained, tested} {
		for i, row := range rows.Rows {
			if strings.TrimSpace(row.Text) == "" {
				empty = append(empty, preflight.Case{Where: rows.Where(i)})
			}
			if row.Replaced() {
				notUTF8 = append(notUTF8, preflight.Case{Where: rows.Where(i)})
			}
		}
	}
	r.CheckTexts(empty, notUTF8, r.Train+r.Test)
	lengths, cut, err := tokenLengths(ctx, s, tok, trained, tested)
	if err != nil {
		return nil, err
	}
	r.CheckLengths(lengths, s.Data.MaxLength, cut)
	return r, r.CheckNearTexts(ctx, trained, tested, trained.keys(), tested.keys())
}

// lenientTables reads the tables as openTables does, but takes rows without a label, and makes findings of what cannot
// be read.
func lenientTables(s *Spec, r *preflight.Report) (train, test *corpus.Table, err error) {
	columns := tableColumns(s)
	if s.Head.Objective == Classification {
		columns.Several = true // rows without a label are counted
	}
	noted := func(err error) error {
		fault, ok := errors.AsType[*corpus.Error](err)
		switch {
		case !ok:
			return err
		case fault.Column != "":
			r.Add(preflight.BadColumns, preflight.Fatal, 0, "a file has not the columns that data.columns names", []preflight.Case{{Where: err.Error()}})
		default:
			r.Add(preflight.Unreadable, preflight.Fatal, 0, "a file cannot be read as a table", []preflight.Case{{Where: err.Error()}})
		}
		return nil
	}
	file, apart := s.Data.TestFile()
	if !apart {
		train, test, err = openColumns(s, columns)
		return train, test, noted(err)
	}
	if train, err = corpus.Open(s.Data.Train, columns); err != nil {
		if err = noted(err); err != nil {
			return nil, nil, err
		}
	}
	test, err = corpus.Open(file, columns)
	return train, test, noted(err)
}

func noNumbers(rows tableRows) (cases []preflight.Case) {
	for i, row := range rows.Rows {
		value, err := strconv.ParseFloat(strings.TrimSpace(row.Label), 64)
		if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
			cases = append(cases, preflight.Case{Where: rows.Where(i), What: suggest.Quote(row.Label)})
		}
	}
	return cases
}

// tokenLengths are the lengths of all texts in tokens, as they are cut, and the rows that are.
func tokenLengths(
	ctx context.Context, s *Spec, tok *tokenizer.Tokenizer, parts ...tableRows,
) (lengths []int, cut []preflight.Case, err error) {
	for _, rows := range parts {
		n := len(rows.Rows)
		own, whole := make([]int, n), make([]int, n)
		workers := min(runtime.GOMAXPROCS(0), max(1, n))
		failures := make([]error, workers)
		var busy sync.WaitGroup
		for w := range workers {
			busy.Go(func() {
				for i := w; i < n && ctx.Err() == nil && failures[w] == nil; i += workers {
					whole[i], failures[w] = tokensOf(tok, rows.Rows[i], rows.Columns.Pair != "")
					own[i] = min(whole[i], s.Data.MaxLength)
				}
			})
		}
		busy.Wait()
		if err := errors.Join(append(failures, ctx.Err())...); err != nil {
			return nil, nil, err
		}
		lengths = append(lengths, own...)
		for i, tokens := range whole {
			if tokens > s.Data.MaxLength {
				cut = append(cut, preflight.Case{Where: rows.Where(i), What: fmt.Sprintf("%d tokens", tokens)})
			}
		}
	}
	return lengths, cut, nil
}

// tokensOf counts the tokens of a row, with the special ones.
func tokensOf(tok *tokenizer.Tokenizer, row corpus.Row, pairs bool) (int, error) {
	if pairs {
		e, err := tok.EncodePair(row.Text, row.Pair, tokenizer.Options{})
		if err != nil {
			return 0, err
		}
		return len(e.IDs), nil
	}
	return len(tok.AppendIDs(nil, row.Text, 0)), nil
}
