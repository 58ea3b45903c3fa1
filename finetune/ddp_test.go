package finetune

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Two processes come, in 30 steps, to the losses of PyTorch's DistributedDataParallel on two ranks: within 1e-4.
func TestTogetherIsDDPs(t *testing.T) {
	text, err := os.ReadFile("testdata/ddp.json")
	require.NoError(t, err)
	var golden struct {
		Cases map[string]struct{ Losses, Tested []float64 }
	}
	require.NoError(t, json.Unmarshal(text, &golden))
	cases := []togetherCase{
		{Name: "plain", Batch: Batching{Size: 28}},
		{Name: "accumulated", Batch: Batching{Size: 14, Accumulate: 2}},
		{Name: "clipped", Batch: Batching{Size: 28}, Clip: 0.05},
		{Name: "class weights", Batch: Batching{Size: 28}, Weights: []float64{0.7, 2.5}},
		{Name: "class weights, accumulated", Batch: Batching{Size: 14, Accumulate: 2}, Weights: []float64{0.7, 2.5}},
	}
	assert.Len(t, golden.Cases, len(cases), "a case without a test")
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			want, ok := golden.Cases[c.Name]
			require.True(t, ok)
			c.Loop, c.Top, c.Epochs = true, "all", len(want.Losses)
			for r, got := range c.on(t, 2) {
				require.Empty(t, got.Error, "rank %d", r)
				require.Len(t, got.Losses, 30)
				assert.InDeltaSlice(t, want.Losses, got.Losses, 1e-4, "rank %d", r)
				assert.InDeltaSlice(t, want.Tested, got.Loss, 1e-4, "rank %d, evaluations", r)
			}
		})
	}
}
