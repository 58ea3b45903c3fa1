// Package preflight looks for what makes a data set unfit to train on or to measure on, before hours are spent: classes
// without samples, test samples that are among those of training, one text with two labels, a test set so small that
// its score means little. It counts each, names the first five with their files and rows, and says which of them are
// fatal.
//
// The package reads no files and knows no model: samples come as [Rows], and what tells copies of one another as keys
// and hashes that the caller makes. Package recipe puts both together for a spec, and cmd/thaw prints the [Report].
package preflight

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
)

// Rows are the samples of one part of the data, those to train on or those to test on.
type Rows interface {
	Len() int
	// Labels are what sample i is labelled with, as its file spells it: one label, or any number where several may
	// hold.
	Labels(i int) []string
	// Where names sample i: "reviews.tsv:12", or the path of a picture.
	Where(i int) string
}

// Grade is what becomes of a finding.
type Grade string

// The grades.
const (
	Fatal    Grade = "fatal"    // training is refused
	Warning  Grade = "warning"  // training goes on
	Accepted Grade = "accepted" // was fatal or a warning, and the spec accepts it by name
)

// Finding is one thing that was found, however many samples it is of.
type Finding struct {
	Name  string `json:"name"` // by which it is accepted; see Names
	Grade Grade  `json:"grade"`
	Count int    `json:"count"`           // of samples, or of classes where it is about classes
	Of    int    `json:"of,omitempty"`    // of how many; 0 where that says nothing
	Text  string `json:"text"`            // what it is, and what to do
	First []Case `json:"first,omitempty"` // the first five
}

// Case is one sample, class or file that a finding is about.
type Case struct {
	Where string `json:"where"`           // file and row, or a class
	Other string `json:"other,omitempty"` // the sample that it is a copy of
	What  string `json:"what,omitempty"`  // the text, the labels, or what is wrong

	near bool // Other is not quite the same
}

// String is a case on one line.
func (c Case) String() string {
	s := c.Where
	switch {
	case c.near:
		s += " ~ " + c.Other
	case c.Other != "":
		s += " = " + c.Other
	}
	if c.What != "" {
		s += "  " + c.What
	}
	return s
}

// mostCases are named of each finding.
const mostCases = 5

// The names of findings.
const (
	Unreadable     = "unreadable"         // files that cannot be read, or cannot be decoded
	BadColumns     = "columns"            // a file has not the columns that the other has
	UnknownLabels  = "unknown-labels"     // labels that are no class
	MissingLabels  = "missing-labels"     // rows without a label
	SingleClass    = "single-class"       // all training samples are of one class
	EmptyClasses   = "empty-classes"      // classes without training samples
	FewSamples     = "single-sample"      // classes with one training sample
	AbsentClasses  = "absent-classes"     // classes without test samples
	Imbalanced     = "imbalanced"         // one class is far larger than the others
	Duplicates     = "duplicates"         // test samples that are training samples too
	Repeated       = "repeated"           // training samples that come more than once
	NearDuplicates = "near-duplicates"    // test samples that are nearly a training sample
	NearRepeated   = "near-repeated"      // training samples that are nearly an earlier one
	Conflicting    = "conflicting-labels" // one text or picture with different labels
	SmallTest      = "small-test"         // the score's interval is wide
	Truncated      = "truncated"          // texts that are longer than the model sees
	EmptyTexts     = "empty-texts"        // rows without text
	NotUTF8        = "not-utf8"           // rows with bytes that are not UTF-8
	SmallPictures  = "small-pictures"     // pictures smaller than the model's input
	NarrowPictures = "narrow-pictures"    // pictures of which the middle square is less than a third
	IgnoredFiles   = "ignored-files"      // files of a folder that are no pictures
)

// Names lists what a spec may accept. What training cannot do without is not among them: files that are read, labels
// that are classes, two classes.
func Names() []string {
	return []string{
		Duplicates, Conflicting, EmptyClasses, NearDuplicates, Repeated, NearRepeated, FewSamples, AbsentClasses, Imbalanced,
		SmallTest, Truncated, EmptyTexts, NotUTF8, SmallPictures, NarrowPictures, IgnoredFiles,
	}
}

