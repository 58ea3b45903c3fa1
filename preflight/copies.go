package preflight

import (
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/internal/quantity"
)

// Keys tell copies: samples with equal keys are the same text or picture. A sample with the empty key is not compared.
type Keys []string

// CheckCopies finds test samples that are training samples too, training samples that come more than once, and copies
// whose labels differ. noun is what a sample is, one and many: "text", "texts".
//
// The first is fatal where more than 5 % of the test samples, and three or more, are copies: by so much can the score
// be wrong. The last is fatal where so many of all samples are concerned, unless labels are numbers, of which nobody
// expects that two people write the same. Below that they are warnings: every real data set has a few.
func (r *Report) CheckCopies(train, test Rows, trainKeys, testKeys Keys, p Problem, noun [2]string) {
	first := make(map[string]int, len(trainKeys)) // the first training sample of a key
	var repeated []Case
	for i, key := range trainKeys {
		if key == "" {
			continue
		}
		if at, again := first[key]; again {
			repeated = append(repeated, Case{Where: train.Where(i), Other: train.Where(at)})
			continue
		}
		first[key] = i
	}
	var leaked []Case
	for i, key := range testKeys {
		if at, ok := first[key]; ok && key != "" {
			leaked = append(leaked, Case{
				Where: test.Where(i), Other: train.Where(at), What: disagreement(train.Labels(at), test.Labels(i)),
			})
		}
	}
	grade := Warning
	if grave(len(leaked), test.Len()) {
		grade = Fatal
	}
	r.Add(Duplicates, grade, test.Len(), fmt.Sprintf("%s in the training data too: a score on them tells nothing of new %s; remove them from either",
		some(len(leaked), test.Len(), "test "+noun[0], "test "+noun[1]), noun[1]), leaked)
	r.Add(Repeated, Warning, train.Len(), some(len(repeated), train.Len(), "training "+noun[0], "training "+noun[1])+" an earlier one again", repeated)
	r.checkConflicts(train, test, trainKeys, testKeys, p, noun)
}

// disagreement says that two copies have not the same labels; nothing where they have.
func disagreement(a, b []string) string {
	if sameLabels(a, b) {
		return ""
	}
	return fmt.Sprintf("labelled %s, and %s in training", labelText(b), labelText(a))
}

// group is the copies of one text or picture.
type group struct {
	where  string
	labels []string
	count  int
	other  string // one with other labels
	what   string
}

func (r *Report) checkConflicts(train, test Rows, trainKeys, testKeys Keys, p Problem, noun [2]string) {
	groups := map[string]*group{}
	var order []*group
	for _, part := range []struct {
		rows Rows
		keys Keys
	}{{train, trainKeys}, {test, testKeys}} {
		for i, key := range part.keys {
			if key == "" {
				continue
			}
			labels := part.rows.Labels(i)
			g := groups[key]
			if g == nil {
				g = &group{where: part.rows.Where(i), labels: labels}
				groups[key] = g
				order = append(order, g)
			}
			g.count++
			if g.other == "" && !sameLabels(g.labels, labels) {
				g.other, g.what = part.rows.Where(i), fmt.Sprintf("labelled %s and %s", labelText(g.labels), labelText(labels))
			}
		}
	}
	var cases []Case
	samples := 0
	for _, g := range order {
		if g.other != "" {
			cases = append(cases, Case{Where: g.where, Other: g.other, What: g.what})
			samples += g.count
		}
	}
	all := train.Len() + test.Len()
	grade := Warning
	if grave(samples, all) && !p.Number {
		grade = Fatal
	}
	r.Add(Conflicting, grade, all, fmt.Sprintf("%s more than once, with different labels (%s, %s of all): no model can be right about both",
		plural(len(cases), noun[0]+" comes", noun[1]+" come"), quantity.Count(samples, "sample", "samples"), percent(samples, all)), cases)
}

// Overlap counts the test samples whose key is among those of training.
func Overlap(train, test Keys) (n int) {
	known := make(map[string]bool, len(train))
	for _, key := range train {
		known[key] = key != ""
	}
	for _, key := range test {
		if known[key] {
			n++
		}
	}
	return n
}

// merge puts sorted lists of numbers together, once each, most at most.
func merge(lists [][]int32, most int) []int32 {
	var all []int32
	for _, l := range lists {
		all = append(all, l...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), most)]
}
