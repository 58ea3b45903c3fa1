package recipe

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
)

const (
	regressionHead = "head: {objective: regression}"
	labelsHead     = "head: {objective: multi-label, classes: [action, comedy], pooling: mean}"
	classesHead    = "head: {classes: [bad, good], pooling: mean}"
)

// starRows are texts with a number of stars.
func starRows(n int) string {
	var b strings.Builder
	b.WriteString("t\tl\n")
	for i := range n {
		fmt.Fprintf(&b, "the film %d is %s\t%s\n", i, []string{"bad", "good", "not bad"}[i%3], []string{"1", " 4.5", "2.5e0"}[i%3])
	}
	return b.String()
}

// genreRows are texts with any number of labels.
func genreRows(n int) string {
	var b strings.Builder
	b.WriteString("t\tl\n")
	for i := range n {
		fmt.Fprintf(&b, "film %d is %s\t%s\n", i, []string{"great fun", "dull", "great and dull"}[i%3], []string{"comedy", "", "action, comedy"}[i%3])
	}
	return b.String()
}

// trainedAs trains a head on all rows of a table, evaluates it, and opens the run.
func trainedAs(t *testing.T, head, rows string, overrides ...string) (*finetune.Result, *Run) {
	t.Helper()
	textPlace(t, classesHead, head, "train: head, epochs: 1, lr: 1e-2", "train: all, epochs: 4, lr: 5e-3, head_lr: 5e-3")
	write(t, "rows.tsv", rows)
	task, err := openTexts(t, append([]string{"out=run", "batch.size=8"}, overrides...)...)
	require.NoError(t, err)
	result, err := task.Train(t.Context(), nil)
	require.NoError(t, err)
	run, err := OpenRun("run")
	require.NoError(t, err)
	t.Cleanup(run.Close)
	return result, run
}

func measured(s *metric.Score) (names []string) {
	for _, v := range s.Values {
		names = append(names, v.Name)
	}
	return names
}

// requireConfig compares what a run's config.json says of its head with what transformers writes.
func requireConfig(t *testing.T, want string) {
	t.Helper()
	data, err := os.ReadFile("run/weights/config.json")
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(data, &got))
	head := map[string]any{}
	for _, key := range []string{"problem_type", "num_labels", "id2label", "label2id", "architectures"} {
		head[key] = got[key]
	}
	text, err := json.Marshal(head)
	require.NoError(t, err)
	assert.JSONEq(t, want, string(text))
}

func TestRegressionOfTexts(t *testing.T) {
	unchanged(t)
	result, run := trainedAs(t, regressionHead, starRows(60), "best=pearson")
	requireConfig(t, `{"problem_type": "regression", "num_labels": 1, "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0},
		"architectures": ["BertForSequenceClassification"]}`)
	assert.Less(t, result.Best.Value("mse"), result.Before.Value("mse"))
	best := math.Inf(-1)
	for _, e := range result.Epochs {
		best = max(best, e.Test.Value("pearson"))
	}
	assert.Equal(t, best, result.Best.Value("pearson"), "the best epoch is chosen by what best names")

	score, err := run.Evaluate(t.Context(), EvalOptions{Device: "cpu"})
	require.NoError(t, err)
	assert.Equal(t, []string{"mse", "mae", "pearson", "spearman"}, measured(score))
	assert.InDelta(t, result.Best.Value("mse"), score.Value("mse"), 1e-5)
	assert.InDelta(t, score.Value("mse"), score.Loss, 1e-5)
	assert.Nil(t, score.Classes)

	found, err := run.Predict(t.Context(), []Input{{Text: "the film is good"}, {Text: "the film is bad"}}, finetune.PredictOptions{})
	require.NoError(t, err)
	require.NotNil(t, found[0].Value)
	assert.Greater(t, *found[0].Value, *found[1].Value)
	assert.Empty(t, found[0].Label)
	assert.Empty(t, found[0].Scores)
	assert.Equal(t, float64(found[0].Logits[0]), *found[0].Value)
	require.NoError(t, run.Export("exported", Transformers))

	lines := describe(t)
	assert.Equal(t, "new: 32 -> a number, the pooled first token", lines["head"])
}

