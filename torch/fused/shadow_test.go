package fused_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// network is a network that reads every kind of parameter of which there are copies: a convolution, two layers that are
// joined, and a layer that is not trained; and one parameter that nothing rounds.
type network struct {
	params  map[string]torch.Tensor
	trained []torch.Tensor
	frozen  []torch.Tensor
	x       torch.Tensor
}

func newNetwork(on torch.Device) *network {
	g := torch.NewGenerator(3)
	n := &network{params: map[string]torch.Tensor{}}
	for _, p := range []struct {
		name  string
		shape []int
	}{{"conv", []int{8, 3, 3, 3}}, {"conv bias", []int{8}}, {"q", []int{16, 8}}, {"k", []int{16, 8}}, {"q bias", []int{16}}, {"k bias", []int{16}},
		{"out", []int{5, 32}}, {"out bias", []int{5}}, {"scale", []int{5}}} {
		w := torch.Randn(g, f32, cpu, p.shape...).ToDevice(on)
		if p.name == "conv" {
			w = w.ContiguousAs(torch.ChannelsLast)
		}
		if w = w.Detach().RequiresGrad_(p.name[0] != 'o'); w.RequiresGrad() {
			n.trained = append(n.trained, w)
		} else {
			n.frozen = append(n.frozen, w)
		}
		n.params[p.name] = w
	}
	n.x = torch.Randn(g, f32, cpu, 4, 3, 6, 6).ToDevice(on).ContiguousAs(torch.ChannelsLast)
	return n
}

// forward maps the pictures to [4, 16, 5].
func (n *network) forward() (y torch.Tensor) {
	torch.Autocast(torch.BFloat16, func() {
		p := n.params
		y = fused.Conv2d(n.x, p["conv"], p["conv bias"], [2]int{1, 1}, [2]int{0, 0}, [2]int{1, 1}, 1)
		y = y.Flatten(2, 3).Transpose(1, 2)
		y = fused.LinearJoined(y, []torch.Tensor{p["q"], p["k"]}, []torch.Tensor{p["q bias"], p["k bias"]})
		y = fused.LinearGELU(y, p["out"], p["out bias"]).To(f32).Mul(p["scale"])
	})
	return y
}

// gradients runs a pass and gives what it came to, by name, on the CPU.
func (n *network) gradients(use func(func()), collect func()) outs {
	var y torch.Tensor
	use(func() { y = n.forward() })
	y.Square().Mean().Backward()
	collect()
	all := outs{y.ToDevice(cpu)}
	for _, p := range n.trained {
		all = append(all, p.Grad().ToDevice(cpu).Contiguous())
		p.ZeroGrad()
	}
	return all
}

func TestShadowParamsOnCPU(t *testing.T) { checkShadowParams(t, cpu) }

// With copies outputs and gradients are those without, bit for bit, until the parameters move: then the copies are
// refreshed.
func checkShadowParams(t *testing.T, on torch.Device) {
	torchtest.Scoped(t, func() {
		n := newNetwork(on)
		same := func(want, got outs, what string) {
			t.Helper()
			for i := range want {
				torchtest.Close(t, want[i], got[i], 0, 0, what, " ", i)
			}
		}
		without := func() outs { return n.gradients(func(f func()) { f() }, func() {}) }
		rounded := n.trained[:len(n.trained)-1] // and not the scale
		trained, frozen := fused.NewShadowParams(rounded, torch.BFloat16), fused.NewShadowParams(n.frozen, torch.BFloat16)
		defer trained.Close()
		defer frozen.Close()
		with := func() outs {
			return n.gradients(func(f func()) { trained.Use(func() { frozen.Use(f) }) }, trained.Collect)
		}
		want := without()
		same(want, with(), "with copies")

		torch.NoGrad(func() {
			for _, p := range n.trained {
				p.MulScalar_(1.5)
			}
		})
		moved := without()
		require.NotEqual(t, torch.ToSlice[float32](want[1]), torch.ToSlice[float32](moved[1]))
		assert.NotEqual(t, torch.ToSlice[float32](moved[1]), torch.ToSlice[float32](with()[1]), "the copies are old")
		trained.Refresh()
		same(moved, with(), "refreshed")
		same(moved, without(), "outside Use")
		torch.NoGrad(func() {
			torchtest.Close(t, n.forward().ToDevice(cpu), moved[0], 0, 0)
			trained.Use(func() { torchtest.Close(t, moved[0], n.forward().ToDevice(cpu), 0, 0, "without gradients") })
		})

		trained.Use(func() { n.forward().Sum().Backward() }) // of a step that breaks off
		for _, p := range n.trained {
			p.ZeroGrad()
		}
		trained.Refresh()
		same(moved, with(), "after a pass that nobody collected")

		trained.Use(func() { trained.Use(func() { n.forward().Sum().Backward() }) })
		n.params["conv"].SetGrad(n.params["conv"].Detach().ZerosLike())
		assert.ErrorContains(t, torch.Try(trained.Collect), "has a gradient of another pass")
		open := torch.Stats().Tensors
		trained.Close()
		assert.Equal(t, open-1, torch.Stats().Tensors)
		assert.ErrorContains(t, torch.Try(trained.Refresh), "closed")
		trained.Close()
	})
}

func TestLinearJoinedRefuses(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.Ones(f32, cpu, 2, 3)
		for _, weights := range [][]torch.Tensor{nil, {torch.Ones(f32, cpu, 4, 3)}} {
			assert.ErrorContains(t, torch.Try(func() { fused.LinearJoined(x, weights, nil) }), "one of each is needed")
		}
	})
}

func TestNoShadowParams(t *testing.T) {
	var none *fused.ShadowParams
	ran := false
	none.Use(func() { ran = true })
	none.Refresh()
	none.Collect()
	none.Close()
	assert.True(t, ran)
}
