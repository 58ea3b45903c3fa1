package finetune

import (
	"os"
	"testing"

	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(togetherKey) != "" {
		os.Exit(runTogether())
	}
	torchtest.Main(m)
}
