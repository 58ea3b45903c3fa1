package recipe

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
)

// program is what a Go program does: it trains a classifier of texts, or pairs, and keeps a folder.
func program(t *testing.T, folder string, head text.Head, items, test []text.Item) *finetune.Result {
	t.Helper()
	c, err := text.Load("model", head)
	require.NoError(t, err)
	defer c.Close()
	trainSet, err := c.NewDataset(items, text.DatasetOptions{MaxLength: 16})
	require.NoError(t, err)
	testSet, err := c.NewDataset(test, text.DatasetOptions{MaxLength: 16})
	require.NoError(t, err)
	result, err := finetune.Fit(t.Context(), c, trainSet, testSet, finetune.Options{
		Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 4, LR: 5e-3, HeadLR: 5e-3}}, Batch: finetune.Batching{Size: 8},
		Device: "cpu", Folder: finetune.NewFolder(folder),
	})
	require.NoError(t, err)
	return result
}

func reviewItems(from, to int) (items []text.Item) {
	for i := from; i < to; i++ {
		items = append(items, text.Item{Text: fmt.Sprintf("the film %d was %s", i, []string{"dull", "great"}[i%2]), Class: i % 2})
	}
	return items
}

// A run folder that a Go program leaves, without a spec, predicts and exports, and is measured on data that is named.
func TestRunOfAGoProgram(t *testing.T) {
	unchanged(t)
	workplace(t)
	result := program(t, "run", text.NewHead("bad", "good"), reviewItems(0, 32), reviewItems(32, 40))
	assert.NoFileExists(t, "run/spec.yaml")
	assert.True(t, IsRun("run"))
	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()

	write(t, "test.csv", "stars,review\n"+strings.Repeat("good,the film 1 was great\nbad,the film 2 was dull\n", 3))
	score, err := run.Evaluate(t.Context(), EvalOptions{Data: "test.csv", Columns: Columns{Text: "review", Label: "stars"}, Device: "cpu"})
	require.NoError(t, err)
	assert.Equal(t, 6, score.Rows)
	assert.Equal(t, 1.0, score.Value("accuracy"))
	assert.Equal(t, 1.0, result.Best.Value("accuracy"))
	for want, o := range map[string]EvalOptions{
		"run has no spec.yaml, so its test data is not known: name some with --data":                                      {},
		"run has no spec.yaml, so the columns of test.csv are not known: name them, as in --columns text=NAME,label=NAME": {Data: "test.csv"},
		`test.csv:1: there is no column "txt"; the columns are "stars", "review"`:                                         {Data: "test.csv", Columns: Columns{Text: "txt", Label: "stars"}},
		`test.csv:2: the label "the film 1 was great" is not a class; the classes are "bad", "good"`:                      {Data: "test.csv", Columns: Columns{Text: "stars", Label: "review"}},
		"run was trained on single texts, and data.columns.pair names a second: leave it out":                             {Data: "test.csv", Columns: Columns{Text: "review", Pair: "other", Label: "stars"}},
	} {
		o.Device = "cpu"
		_, err := run.Evaluate(t.Context(), o)
		assert.EqualError(t, err, want)
	}

	found, err := run.Predict(t.Context(), []Input{{Text: "the film was great"}, {Text: "the film was dull"}}, finetune.PredictOptions{})
	require.NoError(t, err)
	assert.Equal(t, []string{"good", "bad"}, []string{found[0].Label, found[1].Label})
	_, err = run.Predict(t.Context(), []Input{{Text: "the film", Pair: "was great"}}, finetune.PredictOptions{})
	assert.ErrorContains(t, err, `"the film" has a second text`)

	require.NoError(t, run.Export("exported", Transformers))
	exported, err := OpenModel("exported", "")
	require.NoError(t, err)
	defer exported.Close()
	again, err := exported.Predict(t.Context(), []Input{{Text: "the film was great"}, {Text: "the film was dull"}}, finetune.PredictOptions{})
	require.NoError(t, err)
	assert.Equal(t, found, again)

	fault, ok := run.Use("gpu", "auto").(interface{ Unwrap() []error })
	require.True(t, ok)
	assert.EqualError(t, fault.Unwrap()[0], `device: expected auto, cpu, cuda, cuda:0, found "gpu"; did you mean "cuda"?`)
}

// A run remembers that it was trained on pairs, whoever opens it.
func TestRunOfPairsOfAGoProgram(t *testing.T) {
	unchanged(t)
	workplace(t)
	var items []text.Item
	for i := range 40 {
		items = append(items, text.Item{Text: fmt.Sprintf("the film %d", i), Pair: []string{"was dull", "was great"}[i%2], Class: i % 2})
	}
	program(t, "run", text.Head{Classes: []string{"bad", "good"}, Pooling: text.Mean}, items[:32], items[32:])
	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()
	assert.True(t, run.Pairs())
	found, err := run.Predict(t.Context(), []Input{{Text: "the film", Pair: "was great"}, {Text: "the film", Pair: "was dull"}}, finetune.PredictOptions{})
	require.NoError(t, err)
	assert.Equal(t, []string{"good", "bad"}, []string{found[0].Label, found[1].Label})
	_, err = run.Predict(t.Context(), []Input{{Text: "the film was great"}}, finetune.PredictOptions{})
	assert.ErrorContains(t, err, `"the film was great" has no second text`)
	write(t, "test.tsv", "a\tb\tl\nthe film\twas great\tgood\nit\t\tbad\n")
	score, err := run.Evaluate(t.Context(), EvalOptions{Data: "test.tsv", Columns: Columns{Text: "a", Pair: "b", Label: "l"}, Device: "cpu"})
	require.NoError(t, err)
	assert.Equal(t, 2, score.Rows, "an empty second text is one")
	_, err = run.Evaluate(t.Context(), EvalOptions{Data: "test.tsv", Columns: Columns{Text: "a", Label: "l"}, Device: "cpu"})
	assert.EqualError(t, err, "run has no spec.yaml, so the columns of test.tsv are not known: name them, as in --columns text=NAME,pair=NAME,label=NAME")
}
