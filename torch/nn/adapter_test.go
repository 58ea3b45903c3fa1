package nn_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// lowRank adds up(down(x)) to a layer's output, with PEFT's keys.
type lowRank struct {
	Down forwarder `torch:"lora_A"`
	Up   forwarder `torch:"lora_B"`
}

func (a *lowRank) Forward(x, y torch.Tensor) torch.Tensor {
	return y.Add(a.Up.Forward(a.Down.Forward(x)))
}

// newLowRank makes an adapter that starts as if there were none: its second matrix is 0.
func newLowRank(in, out int, g *torch.Generator) *lowRank {
	o := nn.LinearOptions{NoBias: true}
	return &lowRank{nn.NewLinear(in, 2, o, g), &nn.Linear{Weight: nn.Constant(0, out, 2)}}
}

// adaptable is a module of every layer that takes an adapter.
type adaptable struct {
	Conv *nn.Conv2d `torch:"conv"`
	A    *nn.Linear `torch:"a"`
	B    *nn.Linear `torch:"b"`
}

func newAdaptable() *adaptable {
	g := torch.NewGenerator(1)
	return &adaptable{
		nn.NewConv2d(2, 4, 3, nn.ConvOptions{}, g), nn.NewLinear(4, 6, nn.LinearOptions{}, g), nn.NewLinear(6, 6, nn.LinearOptions{}, g),
	}
}

// Forward maps [N, 2, H, W] to [N, 12].
func (m *adaptable) Forward(x torch.Tensor) torch.Tensor {
	y := m.A.ForwardGELU(m.Conv.Forward(x).MeanDim(2, 3))
	return torch.Cat(nn.Project(y, m.B, m.B), 1)
}

// adapt gives all layers adapters.
func (m *adaptable) adapt() {
	g := torch.NewGenerator(2)
	o := nn.ConvOptions{NoBias: true}
	up := nn.EmptyConv2d(2, 4, 1, o)
	up.Weight.Zero_()
	m.Conv.Adapter = &lowRank{nn.NewConv2d(2, 2, 3, o, g), up}
	m.A.Adapter = newLowRank(4, 6, g)
	m.B.Adapter = newLowRank(6, 6, g)
}

func keysOf(m any) []string {
	var out []string
	for _, s := range nn.State(m) {
		out = append(out, s.Name)
	}
	return out
}

// An adapter trains while its layer is frozen, the layer's keys stay, and without an adapter nothing changes.
func TestAdapterTrainsBesideAFrozenLayer(t *testing.T) {
	torchtest.Scoped(t, func() {
		m := newAdaptable()
		defer func() { nn.Close(m) }()
		base := keysOf(m)
		assert.Equal(t, []string{"conv.weight", "conv.bias", "a.weight", "a.bias", "b.weight", "b.bias"}, base)
		x := torch.Randn(torch.NewGenerator(3), torch.Float32, torch.CPU, 5, 2, 6, 6)
		want := m.Forward(x)
		before := nn.State(m)
		digests := map[string]uint64{}
		for _, s := range before {
			digests[s.Name] = s.Tensor.Digest()
		}

		m.adapt()
		assert.Equal(t, []string{
			"conv.weight", "conv.bias", "conv.lora_A.weight", "conv.lora_B.weight",
			"a.weight", "a.bias", "a.lora_A.weight", "a.lora_B.weight",
			"b.weight", "b.bias", "b.lora_A.weight", "b.lora_B.weight",
		}, keysOf(m))
		torchtest.Close(t, want, m.Forward(x), 1e-6, 1e-6, "GELU apart, and nothing added yet")
		group := &optim.Group{LR: 0.05}
		for _, layer := range []nn.Adapter{m.Conv.Adapter, m.A.Adapter, m.B.Adapter} {
			nn.RequireGrad(layer, true)
			g := optim.GroupOf(layer, 0)
			group.Params = append(group.Params, g.Params...)
		}
		o := optim.NewAdamW(optim.AdamWOptions{}, group)
		defer o.Close()
		loss := func() torch.Tensor { return m.Forward(x).SubScalar(1).Square().Mean() }
		start := loss().Item()
		for range 40 {
			torch.Scoped(func() {
				loss().Backward()
				o.Step()
				o.ZeroGrad()
			})
		}
		assert.Less(t, loss().Item(), start/2)
		for _, s := range before {
			assert.Equal(t, digests[s.Name], s.Tensor.Digest(), "%s is frozen", s.Name)
			assert.False(t, s.Tensor.Grad().Defined(), s.Name)
		}

		// What was trained comes back by keys; the base model's file lacks the adapters'.
		path := filepath.Join(t.TempDir(), "all.safetensors")
		require.NoError(t, torch.SaveCheckpoint(path, nn.State(m), nil))
		again := newAdaptable()
		again.adapt()
		defer nn.Close(again)
		require.NotEqual(t, torch.ToSlice[float32](m.Forward(x)), torch.ToSlice[float32](again.Forward(x)))
		file := open(t, path)
		_, err := nn.Load(again, file, nn.LoadOptions{})
		require.NoError(t, err)
		assert.Equal(t, torch.ToSlice[float32](m.Forward(x).Detach()), torch.ToSlice[float32](again.Forward(x)))
		plain := newAdaptable()
		defer nn.Close(plain)
		_, err = nn.Load(plain, file, nn.LoadOptions{})
		assert.ErrorContains(t, err, "6 keys unexpected (a.lora_A.weight, a.lora_B.weight, b.lora_A.weight")
	})
}
