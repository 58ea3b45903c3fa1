package preflight

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// Problem says what labels mean.
type Problem struct {
	Classes []string // those that are wanted, in order
	Several bool     // a sample has any number of them
	Number  bool     // labels are numbers, and there are no classes
}

// CheckClasses counts classes. Labels that are no class, and rows without one, are fatal; so is a class without
// training samples, or a single one that has any. test may be empty. Other findings are warnings.
func (r *Report) CheckClasses(train, test Rows, p Problem) {
	r.Train, r.Test = train.Len(), test.Len()
	if p.Number {
		return
	}
	position := map[string]int{}
	for i, class := range p.Classes {
		position[class] = i
		r.Classes = append(r.Classes, Class{Name: class})
	}
	r.count(train, p, position, func(c *Class) *int { return &c.Train })
	r.count(test, p, position, func(c *Class) *int { return &c.Test })
	r.checkAbsent(p)
	if !p.Several {
		r.checkBalance()
	}
}

// count counts the labels of rows, and notes those that are no class.
func (r *Report) count(rows Rows, p Problem, position map[string]int, of func(*Class) *int) {
	var unknown, missing []Case
	for i := range rows.Len() {
		labels := rows.Labels(i)
		if len(labels) == 0 && !p.Several {
			missing = append(missing, Case{Where: rows.Where(i)})
		}
		for k, label := range labels {
			at, ok := position[label]
			if !ok {
				unknown = append(unknown, Case{Where: rows.Where(i), What: suggest.Quote(label) + suggest.DidYouMean(label, p.Classes)})
			} else if !slices.Contains(labels[:k], label) {
				*of(&r.Classes[at])++
			}
		}
	}
	r.Add(MissingLabels, Fatal, rows.Len(), fmt.Sprintf("%s without a label", rowsOf(len(missing))), missing)
	r.Add(UnknownLabels, Fatal, rows.Len(), fmt.Sprintf("%s no class; the classes are %s",
		plural(len(unknown), "label that is", "labels that are"), suggest.List(p.Classes)), unknown)
}

func (r *Report) checkAbsent(p Problem) {
	var empty, single, absent []Case
	some := 0
	for _, c := range r.Classes {
		what := fmt.Sprintf("%s to test on", quantity.Count(c.Test, "sample", "samples"))
		switch c.Train {
		case 0:
			empty = append(empty, Case{Where: suggest.Quote(c.Name), What: what})
		case 1:
			single = append(single, Case{Where: suggest.Quote(c.Name), What: what})
		}
		if c.Train > 0 {
			some++
		}
		if c.Test == 0 && c.Train > 0 && r.Test > 0 {
			absent = append(absent, Case{Where: suggest.Quote(c.Name), What: fmt.Sprintf("%s to train on", quantity.Count(c.Train, "sample", "samples"))})
		}
	}
	if some == 1 && !p.Several && r.Train > 0 {
		i := slices.IndexFunc(r.Classes, func(c Class) bool { return c.Train > 0 })
		r.add(Finding{Name: SingleClass, Grade: Fatal, Count: 1, Of: len(r.Classes), Text: fmt.Sprintf(
			"all %s training samples are %s: there is nothing to tell apart", quantity.Digits(r.Train), suggest.Quote(r.Classes[i].Name))})
	}
	r.Add(EmptyClasses, Fatal, len(r.Classes), fmt.Sprintf("%s without a training sample: a model never learns them",
		plural(len(empty), "class", "classes")), empty)
	r.Add(FewSamples, Warning, len(r.Classes), fmt.Sprintf("%s with a single training sample", plural(len(single), "class", "classes")), single)
	r.Add(AbsentClasses, Warning, len(r.Classes), fmt.Sprintf("%s without a test sample: how well they are told is not measured, and a macro average counts them as 0",
		plural(len(absent), "class", "classes")), absent)
}

// What makes classes strongly imbalanced: the largest has so much of the samples, or so many times those of the
// smallest.
const (
	majorityShare = 0.8
	largestRatio  = 20
)

func (r *Report) checkBalance() {
	var present []Class
	for _, c := range r.Classes {
		if c.Train > 0 {
			present = append(present, c)
		}
	}
	if len(present) < 2 {
		return
	}
	byTrain := func(a, b Class) int { return cmp.Compare(a.Train, b.Train) }
	most, least := slices.MaxFunc(present, byTrain), slices.MinFunc(present, byTrain)
	total := 0
	for _, c := range present {
		total += c.Train
	}
	if float64(most.Train) <= majorityShare*float64(total) && most.Train < largestRatio*least.Train {
		return
	}
	accuracy, macroF1 := r.majority(most.Name)
	text := fmt.Sprintf("classes are imbalanced: %s has %s of the training samples, %s has %s; whoever always guesses %s scores accuracy %.3f, macro_f1 %.3f: "+
		"compare with that, and choose the best epoch by macro_f1", suggest.Quote(most.Name), percent(most.Train, total),
		suggest.Quote(least.Name), percent(least.Train, total), suggest.Quote(most.Name), accuracy, macroF1)
	r.add(Finding{Name: Imbalanced, Grade: Warning, Count: 1, Text: text})
}

// majority is what a guess of always the same class scores, on the test samples where there are some.
func (r *Report) majority(class string) (accuracy, macroF1 float64) {
	of := func(c Class) int { return c.Test }
	if r.Test == 0 {
		of = func(c Class) int { return c.Train }
	}
	right, total := 0, 0
	for _, c := range r.Classes {
		total += of(c)
		if c.Name == class {
			right = of(c)
		}
	}
	if total == 0 {
		return 0, 0
	}
	accuracy = float64(right) / float64(total)
	return accuracy, 2 * accuracy / (1 + accuracy) / float64(len(r.Classes)) // precision is the accuracy, recall 1; the others' F1 is 0
}

// Baseline describes the classes in one line for people: the majority guess of a balanced set says nothing.
func (r *Report) Baseline() (class string, accuracy, macroF1 float64) {
	if len(r.Classes) == 0 {
		return "", 0, 0
	}
	most := slices.MaxFunc(r.Classes, func(a, b Class) int { return cmp.Compare(a.Train, b.Train) })
	accuracy, macroF1 = r.majority(most.Name)
	return most.Name, accuracy, macroF1
}

func rowsOf(n int) string { return quantity.Count(n, "row", "rows") }

// some is so many of so many, as the subject of a sentence: "3 texts (1.5 %) are".
func some(n, of int, one, many string) string {
	verb := "are"
	if n == 1 {
		verb = "is"
	}
	return fmt.Sprintf("%s (%s) %s", quantity.Count(n, one, many), percent(n, of), verb)
}

// plural is a count with a verb or a noun that agrees.
func plural(n int, one, many string) string { return quantity.Count(n, one, many) }

// sameLabels compares labels as sets.
func sameLabels(a, b []string) bool {
	if len(a) == 1 && len(b) == 1 {
		return a[0] == b[0]
	}
	x, y := slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b)))
	return slices.Equal(x, y)
}

func labelText(labels []string) string {
	if len(labels) == 0 {
		return "no label"
	}
	quoted := make([]string, len(labels))
	for i, l := range labels {
		quoted[i] = suggest.Quote(l)
	}
	return strings.Join(quoted, ", ")
}
