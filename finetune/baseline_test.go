package finetune

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
)

// A run that begins where an earlier one began takes what its test samples came to then. With other weights behind the kept rows, other
// targets or a note that is damaged they are evaluated.
func TestScoreBeforeTrainingIsKept(t *testing.T) {
	trainSet, testSet := keyed{samples: newSamples(1, 40, mixed), key: "train"}, keyed{samples: newSamples(2, 12, mixed), key: "test"}
	folder := filepath.Join(t.TempDir(), "frozen")
	o := keeping(t, CacheDisk, folder)
	o.Objective = objective.Classification{Classes: []string{"minus", "plus"}}
	run := func(change func(*net)) kept { return keepRun(t, o, trainSet, testSet, change) }
	first := run(nil)
	assert.True(t, first.evaluated)
	again := run(nil)
	assert.False(t, again.evaluated)
	assert.Equal(t, first.before, again.before)
	assert.Equal(t, first.weights, again.weights)

	other := run(func(m *net) {
		torch.NoGrad(func() { m.Head.Bias.Fill_(3) })
	})
	assert.True(t, other.evaluated)
	assert.NotEqual(t, first.before, other.before)

	rest := testSet
	testSet.samples = newSamples(2, 12, mixed)
	testSet.labels[0] = 1 - testSet.labels[0]
	assert.True(t, run(nil).evaluated, "the rows' key says nothing of the targets")
	testSet = rest

	notes, err := filepath.Glob(filepath.Join(folder, "*.note"))
	require.NoError(t, err)
	require.Len(t, notes, 3)
	for _, note := range notes {
		content, err := os.ReadFile(note)
		require.NoError(t, err)
		content[len(content)-1]++
		require.NoError(t, os.WriteFile(note, content, 0o600))
	}
	o.Objective = objective.Classification{Classes: []string{"minus", "plus"}, Metrics: []string{"macro_f1"}}
	assert.True(t, run(nil).evaluated, "something else is measured")
	o.Objective = objective.Classification{Classes: []string{"minus", "plus"}}
	damaged := run(nil)
	assert.True(t, damaged.evaluated)
	assert.Equal(t, first.before, damaged.before)
	assert.False(t, run(nil).evaluated, "it was written anew")
}
