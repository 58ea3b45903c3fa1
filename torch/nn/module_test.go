package nn_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// norm has a buffer between its parameters.
type norm struct {
	Weight  torch.Tensor `torch:"weight"`
	Mean    torch.Tensor `torch:"running_mean,buffer"`
	Bias    torch.Tensor `torch:"bias"`
	Scratch torch.Tensor `torch:"-"` // not the checkpoint's
	modes   []bool
}

func (n *norm) SetTraining(on bool) { n.modes = append(n.modes, on) }

func newNorm() *norm {
	return &norm{Weight: nn.Constant(1, 2), Mean: nn.Constant(0, 2), Bias: nn.Constant(2, 2), Scratch: nn.Empty(1)}
}

type forwarder interface {
	Forward(torch.Tensor) torch.Tensor
}

type block struct {
	Norm  *norm       `torch:"norm"`
	Dense *nn.Linear  `torch:"dense"`
	Drop  *nn.Dropout `torch:""`
	Act   func()      // no module
}

type network struct {
	Stem    *block            `torch:"stem"`
	Layer   []*block          `torch:"layer"`
	Head    forwarder         `torch:"head"`
	Nothing forwarder         `torch:"nothing"`
	Absent  *block            `torch:"absent"`
	Scale   torch.Tensor      `torch:"scale"`
	Steps   torch.Tensor      `torch:"steps,buffer"`
	Unset   torch.Tensor      `torch:"unset"`
	Inner   *inner            `torch:""` // its keys are the network's own
	Value   nn.LayerNorm      `torch:"value"`
	Tensors []torch.Tensor    `torch:"tensors"`
	Stats   [2]torch.Tensor   `torch:"stats,buffer"`
	Groups  [][]*nn.Embedding `torch:"groups"`
	Hidden  *nn.Linear        `torch:"-"`
}

type inner struct {
	Pool *nn.Linear `torch:"pool"`
}

func newNetwork() *network {
	g := torch.NewGenerator(1)
	linear := func() *nn.Linear { return nn.NewLinear(2, 2, nn.LinearOptions{}, g) }
	return &network{
		Stem:  &block{Norm: newNorm(), Dense: linear(), Drop: &nn.Dropout{P: 0.5}},
		Layer: []*block{{Norm: newNorm(), Drop: &nn.Dropout{P: 0.5}}, nil, {Dense: nn.NewLinear(2, 3, nn.LinearOptions{NoBias: true}, g)}},
		Head:  linear(), Scale: nn.Constant(3, 1), Steps: nn.Constant(0), Inner: &inner{linear()},
		Value: *nn.NewLayerNorm(2, 1e-5), Tensors: []torch.Tensor{nn.Constant(1, 1), {}, nn.Constant(1, 3)},
		Stats: [2]torch.Tensor{nn.Constant(1, 1), nn.Constant(1, 1)}, Groups: [][]*nn.Embedding{{nn.EmptyEmbedding(2, 2)}, {nil}},
		Hidden: linear(),
	}
}

// close frees what nn.Close rightly leaves.
func (n *network) close() {
	for _, b := range append([]*block{n.Stem}, n.Layer...) {
		if b != nil && b.Norm != nil {
			b.Norm.Scratch.Close()
		}
	}
	nn.Close(n.Hidden)
	nn.Close(n)
}

var networkParams = []string{
	"stem.norm.weight", "stem.norm.bias", "stem.dense.weight", "stem.dense.bias", "layer.0.norm.weight",
	"layer.0.norm.bias", "layer.2.dense.weight", "head.weight", "head.bias", "scale", "pool.weight", "pool.bias",
	"value.weight", "value.bias", "tensors.0", "tensors.2", "groups.0.0.weight",
}

var networkBuffers = []string{"stem.norm.running_mean", "layer.0.norm.running_mean", "steps", "stats.0", "stats.1"}

func TestKeysAndOrder(t *testing.T) {
	n := newNetwork()
	defer n.close()
	var params, buffers, state []string
	for key, p := range nn.Params(n) {
		params = append(params, key)
		require.True(t, p.Defined())
	}
	for key := range nn.Buffers(n) {
		buffers = append(buffers, key)
	}
	for _, s := range nn.State(n) {
		state = append(state, s.Name)
	}
	assert.Equal(t, networkParams, params)
	assert.Equal(t, networkBuffers, buffers)
	assert.Equal(t, append(append([]string{}, networkParams...), networkBuffers...), state)
	assert.Equal(t, 2+2+4+2+2+2+6+4+2+1+4+2+2+2+1+3+4, nn.NumParams(n))
	for key, p := range nn.Params(n) {
		if key == "head.bias" {
			assert.True(t, p.Same(n.Head.(*nn.Linear).Bias), "the tensors are the module's own, not copies")
		}
	}
}

