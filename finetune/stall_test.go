package finetune

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// THAW_MEASURE=checkpoint tells for how long steps stop where a checkpoint of a ResNet-50 with AdamW is begun: 25.6
// million parameters in 161 tensors, and two more of each size. It is no test: it fails only where a checkpoint does.
func TestMeasureCheckpoint(t *testing.T) {
	if os.Getenv("THAW_MEASURE") != "checkpoint" {
		t.Skip("THAW_MEASURE=checkpoint measures")
	}
	folder := NewFolder(t.TempDir())
	c := newCheckpoints(folder, Checkpointing{Steps: 1, Keep: 2})
	defer c.close()
	torch.Scoped(func() {
		var changing []torch.Named
		for i := range 3 * 161 {
			changing = append(changing, torch.Named{Name: fmt.Sprint("tensor.", i), Tensor: torch.Ones(torch.Float32, torch.CPU, 25_600_000/161)})
		}
		for i := range 6 {
			began := time.Now()
			require.NoError(t, c.write(savedRun{Step: i}, "", nil, changing, nil))
			stopped := time.Since(began)
			c.copied()
			copied := time.Since(began)
			_, _, err := c.finished(true)
			require.NoError(t, err)
			t.Logf("steps stop for %v; the optimizer may step after %v; written after %v", stopped.Round(time.Microsecond), copied.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		}
	})
}
