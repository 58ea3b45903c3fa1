package text

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/text/tokenizer"
)

// Dataset is a table of labelled texts, tokenised.
type Dataset struct {
	ids     [][]int64
	types   [][]int64 // nil where there are no pairs
	labels  []int
	classes []string
	pad     int64

	truncated int
}

// NewDataset tokenises a table for the model that config describes. maxLength is where a text is cut, special tokens
// counted; 0 is the configuration's DefaultMaxLength. classes are the labels by class number, and nil leaves the labels
// unread.
//
// What the model cannot read is an error: pairs where it has one segment, more tokens than it has positions, a token
// that it has no embedding for.
func NewDataset(
	table *corpus.Table, tok *tokenizer.Tokenizer, classes []string, maxLength int, config Config,
) (*Dataset, error) {
	maxLength = cmp.Or(maxLength, config.DefaultMaxLength())
	pairs := table.Columns.Pair != ""
	if err := config.CheckTexts(pairs, maxLength); err != nil {
		return nil, fmt.Errorf("tokenising %s: %w", cmp.Or(table.Path, "texts"), err)
	}
	d := &Dataset{classes: classes, pad: int64(config.PadTokenID)}
	if classes != nil {
		labels, err := table.Indices(classes)
		if err != nil {
			return nil, err
		}
		d.labels = labels
	}
	var all []int64 // one piece of memory for all single texts
	for _, row := range table.Rows {
		var ids []int64
		if pairs {
			// Whole first, to know whether anything is cut.
			e, err := tok.EncodePair(row.Text, row.Pair, tokenizer.Options{})
			if err == nil && len(e.IDs) > maxLength {
				d.truncated++
				e, err = tok.EncodePair(row.Text, row.Pair, tokenizer.Options{MaxLength: maxLength})
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", place(table, row), err)
			}
			ids, d.types = e.IDs, append(d.types, e.TypeIDs)
		} else {
			start := len(all)
			all = tok.AppendIDs(all, row.Text, maxLength+1)
			if len(all)-start > maxLength {
				d.truncated++
				all = tok.AppendIDs(all[:start], row.Text, maxLength)
			}
			ids = all[start:len(all):len(all)]
		}
		if last := largest(ids); last >= int64(config.VocabSize) {
			token, _ := tok.Token(last)
			return nil, fmt.Errorf("%s: the token %q has the id %d, and the model's vocab_size is %d",
				place(table, row), token, last, config.VocabSize)
		}
		d.ids = append(d.ids, ids)
	}
	return d, nil
}

func largest(ids []int64) int64 {
	if len(ids) == 0 {
		return 0
	}
	return slices.Max(ids)
}

// place names a row: its file and line, or the beginning of its text where it is from no file.
func place(table *corpus.Table, row corpus.Row) string {
	if table.Path == "" {
		return suggest.Quote(row.Text)
	}
	return fmt.Sprintf("%s:%d", table.Path, row.Line)
}

// Truncated is the number of texts, or pairs, that were cut: their ends are not seen.
func (d *Dataset) Truncated() int { return d.truncated }

// Len is the number of texts.
func (d *Dataset) Len() int { return len(d.ids) }

// Length is a text's number of tokens.
func (d *Dataset) Length(i int) int { return len(d.ids[i]) }

// Classes are the labels by class number.
func (d *Dataset) Classes() []string { return d.classes }

// Varies is false: a text is the same in every epoch.
func (d *Dataset) Varies() bool { return false }

// Batch pads texts to the longest of them, or to what is asked for.
func (d *Dataset) Batch(r finetune.Request) (*Batch, error) {
	indices := r.Indices
	b := &Batch{Index: indices, T: r.Length, Masked: r.Length > 0}
	for _, i := range indices {
		b.Length = append(b.Length, len(d.ids[i]))
		b.T = max(b.T, len(d.ids[i]))
		if d.labels != nil {
			b.Class = append(b.Class, d.labels[i])
		}
	}
	b.IDs = make([]int64, len(indices)*b.T)
	if d.types != nil {
		b.Types = make([]int64, len(indices)*b.T)
	}
	for k, i := range indices {
		row := b.IDs[k*b.T : (k+1)*b.T]
		for j := copy(row, d.ids[i]); j < len(row); j++ {
			row[j] = d.pad
		}
		if d.types != nil {
			copy(b.Types[k*b.T:], d.types[i])
		}
	}
	return b, nil
}
