package vision_test

import (
	"os"
	"testing"

	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) {
	// No model of this machine's caches is known to the tests.
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME"} {
		os.Setenv(name, "/nonexistent")
	}
	torchtest.Main(m)
}
