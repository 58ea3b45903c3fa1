package album

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/text/corpus"
)

// isTable tells whether a file is one that package corpus reads.
func isTable(path string) bool {
	name := strings.TrimSuffix(strings.ToLower(path), ".gz")
	return strings.HasSuffix(name, ".csv") || strings.HasSuffix(name, ".tsv") || strings.HasSuffix(name, ".jsonl")
}

func (a *Album) openTable(o Options) error {
	columns := corpus.Columns{Text: o.Columns.Image, Label: o.Columns.Label}
	if columns.Text == "" {
		columns.Text = "image"
	}
	if columns.Label == "" {
		columns.Label = "label"
	}
	t, err := corpus.Open(a.Source, columns)
	if err != nil {
		return err
	}
	if t.Empty > 0 {
		return fmt.Errorf("%s:%d: the path (column %q) is empty", a.Source, t.FirstEmpty, columns.Text)
	}
	a.table = true
	folder := filepath.Dir(a.Source)
	classes := t.Classes()
	indices, err := t.Indices(classes)
	if err != nil {
		return err
	}
	for i, r := range t.Rows {
		path := r.Text
		if !filepath.IsAbs(path) {
			path = filepath.Join(folder, path)
		}
		a.items = append(a.items, item{path, int32(r.Line), int32(indices[i])})
	}
	err = a.setClasses(found{"label", classes, func(class string) string {
		for _, r := range t.Rows {
			if r.Label == class {
				return fmt.Sprintf("%s:%d: ", a.Source, r.Line)
			}
		}
		return ""
	}}, o)
	if err != nil {
		return err
	}
	return a.allThere(folder)
}

// quotePath quotes a path, and shortens what a column of other things than paths may hold.
func quotePath(path string) string {
	if len(path) > 255 {
		return suggest.Quote(path)
	}
	return strconv.Quote(path)
}

// allThere checks that there is a file for each row.
func (a *Album) allThere(folder string) error {
	bad := each(context.Background(), 0, len(a.items), func(i int) error {
		it := a.items[i]
		info, err := os.Stat(it.path)
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New("not a file")
		}
		if err != nil {
			return fmt.Errorf("line %d: %s: %w", it.at, quotePath(it.path), fserror.WithoutPath(err))
		}
		return nil
	})
	if len(bad) == 0 {
		return nil
	}
	const most = 3
	var named []string
	for _, err := range bad[:min(most, len(bad))] {
		named = append(named, err.Error())
	}
	if n := len(bad) - most; n > 0 {
		named = append(named, fmt.Sprintf("and %d more", n))
	}
	return fmt.Errorf("%d of its %d pictures are not there: %s; paths are relative to %s",
		len(bad), len(a.items), strings.Join(named, "; "), folder)
}
