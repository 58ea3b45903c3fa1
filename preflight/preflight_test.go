package preflight_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/preflight"
)

// rows are labels; their texts stand apart.
type rows struct {
	file   string
	labels [][]string
}

func (r rows) Len() int              { return len(r.labels) }
func (r rows) Labels(i int) []string { return r.labels[i] }
func (r rows) Where(i int) string    { return fmt.Sprintf("%s:%d", r.file, i+2) }

// of makes rows with a label each; "-" is none.
func of(file string, labels ...string) rows {
	r := rows{file: file}
	for _, l := range labels {
		if l == "-" {
			r.labels = append(r.labels, nil)
		} else {
			r.labels = append(r.labels, strings.Split(l, "+"))
		}
	}
	return r
}

func times(n int, label string) []string {
	return strings.Split(strings.Repeat(label+" ", n-1)+label, " ")
}

func find(t *testing.T, r *preflight.Report, name string) preflight.Finding {
	t.Helper()
	var found []preflight.Finding
	for _, f := range r.Findings {
		if f.Name == name {
			found = append(found, f)
		}
	}
	require.Len(t, found, 1, "%s in %+v", name, r.Findings)
	return found[0]
}

func names(r *preflight.Report) (out []string) {
	for _, f := range r.Findings {
		out = append(out, f.Name)
	}
	return out
}

var twoClasses = preflight.Problem{Classes: []string{"bad", "good"}}

func TestClasses(t *testing.T) {
	for _, c := range []struct {
		name        string
		train, test []string
		problem     preflight.Problem
		want        string // the finding; "" is none
		grade       preflight.Grade
		count       int
		first       string
		text        string
	}{
		{"fine", []string{"bad", "good", "bad", "good"}, []string{"bad", "good"}, twoClasses, "", "", 0, "", ""},
		{"unknown label", []string{"bad", "good", "bad", "Good"}, []string{"bad", "good", "great"}, twoClasses, preflight.UnknownLabels, preflight.Fatal, 1, `train:5  "Good"; did you mean "good"?`, `1 label that is no class; the classes are "bad", "good"`},
		{"no label", []string{"bad", "good", "-", "bad", "good", "-"}, []string{"bad", "good"}, twoClasses, preflight.MissingLabels, preflight.Fatal, 2, "train:4", "2 rows without a label"},
		{"one class", []string{"bad", "bad"}, nil, twoClasses, preflight.SingleClass, preflight.Fatal, 1, "", `all 2 training samples are "bad": there is nothing to tell apart`},
		{"empty class", []string{"a", "a", "b", "b"}, []string{"a", "b", "c"}, preflight.Problem{Classes: []string{"a", "b", "c"}}, preflight.EmptyClasses, preflight.Fatal, 1, `"c"  1 sample to test on`, "1 class without a training sample: a model never learns them"},
		{"single sample", []string{"bad", "bad", "good"}, []string{"bad", "good"}, twoClasses, preflight.FewSamples, preflight.Warning, 1, `"good"  1 sample to test on`, "1 class with a single training sample"},
		{"not tested", []string{"bad", "bad", "good", "good"}, []string{"bad"}, twoClasses, preflight.AbsentClasses, preflight.Warning, 1, `"good"  2 samples to train on`, "1 class without a test sample: how well they are told is not measured, and a macro average counts them as 0"},
		{"imbalanced", append(times(96, "bad"), times(4, "good")...), append(times(19, "bad"), "good"), twoClasses, preflight.Imbalanced, preflight.Warning, 1, "",
			`classes are imbalanced: "bad" has 96.0 % of the training samples, "good" has 4.0 %; whoever always guesses "bad" scores accuracy 0.950, macro_f1 0.487: compare with that, and choose the best epoch by macro_f1`},
		{"several labels", []string{"a+b", "-", "b", "a"}, []string{"a", "b"}, preflight.Problem{Classes: []string{"a", "b"}, Several: true}, "", "", 0, "", ""},
		{"numbers", []string{"1", "1"}, nil, preflight.Problem{Number: true}, "", "", 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r preflight.Report
			r.CheckClasses(of("train", c.train...), of("test", c.test...), c.problem)
			if c.want == "" {
				assert.Empty(t, r.Findings)
				return
			}
			if c.name == "unknown label" { // in both files, a finding each
				require.Len(t, r.Findings, 3, "and a class that is left with a sample")
				r.Findings = r.Findings[:1]
			}
			f := find(t, &r, c.want)
			assert.Equal(t, c.grade, f.Grade)
			assert.Equal(t, c.count, f.Count)
			assert.Equal(t, c.text, f.Text)
			if c.first != "" {
				assert.Equal(t, c.first, f.First[0].String())
			}
		})
	}
}

