package cuda_test

import (
	"testing"

	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// needGPU skips a test where no device answers.
func needGPU(t testing.TB) {
	t.Helper()
	if err := cuda.Check(); err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
}
