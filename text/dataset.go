package text

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/text/tokenizer"
	"github.com/thaw-ml/thaw/torch/data"
)

// Encoded is a text, or a pair, as token ids with the special tokens.
type Encoded struct {
	IDs   []int64
	Types []int64 // segments of a pair; nil for a single text
	Cut   bool    // the text was longer than the longest
}

// Len is the number of tokens.
func (e Encoded) Len() int { return len(e.IDs) }

// Dataset is a list of texts or pairs, tokenised.
type Dataset struct {
	samples   []Encoded
	targets   objective.Targets // empty where they are not known
	pad       int64
	pairs     bool
	maxLength int
	truncated int
	content   string // see ContentHash
}

// DatasetOptions say how items become samples.
type DatasetOptions struct {
	MaxLength  int  // where texts are cut, in tokens with the special ones; 0 is Config.DefaultMaxLength
	Unlabelled bool // the items have no class, labels or value
}

// NewDataset tokenises items for a model. Config describes the model with its head, see [Config.WithHead].
//
// What the model cannot read is an error: pairs where it has one segment, or single texts where there are pairs, more
// tokens than it has positions, a token that it has no embedding for, a class that the head does not have.
func NewDataset(items data.Source[Item], tok *tokenizer.Tokenizer, config Config, o DatasetOptions) (*Dataset, error) {
	if items == nil {
		return nil, errors.New("tokenising texts: the source of items is nil")
	}
	d := &Dataset{pad: int64(config.PadTokenID), maxLength: cmp.Or(o.MaxLength, config.DefaultMaxLength())}
	if config.Pairs != nil {
		d.pairs = *config.Pairs
	}
	var targets []objective.Target
	var origins []string
	content := sha256.New()
	for i := range items.Len() {
		item, err := items.At(i)
		if err != nil {
			return nil, fmt.Errorf("reading text %d: %w", i, err)
		}
		if i == 0 {
			d.pairs = config.Pairs == nil && item.Pair != "" || config.Pairs != nil && *config.Pairs
			if err := config.CheckTexts(d.pairs, d.maxLength); err != nil {
				return nil, fmt.Errorf("tokenising texts: %w", err)
			}
		}
		sample, err := encode(item, tok, config, d.pairs, d.maxLength)
		if err != nil {
			return nil, err
		}
		if sample.Cut {
			d.truncated++
		}
		d.samples = append(d.samples, sample)
		targets, origins = append(targets, item.target()), append(origins, item.origin())
		if !o.Unlabelled {
			fmt.Fprintf(content, "%d %s%d %s", len(item.Text), item.Text, len(item.Pair), item.Pair)
		}
	}
	if o.Unlabelled {
		return d, nil
	}
	var err error
	d.targets, err = objective.NewTargets(config.ProblemType, len(config.ID2Label), targets, func(i int) string { return origins[i] })
	fmt.Fprint(content, d.targets)
	d.content = "sha256 " + short(content)
	return d, err
}

// encode tokenises an item.
func encode(item Item, tok *tokenizer.Tokenizer, config Config, pairs bool, maxLength int) (e Encoded, err error) {
	switch {
	case pairs && item.Pair == "":
		return e, fmt.Errorf("%s has no second text, and the others, or what the model was trained on, are pairs of texts", item.origin())
	case !pairs && item.Pair != "":
		return e, fmt.Errorf("%s has a second text, and the others, or what the model was trained on, are single texts", item.origin())
	case pairs:
		// Whole first, to know whether anything is cut.
		whole, err := tok.EncodePair(item.Text, item.Pair, tokenizer.Options{})
		if err == nil && len(whole.IDs) > maxLength {
			e.Cut = true
			whole, err = tok.EncodePair(item.Text, item.Pair, tokenizer.Options{MaxLength: maxLength})
		}
		if err != nil {
			return e, fmt.Errorf("%s: %w", item.origin(), err)
		}
		e.IDs, e.Types = whole.IDs, whole.TypeIDs
	default:
		if e.IDs = tok.AppendIDs(nil, item.Text, maxLength+1); len(e.IDs) > maxLength {
			e.Cut = true
			e.IDs = tok.AppendIDs(e.IDs[:0], item.Text, maxLength)
		}
	}
	if len(e.IDs) > 0 {
		if last := slices.Max(e.IDs); last >= int64(config.VocabSize) {
			token, _ := tok.Token(last)
			return e, fmt.Errorf("%s: the token %q has the id %d, and the model's vocab_size is %d", item.origin(), token, last, config.VocabSize)
		}
	}
	return e, nil
}

// origin names an item: where it is from, or the beginning of its text.
func (i Item) origin() string { return cmp.Or(i.Origin, suggest.Quote(i.Text)) }

// NewDataset tokenises items to train or evaluate the model on. The model remembers whether they are pairs, and where
// they are cut: what is predicted later is read so too.
func (c *Classifier) NewDataset(items []Item, o DatasetOptions) (*Dataset, error) {
	d, err := NewDataset(data.Items[Item](items), c.Tokenizer, c.Config, o)
	if err == nil && d.Len() > 0 {
		c.Remember(d)
	}
	return d, err
}

// Remember has the model read what is predicted later as the texts of a data set: as pairs or single texts, cut where
// those are.
func (c *Classifier) Remember(d *Dataset) {
	pairs := d.pairs
	c.Config.Pairs, c.Config.MaxLength = &pairs, d.maxLength
}

// Truncated is the number of texts, or pairs, that were cut: their ends are not seen.
func (d *Dataset) Truncated() int { return d.truncated }

// MaxLength is where texts are cut, in tokens.
func (d *Dataset) MaxLength() int { return d.maxLength }

// Targets are what the texts should give.
func (d *Dataset) Targets() objective.Targets { return d.targets }

// Len is the number of texts.
func (d *Dataset) Len() int { return len(d.samples) }

// Length is a text's number of tokens.
func (d *Dataset) Length(i int) int { return d.samples[i].Len() }

// Augmented is false: a text is the same in every epoch.
func (d *Dataset) Augmented() bool { return false }

// Batch pads texts to the longest of them, or to what is asked for.
func (d *Dataset) Batch(r data.Request) (*Batch, error) {
	samples := make([]Encoded, len(r.Indices))
	for k, i := range r.Indices {
		samples[k] = d.samples[i]
	}
	b := newBatch(samples, r.Length, d.pad)
	b.Index, b.Masked, b.Target = r.Indices, r.Length > 0, d.targets.Select(r.Indices)
	return b, nil
}

// newBatch pads samples to the longest of them, or to length where that is more.
func newBatch(samples []Encoded, length int, pad int64) *Batch {
	b := &Batch{T: length}
	typed := false
	for k, s := range samples {
		b.Index, b.Length = append(b.Index, k), append(b.Length, s.Len())
		b.T = max(b.T, s.Len())
		typed = typed || s.Types != nil
	}
	b.IDs = make([]int64, len(samples)*b.T)
	if typed {
		b.Types = make([]int64, len(samples)*b.T)
	}
	for k, s := range samples {
		row := b.IDs[k*b.T : (k+1)*b.T]
		for j := copy(row, s.IDs); j < len(row); j++ {
			row[j] = pad
		}
		if typed {
			copy(b.Types[k*b.T:], s.Types)
		}
	}
	return b
}
