package recipe

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/metric"
)

func TestMetricsOfASpec(t *testing.T) {
	s, err := Parse("/specs/reviews.yaml", []byte(reviews+"metrics: [f1, auroc, top_1_accuracy]\nbest: auroc\n"))
	require.NoError(t, err)
	assert.Equal(t, []string{"f1", "auroc", "top_1_accuracy"}, s.Metrics)
	requireRoundTrip(t, s)
	s, err = Parse("/specs/reviews.yaml", []byte(reviews))
	require.NoError(t, err)
	text, err := s.YAML()
	require.NoError(t, err)
	assert.NotContains(t, string(text), "metrics", "a spec without the key is written as it always was")

	for _, c := range []struct{ metrics, want string }{
		{"[accuracy, acuracy]", `reviews.yaml:12: metrics[1]: the metric "acuracy": a classification has no such metric; did you mean "accuracy"? there are ` +
			strings.Join(metric.ClassificationNames(), ", ")},
		{"[f1, f1]", `reviews.yaml:12: metrics[1]: the metric "f1": named twice`},
		{"[loss]", `reviews.yaml:12: metrics[0]: the metric "loss": the loss is always reported; leave it out`},
		{"[]", `reviews.yaml:12: metrics: must name one metric or more; leave the key out for the usual ones`},
		{"[top_2_accuracy]", `reviews.yaml:12: metrics[0]: the metric "top_2_accuracy": with 2 classes it is always 1`},
	} {
		_, err := Parse("reviews.yaml", []byte(reviews+"metrics: "+c.metrics+"\n"))
		assert.EqualError(t, err, c.want)
	}
	_, err = Parse("reviews.yaml", []byte(reviews), "metrics=[kappa]")
	require.NoError(t, err)
	_, err = Parse("reviews.yaml", []byte(reviews), "metrics=[r2]")
	assert.ErrorContains(t, err, `command line: metrics=[r2]: metrics[0]: the metric "r2": a classification has no such metric`)
	_, err = Parse("r.yaml", []byte("model: m\nhead: {objective: regression}\ndata: {train: r.csv, columns: {text: t, label: l}}\n"+
		"phases: [{train: head, epochs: 1, lr: 1}]\nmetrics: [accuracy]\n"))
	assert.EqualError(t, err, `r.yaml:5: metrics[0]: the metric "accuracy": a regression has no such metric; there are mse, rmse, mae, r2, pearson, spearman`)
}

// Each epoch, the choice of the best one and a later evaluation go by the metrics that the spec names.
func TestMetricsOfATraining(t *testing.T) {
	unchanged(t)
	for _, c := range []struct {
		head, rows string
		metrics    string
		want       []string
	}{
		{regressionHead, starRows(60), "[r2, rmse]", []string{"r2", "rmse"}},
		{labelsHead, genreRows(60), "[auroc, hamming_loss]", []string{"auroc", "hamming_loss"}},
	} {
		t.Run(c.metrics, func(t *testing.T) {
			result, run := trainedAs(t, c.head, c.rows, "metrics="+c.metrics)
			assert.Equal(t, c.want, measured(&result.Best))
			for _, e := range result.Epochs {
				assert.Equal(t, c.want, measured(&e.Test))
				assert.False(t, e.Test.Values[0].Better(result.Best.Values[0]), "the first one chooses the best epoch")
			}
			score, err := run.Evaluate(t.Context(), EvalOptions{Device: "cpu"})
			require.NoError(t, err)
			require.Equal(t, c.want, measured(score))
			for i, v := range score.Values {
				assert.InDelta(t, result.Best.Values[i].Value, v.Value, 1e-5, v.Name)
			}
		})
	}
}
