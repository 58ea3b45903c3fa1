package text

import (
	"fmt"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text/corpus"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch/data"
)

// Dataset is a table of labelled texts, tokenised.
type Dataset struct {
	ids     [][]int64
	types   [][]int64         // nil where there are no pairs
	targets objective.Targets // empty where they are not known
	pad     int64
}

// NewDataset tokenises a table. maxLength is where a text is cut, special tokens counted; classes are the labels by class
// number, and nil leaves the labels unread.
func NewDataset(table *corpus.Table, tok *tokenizer.Tokenizer, classes []string, maxLength, pad int) (*Dataset, error) {
	d := &Dataset{pad: int64(pad)}
	if classes != nil {
		labels, err := table.Indices(classes)
		if err != nil {
			return nil, err
		}
		d.targets.Classes = labels
	}
	var all []int64 // one piece of memory for all single texts
	for _, row := range table.Rows {
		if table.Columns.Pair != "" {
			e, err := tok.EncodePair(row.Text, row.Pair, tokenizer.Options{MaxLength: maxLength})
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %w", table.Path, row.Line, err)
			}
			d.ids, d.types = append(d.ids, e.IDs), append(d.types, e.TypeIDs)
			continue
		}
		start := len(all)
		all = tok.AppendIDs(all, row.Text, maxLength)
		d.ids = append(d.ids, all[start:len(all):len(all)])
	}
	return d, nil
}

// Len is the number of texts.
func (d *Dataset) Len() int { return len(d.ids) }

// Length is a text's number of tokens.
func (d *Dataset) Length(i int) int { return len(d.ids[i]) }

// Augmented is false: a text is the same in every epoch.
func (d *Dataset) Augmented() bool { return false }

// Batch pads texts to the longest of them, or to what is asked for.
func (d *Dataset) Batch(r data.Request) (*Batch, error) {
	indices := r.Indices
	b := &Batch{Index: indices, T: r.Length, Masked: r.Length > 0}
	for _, i := range indices {
		b.Length = append(b.Length, len(d.ids[i]))
		b.T = max(b.T, len(d.ids[i]))
	}
	b.Target = d.targets.Select(indices)
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