// A struct by value is walked as one by pointer.
func TestParamsOfAValue(t *testing.T) {
	l := nn.NewLinear(2, 1, nn.LinearOptions{}, nil)
	defer nn.Close(l)
	var keys []string
	for key := range nn.Params(*l) {
		keys = append(keys, key)
	}
	assert.Equal(t, []string{"weight", "bias"}, keys)
}

func TestParamsStopEarly(t *testing.T) {
	n := newNetwork()
	defer n.close()
	seen := 0
	for range nn.Params(n) {
		if seen++; seen == 7 {
			break
		}
	}
	assert.Equal(t, 7, seen)
}

func TestNoModules(t *testing.T) {
	for _, m := range []any{nil, (*network)(nil), &network{}, []*block{nil}, 3, "x", forwarder(nil), map[string]int{}} {
		assert.Empty(t, nn.State(m), "%T", m)
		assert.NotPanics(t, func() { nn.SetTraining(m, true); nn.RequireGrad(m, true); nn.Close(m) })
	}
}

func TestUnexportedFieldIsRefused(t *testing.T) {
	type hidden struct {
		weight torch.Tensor `torch:"weight"`
	}
	err := torch.Try(func() { nn.NumParams(&hidden{weight: torch.Tensor{}}) })
	assert.EqualError(t, err, `nn: nn_test.hidden.weight has the tag torch:"weight" but is not exported`)
}

func TestSetTraining(t *testing.T) {
	n := newNetwork()
	defer n.close()
	nn.SetTraining(n, true)
	assert.True(t, n.Stem.Drop.Training())
	assert.True(t, n.Layer[0].Drop.Training())
	nn.SetTraining(n, false)
	assert.False(t, n.Stem.Drop.Training())
	assert.Equal(t, []bool{true, false}, n.Stem.Norm.modes, "each module is told once")
	assert.Equal(t, []bool{true, false}, n.Layer[0].Norm.modes)

	type byValue struct {
		Drop  nn.Dropout   `torch:""`
		Drops []nn.Dropout `torch:"drops"`
	}
	v := &byValue{Drop: nn.Dropout{P: 0.1}, Drops: []nn.Dropout{{P: 0.1}}}
	nn.SetTraining(v, true)
	assert.True(t, v.Drop.Training())
	assert.True(t, v.Drops[0].Training())
}

func TestModules(t *testing.T) {
	n := newNetwork()
	defer n.close()
	var linears, norms []string
	for key, l := range nn.Modules[*nn.Linear](n) {
		linears = append(linears, key)
		if key == "pool" {
			assert.Same(t, n.Inner.Pool, l)
		}
	}
	assert.Equal(t, []string{"stem.dense", "layer.2.dense", "head", "pool"}, linears)
	for key, l := range nn.Modules[*nn.LayerNorm](n) {
		norms = append(norms, key)
		assert.Same(t, &n.Value, l, "a module held by value is given as the pointer to it")
	}
	assert.Equal(t, []string{"value"}, norms)
	seen := 0
	for range nn.Modules[forwarder](n) { // an interface; the walk stops when told to
		if seen++; seen == 2 {
			break
		}
	}
	assert.Equal(t, 2, seen)
}

func TestRequireGradLeavesBuffers(t *testing.T) {
	n := newNetwork()
	defer n.close()
	nn.RequireGrad(n, true)
	for key, p := range nn.Params(n) {
		assert.True(t, p.RequiresGrad(), key)
	}
	for key, b := range nn.Buffers(n) {
		assert.False(t, b.RequiresGrad(), key)
	}
	nn.RequireGrad(n.Stem, false)
	assert.False(t, n.Stem.Dense.Weight.RequiresGrad())
	assert.True(t, n.Scale.RequiresGrad())
}

func TestCloseFreesAll(t *testing.T) {
	before := torch.Stats().Tensors
	n := newNetwork()
	require.Equal(t, before+int64(len(networkParams)+len(networkBuffers))+2+2, torch.Stats().Tensors)
	n.close()
	nn.Close(n) // again does nothing
	require.Equal(t, before, torch.Stats().Tensors)
}

func TestMoveTo(t *testing.T) {
	n := newNetwork()
	defer n.close()
	nn.RequireGrad(n, true)
	nn.MoveTo(n, torch.CPU)                   // where it is
	meta := torch.Device{Type: 14, Index: -1} // c10::DeviceType::Meta: shapes without values
	nn.MoveTo(n, meta)
	for key, p := range nn.Params(n) {
		assert.Equal(t, meta, p.Device(), key)
		assert.True(t, p.RequiresGrad(), key)
	}
	for key, b := range nn.Buffers(n) {
		assert.Equal(t, meta, b.Device(), key)
		assert.False(t, b.RequiresGrad(), key)
	}
	assert.Equal(t, torch.CPU, n.Hidden.Weight.Device(), "what is not the module's stays")
}
