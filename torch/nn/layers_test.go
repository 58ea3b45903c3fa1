package nn_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

type layerCase struct {
	Layer, Name string
	Args        map[string]float64
	In, Out     map[string]torchtest.Stored
}

type golden struct {
	Init      map[string]torchtest.Stored
	AsFloat32 map[string]torchtest.Stored `json:"as_float32"`
	Cases     []layerCase
}

// layers are the forward passes by the case's layer.
var layers = map[string]func(c layerCase, in map[string]torch.Tensor) torch.Tensor{
	"linear": func(_ layerCase, in map[string]torch.Tensor) torch.Tensor {
		return (&nn.Linear{Weight: in["weight"], Bias: in["bias"]}).Forward(in["input"])
	},
	"embedding": func(c layerCase, in map[string]torch.Tensor) torch.Tensor {
		return (&nn.Embedding{Weight: in["weight"], Padding: int(c.Args["padding"])}).Forward(in["input"])
	},
	"layernorm": func(c layerCase, in map[string]torch.Tensor) torch.Tensor {
		return (&nn.LayerNorm{Weight: in["weight"], Bias: in["bias"], Eps: c.Args["eps"]}).Forward(in["input"])
	},
	"activation": func(c layerCase, in map[string]torch.Tensor) torch.Tensor {
		f, err := nn.Activation(c.Name)
		if err != nil {
			panic(err)
		}
		return f(in["input"])
	},
	"crossentropy": func(c layerCase, in map[string]torch.Tensor) torch.Tensor {
		return nn.CrossEntropy(in["logits"], in["classes"], c.Args["smoothing"])
	},
}

// The kernels are the golden's own; what differs is the instruction set that libtorch picks, which orders sums in
// another way and approximates exp and tanh to a few float32 steps.
func TestLayersArePyTorchs(t *testing.T) {
	g := torchtest.Golden[golden](t, "golden.json")
	require.Len(t, g.Cases, 27)
	for _, c := range g.Cases {
		t.Run(c.Layer+" "+c.Name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				in := map[string]torch.Tensor{}
				for name, s := range c.In {
					in[name] = s.Tensor(t)
					if in[name].DType().IsFloat() && name != "d_y" {
						in[name].RequiresGrad_(true)
					}
				}
				y := layers[c.Layer](c, in)
				y.BackwardWith(in["d_y"])
				torchtest.Close(t, c.Out["y"].Tensor(t), y.Detach(), 2e-6, 2e-6, "forward")
				for name, x := range in {
					want, ok := c.Out["d_"+name]
					require.Equal(t, ok, x.Grad().Defined(), name)
					if ok {
						torchtest.Close(t, want.Tensor(t), x.Grad(), 1e-5, 2e-6, "gradient of ", name)
					}
				}
			})
		})
	}
}

func TestEmbeddingPaddingGetsNoGradient(t *testing.T) {
	torchtest.Scoped(t, func() {
		e := nn.Embedding{Weight: nn.Constant(1, 3, 2).RequiresGrad_(true), Padding: 1}
		defer e.Weight.Close()
		e.Forward(torch.FromSlice([]int{0, 1, 1, 2})).Sum().Backward()
		assert.Equal(t, []float32{1, 1, 0, 0, 1, 1}, torch.ToSlice[float32](e.Weight.Grad()))
	})
}

func TestDropoutOutsideTraining(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.FromSlice([]float32{1, 2, 3})
		d := &nn.Dropout{P: 0.5}
		assert.False(t, d.Training())
		assert.True(t, d.Forward(x).Same(x))
		d.SetTraining(true)
		assert.True(t, d.Training())
		d.P = 0
		assert.False(t, d.Training(), "with probability 0 nothing is drawn, whatever the mode")
		assert.True(t, d.Forward(x).Same(x))
		all := &nn.Dropout{P: 1}
		all.SetTraining(true)
		assert.Equal(t, []float32{0, 0, 0}, torch.ToSlice[float32](all.Forward(x)))
	})
}