func TestCountsOfClasses(t *testing.T) {
	var r preflight.Report
	r.CheckClasses(of("train", "a+b", "a", "a+a"), of("test", "b"), preflight.Problem{Classes: []string{"a", "b"}, Several: true})
	assert.Equal(t, []preflight.Class{{Name: "a", Train: 3}, {Name: "b", Train: 1, Test: 1}}, r.Classes, "a label that stands twice counts once")
}

// copied is a data set of n training and n test samples, all different, but that so many of each are copies.
func copied(n, leaked, repeated, conflicting int) (train, test rows, trainKeys, testKeys preflight.Keys) {
	train, test = of("train", times(n, "bad")...), of("test", times(n, "bad")...)
	for i := range n {
		trainKeys, testKeys = append(trainKeys, fmt.Sprint("train", i)), append(testKeys, fmt.Sprint("test", i))
	}
	for i := range leaked {
		testKeys[i] = trainKeys[n-1-i]
	}
	for i := range repeated {
		trainKeys[2*i+1] = trainKeys[2*i]
	}
	for i := range conflicting {
		testKeys[n-1-2*i] = testKeys[n-2-2*i]
		test.labels[n-1-2*i] = []string{"good"}
	}
	return train, test, trainKeys, testKeys
}

func TestCopies(t *testing.T) {
	for _, c := range []struct {
		leaked, repeated, conflicting int
		grades                        map[string]preflight.Grade
	}{
		{0, 0, 0, map[string]preflight.Grade{}},
		{1, 0, 0, map[string]preflight.Grade{preflight.Duplicates: preflight.Warning}},
		{5, 0, 0, map[string]preflight.Grade{preflight.Duplicates: preflight.Warning}}, // 5 % is not more than that
		{6, 0, 0, map[string]preflight.Grade{preflight.Duplicates: preflight.Fatal}},
		{0, 40, 0, map[string]preflight.Grade{preflight.Repeated: preflight.Warning}},
		{0, 0, 5, map[string]preflight.Grade{preflight.Conflicting: preflight.Warning}}, // 10 of 200 samples
		{0, 0, 6, map[string]preflight.Grade{preflight.Conflicting: preflight.Fatal}},
	} {
		var r preflight.Report
		train, test, trainKeys, testKeys := copied(100, c.leaked, c.repeated, c.conflicting)
		r.CheckCopies(train, test, trainKeys, testKeys, twoClasses, [2]string{"text", "texts"})
		got := map[string]preflight.Grade{}
		for _, f := range r.Findings {
			got[f.Name] = f.Grade
			assert.Equal(t, map[string]int{preflight.Duplicates: c.leaked, preflight.Repeated: c.repeated, preflight.Conflicting: c.conflicting}[f.Name], f.Count)
			assert.Len(t, f.First, min(5, f.Count))
		}
		assert.Equal(t, c.grades, got, "%+v", c)
	}
}

// Of few samples two copies are chance, three are a habit.
func TestCopiesOfFewSamples(t *testing.T) {
	for leaked, want := range map[int]preflight.Grade{2: preflight.Warning, 3: preflight.Fatal} {
		var r preflight.Report
		train, test, trainKeys, testKeys := copied(4, leaked, 0, 0)
		r.CheckCopies(train, test, trainKeys, testKeys, twoClasses, [2]string{"text", "texts"})
		assert.Equal(t, want, find(t, &r, preflight.Duplicates).Grade, leaked)
	}
}

func TestConflictingNumbersAreNoFault(t *testing.T) {
	var r preflight.Report
	train, test, trainKeys, testKeys := copied(10, 0, 0, 4)
	r.CheckCopies(train, test, trainKeys, testKeys, preflight.Problem{Number: true}, [2]string{"text", "texts"})
	assert.Equal(t, preflight.Warning, find(t, &r, preflight.Conflicting).Grade)
}

func TestWhatIsSaidOfCopies(t *testing.T) {
	var r preflight.Report
	train, test, trainKeys, testKeys := copied(10, 1, 1, 1)
	test.labels[0] = []string{"good"}
	r.CheckCopies(train, test, trainKeys, testKeys, twoClasses, [2]string{"image", "images"})
	f := find(t, &r, preflight.Duplicates)
	assert.Equal(t, "1 test image (10.0 %) is in the training data too: a score on them tells nothing of new images; remove them from either", f.Text)
	assert.Equal(t, `test:2 = train:11  labelled "good", and "bad" in training`, f.First[0].String())
	assert.Equal(t, "1 training image (10.0 %) is an earlier one again", find(t, &r, preflight.Repeated).Text)
	assert.Equal(t, `train:11 = test:2  labelled "bad" and "good"`, find(t, &r, preflight.Conflicting).First[0].String())
}

