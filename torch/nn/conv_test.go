package nn_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// imageLayers make the layer of a case of convolution.json.
var imageLayers = map[string]func(c layerCase, in map[string]torch.Tensor) forwarder{
	"conv": func(c layerCase, in map[string]torch.Tensor) forwarder {
		pair := func(name string) [2]int { return [2]int{int(c.Args[name+"_h"]), int(c.Args[name+"_w"])} }
		return &nn.Conv2d{Weight: in["weight"], Bias: in["bias"], Groups: int(c.Args["groups"]),
			Stride: pair("stride"), Padding: pair("padding"), Dilation: pair("dilation")}
	},
	"batchnorm": func(c layerCase, in map[string]torch.Tensor) forwarder {
		b := &nn.BatchNorm{Weight: in["weight"], Bias: in["bias"], RunningMean: in["running_mean"], RunningVar: in["running_var"],
			NumBatchesTracked: in["num_batches_tracked"], Eps: c.Args["eps"], Momentum: c.Args["momentum"]}
		b.SetTraining(c.Args["training"] == 1)
		return b
	},
	"maxpool": func(c layerCase, _ map[string]torch.Tensor) forwarder {
		return nn.MaxPool2d{Kernel: int(c.Args["kernel"]), Stride: int(c.Args["stride"]), Padding: int(c.Args["padding"]), Ceil: c.Args["ceil"] == 1}
	},
	"avgpool": func(c layerCase, _ map[string]torch.Tensor) forwarder {
		return nn.AvgPool2d{Kernel: int(c.Args["kernel"]), Stride: int(c.Args["stride"]), Padding: int(c.Args["padding"]),
			Ceil: c.Args["ceil"] == 1, ExcludePad: c.Args["exclude"] == 1}
	},
	"adaptive": func(c layerCase, _ map[string]torch.Tensor) forwarder {
		return nn.AdaptiveAvgPool2d{H: int(c.Args["h"]), W: int(c.Args["w"])}
	},
}

// isChannelsLast reports whether a tensor [N, C, H, W] lies with its channels innermost.
func isChannelsLast(x torch.Tensor) bool { return x.Permute(0, 2, 3, 1).IsContiguous() }

// float32 sums in another order on another instruction set; bfloat16 has 8 bits, and its products may be rounded or not
// before they are added up.
func TestImageLayersArePyTorchs(t *testing.T) {
	g := torchtest.Golden[golden](t, "convolution.json")
	require.Len(t, g.Cases, 38)
	for _, c := range g.Cases {
		t.Run(c.Layer+" "+c.Name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				rtol, atol := 1e-5, 1e-5
				autocast := func(f func()) { f() }
				if c.Args["autocast"] == 1 {
					rtol, atol = 1e-2, 3e-2
					autocast = func(f func()) { torch.Autocast(torch.BFloat16, f) }
				}
				in := map[string]torch.Tensor{}
				for name, s := range c.In {
					in[name] = s.Tensor(t)
					if name == "weight" || name == "bias" || name == "input" {
						if in[name].Dim() == 4 && c.Args["channels_last"] == 1 {
							in[name] = in[name].ContiguousAs(torch.ChannelsLast)
						}
						in[name].RequiresGrad_(true)
					}
				}
				layer := imageLayers[c.Layer](c, in)
				var y torch.Tensor
				autocast(func() {
					for range int(c.Args["passes"]) {
						y = layer.Forward(in["input"])
					}
				})
				if c.Args["channels_last"] == 1 {
					assert.True(t, isChannelsLast(y), "strides %v", y.Strides())
				}
				y.BackwardWith(in["d_y"])
				in["y"] = y.Detach()
				for name, want := range c.Out {
					x, gradient := strings.CutPrefix(name, "d_")
					got := in[x]
					if gradient {
						got = got.Grad()
					}
					require.Equal(t, want.DType, got.DType().String(), name)
					torchtest.Close(t, want.Tensor(t), got, rtol, atol, name)
				}
			})
		})
	}
}

