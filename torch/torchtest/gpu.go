package torchtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// GPU gives the first GPU, with float32 products in float32 until the test ends, or skips the test.
func GPU(t testing.TB) torch.Device {
	t.Helper()
	if err := cuda.Check(); err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
	before, err := cuda.CurrentSettings()
	require.NoError(t, err)
	require.NoError(t, cuda.Settings{}.Apply())
	t.Cleanup(func() { require.NoError(t, before.Apply()) })
	return torch.CUDA(0)
}
