package boxes_test

import (
	"testing"

	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }
