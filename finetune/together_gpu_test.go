package finetune

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/dist/disttest"
)

func needGPUs(t *testing.T, n int) {
	t.Helper()
	needGPU(t)
	if devices, err := cuda.Devices(); err != nil || len(devices) < n {
		t.Skipf("needs %d GPUs, found %d", n, len(devices))
	}
}

// Two processes with a GPU each come to what one with a GPU comes to, but for rounding.
func TestGPUTogetherIsAlone(t *testing.T) {
	needGPUs(t, 2)
	for _, c := range togetherCases {
		t.Run(c.Name, func(t *testing.T) {
			c.OnGPUs = true
			alone := c.run(t, nil)
			require.Empty(t, alone.Error)
			tolerance := 1e-3
			if c.Precision != "" {
				tolerance = 5e-2
			}
			all := c.on(t, 2)
			for r, got := range all {
				require.Empty(t, got.Error, "rank %d", r)
				assert.Equal(t, alone.Steps, got.Steps)
				assert.InEpsilon(t, alone.Before, got.Before, max(1e-5, tolerance/10))
				assert.InEpsilonSlice(t, alone.Loss, got.Loss, tolerance)
				for name, want := range alone.Weights {
					assert.InDeltaSlice(t, want, got.Weights[name], tolerance, "rank %d: %s", r, name)
					assert.Equal(t, all[0].Weights[name], got.Weights[name], "ranks differ in %s", name)
				}
			}
		})
	}
}

// A run on two GPUs goes on from its checkpoint to the same bits, and its optimizer's state may be divided.
func TestGPUTogetherResumes(t *testing.T) {
	needGPUs(t, 2)
	c := togetherCase{Samples: 50, Padded: true, Top: "top 2", Batch: Batching{Size: 8}, Epochs: 2, Dropout: 0.2, OnGPUs: true}
	whole := c.on(t, 2)
	require.Empty(t, whole[0].Error)
	for _, shard := range []string{"off", "on"} {
		c.Folder, c.StopAt, c.Resume, c.Shard = filepath.Join(t.TempDir(), "run"), 5, false, shard
		for r, got := range c.on(t, 2) {
			assert.True(t, got.Stopped, "rank %d: %s", r, got.Error)
		}
		c.StopAt, c.Resume = 0, true
		for r, got := range c.on(t, 2) {
			require.Empty(t, got.Error, "rank %d", r)
			for name, want := range whole[r].Weights {
				assert.Equal(t, want, got.Weights[name], "rank %d, state %s: %s", r, shard, name)
			}
		}
		assert.NoError(t, os.RemoveAll(c.Folder))
	}
}

// A loss that is no number, and a sample that cannot be read, end both processes.
func TestGPUTogetherFails(t *testing.T) {
	needGPUs(t, 2)
	c := togetherCase{Samples: 50, Top: "all", Batch: Batching{Size: 8}, Epochs: 2, OnGPUs: true}
	failing := c
	failing.FailAt = 3
	for r, got := range failing.on(t, 2) {
		assert.Contains(t, got.Error, "row 7 cannot be read", "rank %d", r)
	}
	dying := c
	dying.DieAt = 3
	text, err := json.Marshal(dying)
	require.NoError(t, err)
	start := time.Now()
	ranks, wait := disttest.Start(t, 2, togetherKey+"="+string(text))
	wait()
	assert.Less(t, ranks[0].Ended.Sub(start), 22*time.Second, "the timeout is 20 s")
	assert.Contains(t, ranks[0].Out.String(), "rank 1 (host ", "%s", ranks[0].Log.String())
	bad := c
	bad.BadAt = 3
	for r, got := range bad.on(t, 2) {
		assert.Contains(t, got.Error, "the loss is not a finite number", "rank %d", r)
	}
}
