package onnx_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/onnx"
	"github.com/thaw-ml/thaw/onnx/onnxtest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// named are a module's tensors under a key.
func named(key string, module any) (out []torch.Named) {
	for _, n := range nn.State(module) {
		out = append(out, torch.Named{Name: key + "." + n.Name, Tensor: n.Tensor})
	}
	return out
}

// scoped runs f in a scope, without gradients.
func scoped(f func()) { torch.Scoped(func() { torch.NoGrad(f) }) }

// run saves a graph of one input and runs it.
func run(t *testing.T, m onnx.Model, input string, x torch.Tensor) (*onnxtest.Model, []float32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	require.NoError(t, m.Save(path))
	read := onnxtest.Read(t, path)
	return read, torch.ToSlice[float32](read.Run(t, map[string]torch.Tensor{input: x}))
}

func TestLayers(t *testing.T) {
	g := torch.NewGenerator(1)
	linear, norm, table := nn.NewLinear(6, 5, nn.LinearOptions{NoBias: true}, g), nn.NewLayerNorm(5, 1e-3), nn.NewEmbedding(7, 6, g)
	conv := nn.NewConv2d(4, 6, 3, nn.ConvOptions{Stride: 2, Padding: 1, Dilation: 2, Groups: 2}, g)
	batch := nn.NewBatchNorm(6)
	defer func() {
		for _, m := range []any{linear, norm, table, conv, batch} {
			nn.Close(m)
		}
	}()
	scoped(func() {
		norm.Weight.Uniform_(0.5, 2, g)
		norm.Bias.Normal_(0, 1, g)
		l := onnx.NewLayers("words", append(append(named("linear", linear), named("norm", norm)...), named("table", table)...))
		x := l.Embedding(l.Input("ids", onnx.Int64, onnx.Dynamic("n")), "table")
		l.Output(l.LayerNorm(l.Linear(x, "linear"), "norm", norm), "y", onnx.Float, onnx.Dynamic("n"), onnx.Fixed(5))
		ids := onnxtest.Int64s([]int64{3, 0, 6}, 3)
		_, got := run(t, onnx.Model{Graph: l.Graph}, "ids", ids)
		assert.InDeltaSlice(t, torch.ToSlice[float32](norm.Forward(linear.Forward(table.Forward(ids)))), got, 1e-6)

		batch.RunningVar.Uniform_(0.5, 2, g)
		batch.RunningMean.Normal_(0, 1, g)
		pool := nn.MaxPool2d{Kernel: 3, Stride: 2, Padding: 1, Ceil: true}
		l = onnx.NewLayers("picture", append(named("conv", conv), named("batch", batch)...))
		y := l.BatchNorm(l.Conv2d(l.Input("x", onnx.Float, onnx.Fixed(2), onnx.Fixed(4), onnx.Fixed(12), onnx.Fixed(11)), "conv", conv), "batch", batch)
		l.Output(l.MaxPool2d(y, "pool", pool), "y", onnx.Float)
		image := torch.Randn(g, torch.Float32, torch.CPU, 2, 4, 12, 11)
		_, got = run(t, onnx.Model{Graph: l.Graph}, "x", image)
		assert.InDeltaSlice(t, torch.ToSlice[float32](pool.Forward(batch.Forward(conv.Forward(image)))), got, 1e-5)
	})
}

