package recipe_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/recipe"
)

// A folder of images tells how many classes there are: then metrics are checked again.
func TestMetricsOfImages(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 3, 6)
	r := trainImages(t, folder, "metrics=[auroc, top_2_accuracy, calibration_error]")
	assert.Equal(t, []string{"loss", "auroc", "top_2_accuracy", "calibration_error"}, r.result.Best.Names())
	run, err := recipe.OpenRun(r.result.Folder)
	require.NoError(t, err)
	defer run.Close()
	score, err := run.Evaluate(t.Context(), recipe.EvalOptions{Device: "cpu"})
	require.NoError(t, err)
	for _, v := range r.result.Best.Values {
		assert.InDelta(t, v.Value, score.Value(v.Name), 1e-5, v.Name)
	}

	task, _, err := openImages(t, folder, "metrics=[auroc, f1]", "out="+t.TempDir()+"/run")
	require.NoError(t, err)
	defer task.Close()
	_, err = task.Train(t.Context(), nil)
	assert.EqualError(t, err, `command line: metrics=[auroc, f1]: metrics[1]: the metric "f1": `+
		`one of 3 classes is meant: name macro_f1, micro_f1 or weighted_f1`)
}
