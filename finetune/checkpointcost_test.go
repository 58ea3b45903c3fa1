package finetune_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
)

// TestMeasureCheckpointCost measures what a checkpoint costs the training of a ResNet-50 with AdamW, all of its layers
// trained (25.6 million parameters, files of 307 MB), on a machine that computes nothing else:
//
//	THAW_MEASURE=checkpoint go test -run TestMeasureCheckpoint -v -timeout 30m ./finetune
//
// One run saves a checkpoint every 2*half steps. The half that begins with one is compared with the half after it, in
// which nothing is written: a machine whose speed drifts is slow, or fast, in both. At one checkpoint a minute the
// difference is to be at most 2 percent of that minute.
func TestMeasureCheckpointCost(t *testing.T) {
	if os.Getenv("THAW_MEASURE") != "checkpoint" {
		t.Skip("THAW_MEASURE=checkpoint measures for minutes")
	}
	const half, pairs, size = 6, 8, 4
	model, err := vision.NewClassifier("resnet50", 10, 1)
	require.NoError(t, err)
	defer model.Close()
	model.Input = model.Input.Sized(64, 64) // small pictures: short steps, beside which a checkpoint counts more
	var steps []time.Duration               // that each step took, with what came before it
	last := time.Now()
	saved := map[int]int{} // the steps that were over when a checkpoint was written, by the step that it is of
	_, err = finetune.Fit[*vision.Batch](t.Context(), model, vision.NewSynthetic(model, 2*half*(pairs+2)*size, 64, 1), data.Dataset[*vision.Batch](nil), finetune.Options{
		Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 1, LR: 1e-4}}, Batch: finetune.Batching{Size: size}, Device: "cpu",
		Folder: finetune.NewFolder(filepath.Join(t.TempDir(), "run")), Checkpoint: finetune.Checkpointing{Steps: 2 * half},
		OnEvent: func(e finetune.Event) error {
			switch e := e.(type) {
			case train.StepDone:
				now := time.Now()
				steps, last = append(steps, now.Sub(last)), now
			case finetune.CheckpointSaved:
				saved[e.Step] = len(steps)
			case train.Warning:
				t.Error(e.Text)
			}
			return nil
		},
	})
	require.NoError(t, err)
	sum := func(of []time.Duration) (all time.Duration) {
		for _, d := range of {
			all += d
		}
		return all
	}
	var costs []time.Duration
	for pair := 2; pair <= pairs; pair++ { // the first checkpoint takes the memory that all use
		begun := 2 * half * pair // the step after which it was begun: that step's time has what it stopped for
		require.Contains(t, saved, begun)
		assert.Less(t, saved[begun], begun+half, "written within its half: otherwise half is too small for this machine")
		with, without := sum(steps[begun-1:begun-1+half]), sum(steps[begun-1+half:begun-1+2*half])
		costs = append(costs, with-without)
		t.Logf("%d steps with a checkpoint take %v, without %v: it costs %v", half, with.Round(time.Millisecond), without.Round(time.Millisecond), (with - without).Round(time.Millisecond))
	}
	slices.Sort(costs)
	median := costs[len(costs)/2]
	t.Logf("median: a checkpoint costs %v, %.2f percent at one a minute", median.Round(time.Millisecond), 100*median.Minutes())
	assert.LessOrEqual(t, median, 1200*time.Millisecond, "2 percent at one a minute")
}
