package text

import "github.com/thaw-ml/thaw/finetune/train/objective"

// Item is a text, or a pair of texts, with what it should give: Class of a classification, Labels where several may
// hold, Value of a regression. To be predicted it needs none of these.
type Item struct {
	Text string
	Pair string // the second text of a pair; empty for a single text

	Class  int   // the number of the class, from 0
	Labels []int // the numbers of the labels that hold
	Value  float64

	Origin string // where the item is from, for errors: "reviews.tsv:12"; empty where that is not known
}

// Items makes items of texts to be predicted.
func Items(texts ...string) []Item {
	items := make([]Item, len(texts))
	for i, t := range texts {
		items[i].Text = t
	}
	return items
}

func (i Item) target() objective.Target {
	return objective.Target{Class: i.Class, Labels: i.Labels, Value: i.Value}
}

// Head is the new part of a classifier.
type Head struct {
	Classes []string // names of the classes or labels, in the order of the logits; a regression needs none
	Problem ProblemType
	Pooling Pooling
	Dropout *float64 // before the last layer; nil: the model's own
	Seed    uint64   // draws the weights
}

// NewHead is the head of a classification of texts, pooled as BertForSequenceClassification does.
func NewHead(classes ...string) Head { return Head{Classes: classes, Pooling: CLS} }

// labels are the names of the logits.
func (h Head) labels() []string {
	if h.Problem == Regression && len(h.Classes) == 0 {
		return []string{"LABEL_0"} // as transformers names a single output
	}
	return h.Classes
}

func (h Head) check() error { return objective.CheckNames(h.Problem, h.labels()) }
