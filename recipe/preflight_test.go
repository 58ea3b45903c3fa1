package recipe

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/preflight"
)

// checked is the report on spec.yaml of the working folder.
func checked(t *testing.T, overrides ...string) *preflight.Report {
	t.Helper()
	s, err := Read("spec.yaml", overrides...)
	require.NoError(t, err)
	r, err := Preflight(t.Context(), &s)
	require.NoError(t, err)
	return r
}

func grades(r *preflight.Report) map[string]preflight.Grade {
	out := map[string]preflight.Grade{}
	for _, f := range r.Findings {
		out[f.Name] = f.Grade
	}
	return out
}

// Each data set deserves what is found, and where it is fatal training refuses it too; small-test is in all of them.
func TestPreflightOfTexts(t *testing.T) {
	unchanged(t)
	films := func(n int, what string) string { return fmt.Sprintf("the film number %d is %s", n, what) }
	for _, c := range []struct {
		name      string
		train     []string // text, label, ...
		test      []string // the same; nil is every 5
		overrides []string
		want      map[string]preflight.Grade
		where     string // of a case
		refused   string // by Open; "" trains
	}{
		{name: "copies between files", train: []string{"w one two three", "bad", "x four five six", "good", "y seven", "bad", "z eight nine", "good"},
			test:    []string{"w one two three", "bad", "x four five six", "good", "y seven", "bad", "another thing", "good"},
			want:    map[string]preflight.Grade{preflight.Duplicates: preflight.Fatal},
			where:   "test.tsv:2 = HERE/rows.tsv:2",
			refused: "the data is not fit to train on: 3 test texts (75.0 %) are in the training data too"},
		{name: "copies that are accepted", train: []string{"w one two three", "bad", "x four five six", "good", "y seven", "bad", "z eight nine", "good"},
			test:      []string{"w one two three", "bad", "x four five six", "good", "y seven", "bad", "another thing", "good"},
			overrides: []string{"accept=[duplicates, small-test]"}, want: map[string]preflight.Grade{preflight.Duplicates: preflight.Accepted, preflight.SmallTest: preflight.Accepted}},
		{name: "two labels for one text", train: []string{"w one", "bad", "w one", "good", "x two", "bad", "x two", "good", "y", "bad", "z", "good"},
			test:    []string{"new", "bad", "thing", "good"},
			want:    map[string]preflight.Grade{preflight.Conflicting: preflight.Fatal, preflight.Repeated: preflight.Warning},
			where:   `rows.tsv:2 = HERE/rows.tsv:3  labelled "bad" and "good"`,
			refused: "the data is not fit to train on: 2 texts come more than once, with different labels"},
		{name: "a class without samples", train: []string{"w", "bad", "x", "good", "y", "bad", "z", "good"}, test: []string{"new", "bad", "thing", "good"},
			overrides: []string{"head.classes=[bad, good, great]"}, want: map[string]preflight.Grade{preflight.EmptyClasses: preflight.Fatal},
			where: `"great"  0 samples to test on`, refused: `no row of HERE/rows.tsv has the label "great"`},
		{name: "a class without samples, accepted", train: []string{"w", "bad", "x", "good", "y", "bad", "z", "good"}, test: []string{"new", "bad", "thing", "good"},
			overrides: []string{"head.classes=[bad, good, great]", "accept=[empty-classes]"}, want: map[string]preflight.Grade{preflight.EmptyClasses: preflight.Accepted}},
		{name: "one class alone", train: []string{"w", "bad", "x", "bad"}, test: []string{"new", "bad"}, overrides: []string{"accept=[empty-classes]"},
			want:  map[string]preflight.Grade{preflight.SingleClass: preflight.Fatal, preflight.EmptyClasses: preflight.Accepted, preflight.Imbalanced: ""},
			where: "", refused: `the data is not fit to train on: all 2 training samples are "bad"`},
		{name: "a label that is no class", train: []string{"w", "bad", "x", "good", "y", "goood", "z", "good", "w2", "bad"}, test: []string{"new", "bad", "thing", "good"},
			want:  map[string]preflight.Grade{preflight.UnknownLabels: preflight.Fatal},
			where: `rows.tsv:4  "goood"; did you mean "good"?`, refused: `the label "goood" is not a class`},
		{name: "a row without a label", train: []string{"w", "bad", "x", "good", "y", " ", "z", "good", "w2", "bad"}, test: []string{"new", "bad", "thing", "good"},
			want: map[string]preflight.Grade{preflight.MissingLabels: preflight.Fatal}, where: "rows.tsv:4", refused: `the label (column "l") is empty`},
		{name: "a text without words, and a long one", train: []string{" ", "bad", strings.Repeat("film ", 40), "good", "y", "bad", "z", "good"}, test: []string{"new", "bad", "thing", "good"},
			want: map[string]preflight.Grade{preflight.EmptyTexts: preflight.Warning, preflight.Truncated: preflight.Warning}, where: "rows.tsv:2"},
		{name: "bytes that are not UTF-8", train: []string{"w\xff", "bad", "x", "good", "y", "bad", "z", "good"}, test: []string{"new", "bad", "thing", "good"},
			want: map[string]preflight.Grade{preflight.NotUTF8: preflight.Warning}, where: "rows.tsv:2"},
		{name: "nearly the same", train: []string{films(1, "far too long for what there is to say"), "bad", "x", "good", "y", "bad", "z", "good"},
			test: []string{strings.ToUpper(films(1, "far too long for what there is to say!")), "bad", "thing", "good"},
			want: map[string]preflight.Grade{preflight.NearDuplicates: preflight.Warning}, where: "test.tsv:2 ~ HERE/rows.tsv:2"},
		{name: "classes of one sample, or none to test", train: []string{"w", "bad", "x", "good", "z", "good"}, test: []string{"new", "good", "thing", "good"},
			want: map[string]preflight.Grade{preflight.FewSamples: preflight.Warning, preflight.AbsentClasses: preflight.Warning}, where: `"bad"  0 samples`},
	} {
		t.Run(c.name, func(t *testing.T) {
			textPlace(t)
			table := func(path string, cells []string) {
				rows := "t\tl\n"
				for i := 0; i < len(cells); i += 2 {
					rows += cells[i] + "\t" + cells[i+1] + "\n"
				}
				write(t, path, rows)
			}
			table("rows.tsv", c.train)
			table("test.tsv", c.test)
			overrides := append([]string{"data.test=test.tsv"}, c.overrides...)
			r := checked(t, overrides...)
			want := map[string]preflight.Grade{preflight.SmallTest: preflight.Warning}
			for name, grade := range c.want {
				if grade != "" {
					want[name] = grade
				}
			}
			got := grades(r)
			if c.want[preflight.Truncated] == "" {
				delete(got, preflight.Truncated) // the tiny vocabulary makes many tokens of a word
			}
			assert.Equal(t, want, got)
			if c.where != "" {
				var all strings.Builder
				for _, f := range r.Findings {
					for _, first := range f.First {
						all.WriteString(strings.Replace(first.String(), here(t)+"/", "", 1) + "\n")
					}
				}
				assert.Contains(t, all.String(), strings.ReplaceAll(c.where, "HERE", here(t)))
			}
			task, err := openTexts(t, overrides...)
			if c.refused != "" {
				assert.ErrorContains(t, err, strings.ReplaceAll(c.refused, "HERE", here(t)))
				return
			}
			require.NoError(t, err)
			accepted := 0
			for _, line := range task.Describe() {
				if line[0] == "accepted" {
					accepted++
				}
			}
			assert.Equal(t, len(r.Of(preflight.Accepted)), accepted)
		})
	}
}

