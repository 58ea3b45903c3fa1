package fused_test

import (
	"testing"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

type outs = []torch.Tensor

const (
	f32 = torch.Float32
)

var cpu = torch.CPU