// A layer that is used twice has its weights in the graph once. Norms are those that pictures' networks have.
func TestNormsAndSharedLayers(t *testing.T) {
	g := torch.NewGenerator(1)
	conv := nn.NewConv2d(6, 6, 3, nn.ConvOptions{Padding: 1}, g)
	group, frozen := nn.EmptyGroupNorm(3, 6), nn.EmptyFrozenBatchNorm(6)
	defer func() {
		for _, m := range []any{conv, group, frozen} {
			nn.Close(m)
		}
	}()
	scoped(func() {
		frozen.Init()
		for _, w := range []torch.Tensor{group.Weight, group.Bias, frozen.Weight, frozen.RunningVar} {
			w.Uniform_(0.5, 2, g)
		}
		l := onnx.NewLayers("norms", append(append(named("conv", conv), named("group", group)...), named("frozen", frozen)...))
		add := func(x onnx.Value) onnx.Value {
			x = l.Norm(l.Conv2d(x, "conv", conv), "group", group)
			return l.Norm(x, "frozen", frozen)
		}
		l.Output(add(add(l.Input("x", onnx.Float, onnx.Fixed(2), onnx.Fixed(6), onnx.Dynamic("h"), onnx.Dynamic("w")))), "y", onnx.Float)
		x := torch.Randn(g, torch.Float32, torch.CPU, 2, 6, 9, 7)
		read, got := run(t, onnx.Model{Graph: l.Graph}, "x", x)
		forward := func(x torch.Tensor) torch.Tensor { return frozen.Forward(group.Forward(conv.Forward(x))) }
		assert.InDeltaSlice(t, torch.ToSlice[float32](forward(forward(x))), got, 1e-5)
		count := 0
		for name := range read.Weights {
			if strings.HasPrefix(name, "conv") {
				count++
			}
		}
		assert.Equal(t, 2, count, "weight and bias")
	})
}

func TestConstantsAndSeveralOutputs(t *testing.T) {
	scoped(func() {
		g := onnx.NewGraph("constants")
		x := g.Op("Add", "add", []onnx.Value{g.Input("x", onnx.Float, onnx.Dynamic("n")), g.Floats("list", []int{3}, 1, 5, 3)})
		cast := func(v onnx.Value, to onnx.Type) onnx.Value {
			return g.Op("Cast", "cast", []onnx.Value{v}, onnx.Attribute{Name: "to", Value: int(to)})
		}
		best := g.OpOf("TopK", "best", 2, []onnx.Value{x, g.Ints("k", 2)}, onnx.Attribute{Name: "axis", Value: 0})
		y := g.Op("Mul", "mul", []onnx.Value{cast(best[1], onnx.Double), g.Double("tenth", 0.1)})
		g.Output(cast(g.Op("Add", "sum", []onnx.Value{cast(best[0], onnx.Double), y}), onnx.Float), "y", onnx.Float, onnx.Fixed(2))
		_, got := run(t, onnx.Model{Graph: g}, "x", torch.FromSlice([]float32{0, 0, 1}, 3))
		assert.Equal(t, []float32{5.1, 4.2}, got)
	})
}

func TestActivations(t *testing.T) {
	for _, name := range []string{"gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish", "tanh", "sigmoid"} {
		scoped(func() {
			want, err := nn.Activation(name)
			require.NoError(t, err)
			l := onnx.NewLayers("activation", nil)
			y, err := l.Activation(l.Input("x", onnx.Float, onnx.Dynamic("n")), "f", name)
			require.NoError(t, err)
			l.Output(y, "y", onnx.Float, onnx.Dynamic("n"))
			x := torch.FromSlice([]float32{-20, -3, -1, -0.1, 0, 0.1, 1, 3, 20}, 9)
			_, got := run(t, onnx.Model{Graph: l.Graph}, "x", x)
			assert.InDeltaSlice(t, torch.ToSlice[float32](want(x)), got, 1e-6, name)
		})
	}
	_, err := onnx.NewLayers("activation", nil).Activation("x", "f", "softsign")
	require.EqualError(t, err, `the activation "softsign" is not known in ONNX files`)
}

