package finetune

import (
	"os"
	"testing"

	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) {
	// The size of workspaces that makes cuBLAS deterministic; see cuda.Settings.
	os.Setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
	torchtest.Main(m)
}