func TestSeveralLabelsOfTexts(t *testing.T) {
	unchanged(t)
	result, run := trainedAs(t, labelsHead, genreRows(60), "phases[0].epochs=12")
	requireConfig(t, `{"problem_type": "multi_label_classification", "num_labels": 2, "id2label": {"0": "action", "1": "comedy"},
		"label2id": {"action": 0, "comedy": 1}, "architectures": null}`)
	score, err := run.Evaluate(t.Context(), EvalOptions{Device: "cpu"})
	require.NoError(t, err)
	assert.Equal(t, []string{"micro_f1", "macro_f1", "subset_accuracy"}, measured(score))
	assert.Equal(t, result.Best.Values, score.Values)
	assert.Greater(t, score.Value("micro_f1"), 0.9)

	inputs := []Input{{Text: "film 1 is great fun"}, {Text: "film 2 is dull"}, {Text: "film 3 is great and dull"}}
	found, err := run.Predict(t.Context(), inputs, finetune.PredictOptions{})
	require.NoError(t, err)
	assert.Equal(t, [][]string{{"comedy"}, {}, {"action", "comedy"}}, [][]string{found[0].Labels, found[1].Labels, found[2].Labels})
	for label, p := range found[0].Scores {
		assert.Equal(t, p > 0.5, label == "comedy", "%s %v", label, p)
	}
	assert.Equal(t, []string{"action", "comedy"}, run.Labels())
	assert.Equal(t, "new: 32 -> 2 [action comedy], several at once, mean pooling", describe(t)["head"])

	// Of lists in JSON lines the same model comes.
	var lists strings.Builder
	for i := range 60 {
		fmt.Fprintf(&lists, `{"t": "film %d is %s", "l": %s}`+"\n", i, []string{"great fun", "dull", "great and dull"}[i%3],
			[]string{`["comedy"]`, `[]`, `["comedy", "action", "comedy"]`}[i%3])
	}
	write(t, "rows.jsonl", lists.String())
	task, err := openTexts(t, "out=again", "batch.size=8", "phases[0].epochs=12", "data.train=rows.jsonl")
	require.NoError(t, err)
	again, err := task.Train(t.Context(), nil)
	require.NoError(t, err)
	assert.InDelta(t, result.Best.Loss, again.Best.Loss, 1e-6)
	assert.Equal(t, result.Best.Values, again.Best.Values)
}

// describe gives what is told of spec.yaml, by subject.
func describe(t *testing.T) map[string]string {
	t.Helper()
	task, err := openTexts(t)
	require.NoError(t, err)
	lines := map[string]string{}
	for _, line := range task.Describe() {
		lines[line[0]] = line[1]
	}
	return lines
}

// What a column of labels holds that it should not is told with the file and the line.
func TestLabelsThatDoNotFitTheObjective(t *testing.T) {
	for _, c := range []struct{ name, head, file, rows, want string }{
		{"no number", regressionHead, "rows.tsv", "t\tl\na\t1\nb\tgood\n", `spec.yaml:2: head.objective: FOLDER/rows.tsv:3: the label "good" is no finite number, which head.objective: regression needs`},
		{"NaN", regressionHead, "rows.tsv", "t\tl\na\t1\nb\tNaN\n", `spec.yaml:2: head.objective: FOLDER/rows.tsv:3: the label "NaN" is no finite number, which head.objective: regression needs`},
		{"infinite", regressionHead, "rows.jsonl", `{"t": "a", "l": 1}` + "\n" + `{"t": "b", "l": 1e999}` + "\n", `spec.yaml:2: head.objective: FOLDER/rows.jsonl:2: the label "1e999" is no finite number, which head.objective: regression needs`},
		{"no label", regressionHead, "rows.csv", "t,l\na,\n", `FOLDER/rows.csv:2: the label (column "l") is empty`},
		{"a list for a number", regressionHead, "rows.jsonl", `{"t": "a", "l": [1]}`, `FOLDER/rows.jsonl:1: column "l" must be a string, a number or a bool, found [1]`},
		{"one label of several", labelsHead, "rows.tsv", "t\tl\na\taction\nb\tcomedy, dramma\n", `spec.yaml:2: head.classes: FOLDER/rows.tsv:3: the label "dramma" is not a class; the classes are "action", "comedy"`},
		{"one label of a list", labelsHead, "rows.jsonl", `{"t": "a", "l": ["action"]}` + "\n\n" + `{"t": "b", "l": ["comedy", "acton"]}`,
			`spec.yaml:2: head.classes: FOLDER/rows.jsonl:3: the label "acton" is not a class; the classes are "action", "comedy"; did you mean "action"?`},
		{"a list of numbers", labelsHead, "rows.jsonl", `{"t": "a", "l": [1]}`, `FOLDER/rows.jsonl:1: column "l" must be a list of strings, found [1]`},
		{"a label that no row has", labelsHead, "rows.tsv", "t\tl\na\taction\nb\t\nc\taction,action\n", `spec.yaml:2: head.classes[1]: no row of FOLDER/rows.tsv has the label "comedy"; there are [action]`},
		{"a list for a class", classesHead, "rows.jsonl", `{"t": "a", "l": ["bad"]}`, `FOLDER/rows.jsonl:1: column "l" must be a string, a number or a bool, found ["bad"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			textPlace(t, classesHead, c.head, "rows.tsv", c.file)
			write(t, c.file, c.rows)
			_, err := openTexts(t, `data.test=""`)
			require.Error(t, err)
			assert.Equal(t, c.want, strings.ReplaceAll(err.Error(), here(t), "FOLDER"))
		})
	}
}