// Files that do not fit one another are told, both where both are at fault.
func TestPreflightOfColumns(t *testing.T) {
	textPlace(t)
	write(t, "test.tsv", "t\tlabel\nx\tbad\n")
	r := checked(t, "data.test=test.tsv")
	assert.Equal(t, map[string]preflight.Grade{preflight.BadColumns: preflight.Fatal}, grades(r))
	assert.Contains(t, r.Findings[0].First[0].Where, `test.tsv:1: there is no column "l"; the columns are "t", "label"`)
	write(t, "rows.tsv", "t\tl\nx\n")
	r = checked(t, "data.test=test.tsv")
	assert.Equal(t, map[string]preflight.Grade{preflight.Unreadable: preflight.Fatal, preflight.BadColumns: preflight.Fatal}, grades(r))
}

func TestPreflightOfNumbers(t *testing.T) {
	textPlace(t, "head: {classes: [bad, good], pooling: mean}", "head: {objective: regression}")
	write(t, "rows.tsv", "t\tl\na b c\t1\nd e f\t2.5\nh i j\tmany\nk l m\t3\no p q\tNaN\nr\t1\n")
	r := checked(t)
	require.Contains(t, grades(r), preflight.UnknownLabels)
	assert.Equal(t, 2, r.Findings[0].Count)
	assert.Contains(t, r.Findings[0].First[0].String(), `rows.tsv:4  "many"`)
	assert.Empty(t, r.Classes)
}

// A spec says what it accepts by names that there are.
func TestAcceptOfASpec(t *testing.T) {
	textPlace(t)
	for value, want := range map[string]string{
		"[duplicate]":              `command line: accept=[duplicate]: accept[0]: no finding is named "duplicate"; did you mean "duplicates"?; there are "duplicates", `,
		"[repeated, repeated]":     `accept[1]: "repeated" is there already`,
		"[single-class]":           `accept[0]: "single-class" cannot be accepted: a classifier needs samples of two classes or more`,
		"[unreadable, duplicates]": `accept[0]: "unreadable" cannot be accepted: images.unreadable: skip leaves pictures out that cannot be read`,
	} {
		_, err := Read("spec.yaml", "accept="+value)
		assert.ErrorContains(t, err, want)
	}
	s, err := Read("spec.yaml", "accept=[duplicates, conflicting-labels]")
	require.NoError(t, err)
	text, err := s.YAML()
	require.NoError(t, err)
	assert.Contains(t, string(text), "\naccept: [duplicates, conflicting-labels]\n")
}