func TestAccept(t *testing.T) {
	var r preflight.Report
	train, test, trainKeys, testKeys := copied(100, 10, 1, 0)
	r.CheckCopies(train, test, trainKeys, testKeys, twoClasses, [2]string{"text", "texts"})
	r.Add(preflight.Unreadable, preflight.Fatal, 3, "files that cannot be read", []preflight.Case{{Where: "x.jpg"}})
	assert.ErrorContains(t, r.Err(), "the data is not fit to train on: 10 test texts (10.0 %) are in the training data too")
	assert.ErrorContains(t, r.Err(), "\n  and 5 more\n  to train all the same: accept: [duplicates] in the spec\nfiles that cannot be read\n  x.jpg")
	r.Accept([]string{preflight.Duplicates, preflight.Repeated, preflight.Unreadable})
	assert.Equal(t, []string{preflight.Unreadable, preflight.Duplicates, preflight.Repeated}, names(&r), "fatal ones first")
	assert.Len(t, r.Of(preflight.Accepted), 2)
	assert.EqualError(t, r.Err(), "the data is not fit to train on: files that cannot be read\n  x.jpg", "what cannot be read cannot be accepted")
}

// Every name is either one that can be accepted, or one that says what helps.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range preflight.Names() {
		assert.False(t, seen[name], name)
		seen[name] = true
		assert.Empty(t, preflight.Never()[name])
	}
}

// R: binom::binom.wilson(500, 1000) is 0.4690696 to 0.5309304, and of (9, 10) 0.5958499 to 0.9821238.
func TestIntervalWidth(t *testing.T) {
	assert.InDelta(t, 0.0618608, preflight.IntervalWidth(0.5, 1000), 1e-6)
	assert.InDelta(t, 0.3862739, preflight.IntervalWidth(0.9, 10), 1e-6)
	assert.Equal(t, 1.0, preflight.IntervalWidth(0.5, 0))
}

func TestTestSize(t *testing.T) {
	for n, want := range map[int]bool{0: false, 10: true, 1532: true, 1533: false} {
		r := preflight.Report{Test: n}
		r.CheckTestSize("accuracy", twoClasses)
		assert.Equal(t, want, len(r.Findings) == 1, n)
	}
	r := preflight.Report{Test: 1000, Classes: []preflight.Class{{Name: "a", Test: 990}, {Name: "b", Test: 10}}}
	r.CheckTestSize("macro_f1", twoClasses)
	assert.Equal(t, "1,000 samples to test on: the 95 % interval of an accuracy of 0.5 is 6.2 points wide, of 0.9 3.7 points; below 5 points from 1,533 on; "+
		`macro_f1 averages over classes, and "b" has 10 test samples: the recall's interval is up to 53 points wide`, r.Findings[0].Text)
	for n, want := range map[int]bool{3: true, 100: true, 5000: false} {
		r := preflight.Report{Test: n}
		r.CheckTestSize("", preflight.Problem{Number: true})
		assert.Equal(t, want, len(r.Findings) == 1, n)
	}
}

func TestLengths(t *testing.T) {
	var r preflight.Report
	r.CheckLengths([]int{3, 9, 16, 16}, 16, []preflight.Case{{Where: "train:9", What: "31 tokens"}})
	assert.Equal(t, &preflight.Lengths{Median: 16, P95: 16, Longest: 16, Cut: 1, Limit: 16}, r.Tokens)
	assert.Equal(t, "1 text (25.0 %) is longer than 16 tokens (data.max_length): the rest is not seen", r.Findings[0].Text)
}

func TestSizes(t *testing.T) {
	var r preflight.Report
	sizes := []preflight.Size{{Width: 640, Height: 480}, {Width: 100, Height: 80}, {}, {Width: 1200, Height: 300}}
	r.CheckSizes(sizes, func(i int) string { return fmt.Sprintf("%d.jpg", i) }, 224)
	assert.Equal(t, &preflight.Sizes{Smallest: [2]int{100, 80}, Median: 300, Largest: [2]int{640, 480}, Input: 224}, r.Pictures)
	assert.Equal(t, "1.jpg  100 x 80 pixels", find(t, &r, preflight.SmallPictures).First[0].String())
	assert.Equal(t, "3.jpg  1200 x 300 pixels", find(t, &r, preflight.NarrowPictures).First[0].String())
}
