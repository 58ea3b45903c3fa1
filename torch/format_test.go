package torch_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

type formatCase struct {
	torchtest.Stored
	Name         string
	Scale        float64
	Offset       float64
	Permute      []int
	RequiresGrad bool `json:"requires_grad"`
	Then         string
	Want         string
}

// build makes the case's tensor: from its bytes, or else element i is i*Scale + Offset.
func (c formatCase) build(t *testing.T) torch.Tensor {
	dtype, err := torch.ParseDType(c.DType)
	require.NoError(t, err)
	n := 1
	for _, s := range c.Shape {
		n *= s
	}
	var x torch.Tensor
	if c.Scale != 0 {
		ramp := make([]float64, n)
		for i := range ramp {
			ramp[i] = float64(float64(i)*c.Scale) + c.Offset // the conversion forbids a fused multiply-add
		}
		x = torch.FromSlice(ramp, c.Shape...).To(dtype)
	} else {
		x = c.Tensor(t)
	}
	if c.Permute != nil {
		x = x.Permute(c.Permute...)
	}
	if c.RequiresGrad {
		x.RequiresGrad_(true)
	}
	switch c.Then {
	case "add":
		return x.Add(x)
	case "mul":
		return x.Mul(x)
	case "sum":
		return x.Sum()
	case "mean":
		return x.Mean()
	case "view":
		return x.View(-1)
	case "relu":
		return x.ReLU()
	case "exp":
		return x.Exp()
	case "slice":
		return x.Index(torch.From(1))
	case "detach":
		return x.Detach()
	case "t":
		return x.T()
	case "softmax":
		return x.Softmax(-1)
	case "clone":
		return x.Clone()
	}
	require.Empty(t, c.Then, "the test does not know this step")
	return x
}

func TestStringIsPyTorchs(t *testing.T) {
	g := torchtest.Golden[struct{ Cases []formatCase }](t, "format.json")
	require.Greater(t, len(g.Cases), 60)
	for _, c := range g.Cases {
		t.Run(c.Name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				assert.Equal(t, c.Want, c.build(t).String())
			})
		})
	}
}

func TestStringOfNoTensor(t *testing.T) {
	assert.Equal(t, "tensor(undefined)", torch.Tensor{}.String())
	x := vector(1)
	x.Close()
	assert.Equal(t, "tensor(freed)", fmt.Sprint(x))
}

func TestStringKeepsTheThreadState(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := vector(1.5, 2).RequiresGrad_(true)
		before := torch.Stats().Tensors
		torch.Autocast(torch.BFloat16, func() { assert.Equal(t, "tensor([1.5000, 2.0000], requires_grad=True)", x.String()) })
		torch.Inference(func() { _ = x.String() })
		assert.True(t, torch.GradEnabled())
		assert.Equal(t, before, torch.Stats().Tensors)
	})
}