// The same seed makes the same parameters as in PyTorch, up to a step of float32 where the bounds are rounded.
func TestInitIsPyTorchs(t *testing.T) {
	want := torchtest.Golden[golden](t, "golden.json").Init
	linear := nn.NewLinear(12, 10, nn.LinearOptions{}, torch.NewGenerator(7))
	embedding := nn.NewEmbedding(9, 8, torch.NewGenerator(7))
	xavier := nn.XavierUniform(torch.NewGenerator(7), 6, 11)
	defer func() { nn.Close(linear); nn.Close(embedding); xavier.Close() }()
	torchtest.Scoped(t, func() {
		torchtest.Close(t, want["linear.weight"].Tensor(t), linear.Weight, 1e-6, 1e-7)
		torchtest.Close(t, want["linear.bias"].Tensor(t), linear.Bias, 1e-6, 1e-7)
		torchtest.Close(t, want["embedding.weight"].Tensor(t), embedding.Weight, 1e-6, 1e-6)
		torchtest.Close(t, want["xavier"].Tensor(t), xavier, 1e-6, 1e-7)
	})
	assert.Equal(t, -1, embedding.Padding, "no row is padding")
}

func TestInitStatistics(t *testing.T) {
	g := torch.NewGenerator(1)
	const n = 100_000
	for _, c := range []struct {
		name      string
		make      func() torch.Tensor
		mean, std float64
		low, high float64 // where the largest lies
	}{
		{"uniform", func() torch.Tensor { return nn.Uniform(-1, 3, g, n) }, 1, 4 / math.Sqrt(12), 2.99, 3},
		{"normal", func() torch.Tensor { return nn.Normal(0.5, 0.02, g, n/10, 10) }, 0.5, 0.02, 0.57, 0.61}, // 3.5 to 5.5 deviations
		{"xavier", func() torch.Tensor { return nn.XavierUniform(g, 200, 400) }, 0, 0.1 / math.Sqrt(3), 0.0999, 0.1},
		{"constant", func() torch.Tensor { return nn.Constant(0.25, n) }, 0.25, 0, 0.25, 0.25},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := c.make()
			defer p.Close()
			assert.Equal(t, torch.Float32, p.DType())
			values := torch.ToSlice[float32](p)
			sum, squares, top := 0.0, 0.0, math.Inf(-1)
			for _, v := range values {
				sum, squares, top = sum+float64(v), squares+float64(v)*float64(v), max(top, float64(v))
			}
			mean := sum / float64(len(values))
			std := math.Sqrt(max(0, squares/float64(len(values))-mean*mean))
			// five standard errors of the mean; the deviation's own error is smaller than 2 in a hundred of it
			assert.InDelta(t, c.mean, mean, 5*c.std/math.Sqrt(float64(len(values)))+1e-12)
			assert.InDelta(t, c.std, std, 0.02*c.std+1e-9)
			assert.LessOrEqual(t, top, c.high+1e-8)
			assert.GreaterOrEqual(t, top, c.low)
		})
	}
}

func TestLinearWithoutBias(t *testing.T) {
	l := nn.NewLinear(3, 2, nn.LinearOptions{NoBias: true}, torch.NewGenerator(1))
	defer nn.Close(l)
	assert.False(t, l.Bias.Defined())
	assert.Equal(t, 6, nn.NumParams(l))
	torchtest.Scoped(t, func() {
		assert.Equal(t, []int{4, 2}, l.Forward(torch.Ones(torch.Float32, torch.CPU, 4, 3)).Shape())
	})
}

func TestActivationOfNoName(t *testing.T) {
	_, err := nn.Activation("gleu")
	assert.EqualError(t, err, `no activation is named "gleu"; there are [gelu gelu_new gelu_pytorch_tanh relu sigmoid silu swish tanh]`)
}

func TestParametersOutliveScopes(t *testing.T) {
	var l *nn.Linear
	torch.Scoped(func() { l = nn.NewLinear(2, 2, nn.LinearOptions{}, nil) })
	assert.False(t, l.Weight.Closed())
	nn.Close(l)
	assert.True(t, l.Weight.Closed())
}