// A model that is larger than Inline has its weights in a file beside it, at the beginning of pages.
func TestExternalData(t *testing.T) {
	g := torch.NewGenerator(1)
	a, b := nn.NewLinear(40, 100, nn.LinearOptions{}, g), nn.NewLinear(100, 30, nn.LinearOptions{}, g)
	defer nn.Close(a)
	defer nn.Close(b)
	scoped(func() {
		l := onnx.NewLayers("two", append(named("a", a), named("b", b)...))
		l.Output(l.Linear(l.Linear(l.Input("x", onnx.Float, onnx.Dynamic("n"), onnx.Fixed(40)), "a"), "b"), "y", onnx.Float)
		x := torch.Randn(g, torch.Float32, torch.CPU, 3, 40)
		want := torch.ToSlice[float32](b.Forward(a.Forward(x)))
		whole, got := run(t, onnx.Model{Graph: l.Graph}, "x", x)
		assert.Zero(t, whole.External)
		assert.InDeltaSlice(t, want, got, 1e-5)
		beside, got := run(t, onnx.Model{Graph: l.Graph, Inline: 20_000}, "x", x)
		assert.Equal(t, 2, beside.External, "the biases are small")
		assert.InDeltaSlice(t, want, got, 1e-5)
	})
}

func TestNames(t *testing.T) {
	scoped(func() {
		g := onnx.NewGraph("names")
		x := g.Input("x", onnx.Float, onnx.Dynamic("n"))
		y := g.Op("Add", "add", []onnx.Value{x, g.Scalar("x", 1)})
		y = g.Op("Add", "add", []onnx.Value{y, g.Scalar("x", 2)})
		g.Output(y, "x", onnx.Float, onnx.Dynamic("n"))
		m := onnx.Model{Graph: g, Metadata: map[string]string{"b": "line\n\"two\"", "a": ""}}
		read, got := run(t, m, "x", torch.FromSlice([]float32{1, float32(math.Inf(1))}, 2)) // Read refuses names that are there twice
		assert.Equal(t, []float32{4, float32(math.Inf(1))}, got)
		assert.Equal(t, m.Metadata, read.Metadata)
		assert.Equal(t, "thaw", read.Producer)
	})
}

// What is no float32 matrix, or not there, is a mistake in the program that builds the graph.
func TestMistakes(t *testing.T) {
	scoped(func() {
		l := onnx.NewLayers("wrong", []torch.Named{{Name: "a.weight", Tensor: torch.Zeros(torch.Float64, torch.CPU, 2, 2)},
			{Name: "b.weight", Tensor: torch.Zeros(torch.Float32, torch.CPU, 2)}})
		for want, f := range map[string]func(){
			"a.weight is float64; weights of a graph are float32": func() { l.Embedding("x", "a") },
			"b.weight.T is no matrix":                             func() { l.Linear("x", "b") },
			`the model's state has no "c.weight"`:                 func() { l.Linear("x", "c") },
			"d has 3 numbers":                                     func() { l.Floats("d", []int{2, 2}, 1, 2, 3) },
			"e is a *onnx_test.otherNorm, which has no form":      func() { l.Norm("x", "e", &otherNorm{}) },
		} {
			err := torch.Try(f)
			require.Error(t, err)
			assert.Contains(t, err.Error(), want)
		}
	})
}

type otherNorm struct{ nn.Norm }

func TestSaveFails(t *testing.T) {
	scoped(func() {
		g := onnx.NewGraph("x")
		weight := torch.Zeros(torch.Float32, torch.CPU, 600)
		g.Output(g.Op("Add", "add", []onnx.Value{g.Input("x", onnx.Float), g.Weight("w", weight)}), "y", onnx.Float)
		path := filepath.Join(t.TempDir(), "none", "model.onnx")
		require.EqualError(t, onnx.Model{Graph: g}.Save(path), "write "+path+": no such file or directory")
		require.EqualError(t, onnx.Model{Graph: g, Inline: 1}.Save(path), "write "+path+".data: no such file or directory")
		weight.Close()
		folder := t.TempDir()
		err := onnx.Model{Graph: g}.Save(filepath.Join(folder, "model.onnx"))
		require.ErrorContains(t, err, "the weight w: ")
		assert.False(t, strings.Contains(err.Error(), "panic"))
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		assert.Empty(t, entries)
	})
}