func TestInitOfConvolutionsIsPyTorchs(t *testing.T) {
	want := torchtest.Golden[golden](t, "convolution.json").Init
	conv := nn.NewConv2d(6, 10, 3, nn.ConvOptions{Groups: 2}, torch.NewGenerator(7))
	last := nn.EmptyConv2d(6, 10, 3, nn.ConvOptions{Groups: 2})
	defer func() { nn.Close(conv); nn.Close(last) }()
	nn.ChannelsLast(last)
	nn.RequireGrad(last, true)
	last.Init(torch.NewGenerator(7))
	torchtest.Scoped(t, func() {
		for _, c := range []*nn.Conv2d{conv, last} {
			torchtest.Close(t, want["conv.weight"].Tensor(t), c.Weight.Detach(), 1e-6, 1e-7)
			torchtest.Close(t, want["conv.bias"].Tensor(t), c.Bias.Detach(), 1e-6, 1e-7)
			nn.KaimingNormal_(c.Weight, torch.NewGenerator(7))
			torchtest.Close(t, want["kaiming_normal"].Tensor(t), c.Weight.Detach(), 1e-6, 1e-7)
			nn.KaimingUniform_(c.Weight, torch.NewGenerator(7))
			torchtest.Close(t, want["kaiming_uniform"].Tensor(t), c.Weight.Detach(), 1e-6, 1e-7)
		}
		assert.True(t, isChannelsLast(last.Weight))
		assert.True(t, last.Weight.IsLeaf())
	})
}

func TestConvOfGroupsThatDoNotDivide(t *testing.T) {
	err := torch.Try(func() { nn.EmptyConv2d(6, 10, 3, nn.ConvOptions{Groups: 4}) })
	assert.EqualError(t, err, "conv2d: 4 groups do not divide 6 input and 10 output channels")
}

func TestBatchNormOfOneValue(t *testing.T) {
	b := nn.NewBatchNorm(3)
	defer nn.Close(b)
	torchtest.Scoped(t, func() {
		x := torch.Ones(torch.Float32, torch.CPU, 1, 3, 1, 1)
		assert.Equal(t, []int{1, 3, 1, 1}, b.Forward(x).Shape(), "evaluation needs no variance")
		b.SetTraining(true)
		err := torch.Try(func() { b.Forward(x) })
		assert.ErrorContains(t, err, "one value in each of 3 channels has no variance: train on batches of two or more, or on larger images")
		assert.Equal(t, 0, b.NumBatchesTracked.ItemInt(), "a batch that fails is not counted")
		assert.Equal(t, []float32{1, 1, 1}, torch.ToSlice[float32](b.RunningVar))
	})
}

func TestBatchNormMode(t *testing.T) {
	b := nn.NewBatchNorm(2)
	defer nn.Close(b)
	assert.False(t, b.Training())
	nn.SetTraining(b, true)
	assert.True(t, b.Training())
	var keys []string
	for _, s := range nn.State(b) {
		keys = append(keys, s.Name)
	}
	assert.Equal(t, []string{"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}, keys)
}

// What is channels-last in memory is row-major in a file, and loads again; training goes the same way.
func TestChannelsLastIsMemoryOnly(t *testing.T) {
	plain := nn.NewConv2d(5, 7, 3, nn.ConvOptions{Padding: 1}, torch.NewGenerator(1))
	last := nn.NewConv2d(5, 7, 3, nn.ConvOptions{Padding: 1}, torch.NewGenerator(1))
	defer func() { nn.Close(plain); nn.Close(last) }()
	nn.ChannelsLast(last)
	require.False(t, last.Weight.IsContiguous())
	dir := t.TempDir()
	save := func(name string, c *nn.Conv2d) string {
		path := filepath.Join(dir, name)
		require.NoError(t, torch.SaveCheckpoint(path, nn.State(c), nil))
		return path
	}
	same := func() {
		t.Helper()
		torchtest.Scoped(t, func() { torchtest.Close(t, plain.Weight.Detach(), last.Weight.Detach(), 1e-6, 1e-6) })
	}
	rows, read := torch.ToSlice[float32](plain.Weight), open(t, save("last", last))
	w, err := read.Tensor("weight")
	require.NoError(t, err)
	assert.True(t, w.IsContiguous())
	assert.Equal(t, rows, torch.ToSlice[float32](w))
	w.Close()

	for _, c := range []*nn.Conv2d{plain, last} {
		nn.RequireGrad(c, true)
		o := optim.NewSGD(optim.SGDOptions{Momentum: 0.9}, &optim.Group{Params: []torch.Tensor{c.Weight, c.Bias}, LR: 0.1})
		g := torch.NewGenerator(2)
		for range 3 {
			torch.Scoped(func() {
				x := torch.Randn(g, torch.Float32, torch.CPU, 2, 5, 6, 6)
				c.Forward(x).Square().Mean().Backward()
				o.Step()
				o.ZeroGrad()
			})
		}
		o.Close()
	}
	assert.False(t, last.Weight.IsContiguous())
	same()
	_, err = nn.Load(last, open(t, save("plain", plain)), nn.LoadOptions{})
	require.NoError(t, err)
	assert.False(t, last.Weight.IsContiguous(), "loading keeps the layout")
	assert.Equal(t, torch.ToSlice[float32](plain.Weight), torch.ToSlice[float32](last.Weight))
}