// Never lists the fatal findings that no spec can accept, and what helps instead.
func Never() map[string]string {
	return map[string]string{
		Unreadable:    "images.unreadable: skip leaves pictures out that cannot be read",
		BadColumns:    "both files need the columns that data.columns names",
		UnknownLabels: "add them to head.classes, or for images set data.other_classes: skip",
		MissingLabels: "a row without a label cannot be trained on: remove it",
		SingleClass:   "a classifier needs samples of two classes or more",
	}
}

// Report is what was found in a data set.
type Report struct {
	Train    int       `json:"train"` // samples
	Test     int       `json:"test"`
	Classes  []Class   `json:"classes,omitempty"`
	Tokens   *Lengths  `json:"tokens,omitempty"`   // of texts
	Pictures *Sizes    `json:"pictures,omitempty"` // sizes of pictures
	Findings []Finding `json:"findings"`
}

// Class is how often a class comes.
type Class struct {
	Name  string `json:"class"`
	Train int    `json:"train"`
	Test  int    `json:"test"`
}

// add notes a finding, unless there is nothing to it.
func (r *Report) add(f Finding) {
	if f.Count == 0 {
		return
	}
	f.First = f.First[:min(len(f.First), mostCases)]
	r.Findings = append(r.Findings, f)
}

// Add notes a finding that the caller made: files that cannot be read, say. Without cases it is none.
func (r *Report) Add(name string, grade Grade, of int, text string, cases []Case) {
	r.add(Finding{Name: name, Grade: grade, Count: len(cases), Of: of, Text: text, First: cases})
}

// AddCounted is Add where not every case is known: count is how many there are.
func (r *Report) AddCounted(name string, grade Grade, count, of int, text string, cases ...Case) {
	r.add(Finding{Name: name, Grade: grade, Count: count, Of: of, Text: text, First: cases})
}

// Accept marks the findings that are accepted by their names. It puts the fatal ones first, then warnings, then those.
func (r *Report) Accept(names []string) {
	for i, f := range r.Findings {
		if slices.Contains(names, f.Name) && slices.Contains(Names(), f.Name) {
			r.Findings[i].Grade = Accepted
		}
	}
	order := map[Grade]int{Fatal: 0, Warning: 1, Accepted: 2}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return order[a.Grade] - order[b.Grade] })
}

// Of gives the findings of a grade.
func (r *Report) Of(g Grade) (out []Finding) {
	for _, f := range r.Findings {
		if f.Grade == g {
			out = append(out, f)
		}
	}
	return out
}

// Err is nil, or a *Refusal where a finding is fatal.
func (r *Report) Err() error {
	if fatal := r.Of(Fatal); len(fatal) > 0 {
		return &Refusal{fatal}
	}
	return nil
}

// Refusal is the error of data that is not trained on.
type Refusal struct{ Findings []Finding }

func (e *Refusal) Error() string {
	var lines []string
	for _, f := range e.Findings {
		line := f.Text
		for _, c := range f.First {
			line += "\n  " + c.String()
		}
		if n := f.Count - len(f.First); n > 0 {
			line += fmt.Sprintf("\n  and %s more", quantity.Digits(n))
		}
		if slices.Contains(Names(), f.Name) {
			line += fmt.Sprintf("\n  to train all the same: accept: [%s] in the spec", f.Name)
		}
		lines = append(lines, line)
	}
	return "the data is not fit to train on: " + strings.Join(lines, "\n")
}

// percent writes a share.
func percent(n, of int) string {
	if of == 0 {
		return "0 %"
	}
	share := 100 * float64(n) / float64(of)
	if share > 0 && share < 0.05 {
		return "below 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", share)
}

// tolerance is the share by which a score may be off before data is refused: 5 points.
const tolerance = 0.05

// grave tells whether so many samples of so many can move a score by more than the tolerance. Two samples never are:
// that happens to everybody.
func grave(n, of int) bool { return n >= 3 && float64(n) > tolerance*float64(of) }
