package nn_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

const noTag = `) but has no tag: give it its key in a checkpoint, torch:"key", or torch:"-" where it is not part of the module`

type chain struct {
	Next  *chain
	Chain []chain
	Name  string
}

type nest []nest

// An exported field that holds parameters and has no tag is refused, whatever way they are held.
func TestFieldsWithoutATag(t *testing.T) {
	linear := nn.NewLinear(1, 1, nn.LinearOptions{}, nil)
	defer nn.Close(linear)
	for want, m := range map[string]any{
		"nn: struct { W torch.Tensor }.W holds parameters or modules (torch.Tensor" + noTag: struct{ W torch.Tensor }{},
		".L holds parameters or modules (*nn.Linear" + noTag:                                &struct{ L *nn.Linear }{},
		".L holds parameters or modules (nn.Linear" + noTag:                                 struct{ L nn.Linear }{},
		".L holds parameters or modules ([]*nn.Linear" + noTag:                              struct{ L []*nn.Linear }{},
		".L holds parameters or modules ([2][]nn.Linear" + noTag:                            struct{ L [2][]nn.Linear }{},
		".L holds parameters or modules (map[string]torch.Tensor" + noTag:                   struct{ L map[string]torch.Tensor }{},
		".D holds parameters or modules (*nn.Dropout" + noTag:                               struct{ D *nn.Dropout }{},
		".D holds parameters or modules (nn.Dropout" + noTag:                                struct{ D nn.Dropout }{},
		".D holds parameters or modules (interface { SetTraining(bool) }" + noTag: struct {
			D interface{ SetTraining(bool) }
		}{},
		".B holds parameters or modules (nn_test.network" + noTag: struct{ B network }{},
		// A module by its tags alone, as it holds interfaces.
		".S holds parameters or modules (*struct { Parts []interface {} \"torch:\\\"\\\"\" }" + noTag: struct {
			S *struct {
				Parts []any `torch:""`
			}
		}{},
		// Interfaces are judged by what they hold.
		".I holds parameters or modules (*nn.Linear" + noTag:                            struct{ I forwarder }{linear},
		"struct { I []interface {} }.I holds parameters or modules (*nn.Linear" + noTag: struct{ I []any }{[]any{3, linear}},
		".I holds parameters or modules (torch.Tensor" + noTag:                          struct{ I map[string]any }{map[string]any{"x": linear.Weight}},
		".M is a map, which has no order": struct {
			M map[string]*nn.Linear `torch:"m"`
		}{},
		`.W has the tag torch:"w,bufer": behind the comma only buffer may stand`: struct {
			W torch.Tensor `torch:"w,bufer"`
		}{},
	} {
		for range 2 { // what is known of a type the second time is the same
			assert.ErrorContains(t, torch.Try(func() { nn.State(m) }), want)
		}
	}
}

func TestFieldsThatNeedNoTag(t *testing.T) {
	linear := nn.NewLinear(1, 1, nn.LinearOptions{}, nil)
	defer nn.Close(linear)
	type parts struct {
		Own     *nn.Linear     `torch:"own"`
		Other   *nn.Linear     `torch:"-"`
		Tensors []torch.Tensor `torch:"-"`
		hidden  *nn.Linear
		Act     func(torch.Tensor) torch.Tensor
		Chain   *chain
		Nest    nest
		Sizes   []int
		Report  nn.LoadReport
		Any     any
		Nothing forwarder
		Fixed   any
		Odd     any `torch:"-"`
	}
	m := &parts{Own: linear, hidden: linear, Other: linear, Chain: &chain{Chain: make([]chain, 2)}, Any: 3, Fixed: chain{}, Odd: linear}
	assert.Equal(t, []string{"own.weight", "own.bias"}, keysOf(m))
	assert.NotNil(t, m.hidden)
}

// Reading a checkpoint into a module whose tags are wrong is an error.
func TestLoadIntoAModuleWithoutTags(t *testing.T) {
	c := checkpoint(t, []string{"weight"}, map[string][]int{"weight": {2, 3}})
	_, err := nn.Load(&struct{ W torch.Tensor }{}, c, nn.LoadOptions{})
	assert.ErrorContains(t, err, c.Path()+": nn: struct { W torch.Tensor }.W holds parameters or modules")
}

func TestAutocastParams(t *testing.T) {
	g := torch.NewGenerator(1)
	m := &struct {
		Conv *nn.Conv2d    `torch:"conv"`
		Norm *nn.LayerNorm `torch:"norm"`
		A    *nn.Linear    `torch:"a"`
		B    *nn.Linear    `torch:"b"`
		Half *nn.Linear    `torch:"half"`
	}{
		nn.NewConv2d(1, 2, 1, nn.ConvOptions{NoBias: true}, g), nn.NewLayerNorm(2, 1e-5), nn.NewLinear(2, 2, nn.LinearOptions{}, g),
		nn.NewLinear(2, 2, nn.LinearOptions{}, g), &nn.Linear{Weight: torch.Ones(torch.BFloat16, torch.CPU, 2, 2)},
	}
	defer nn.Close(m)
	want := []torch.Tensor{m.Conv.Weight, m.A.Weight, m.B.Weight, m.A.Bias, m.B.Bias}
	assert.Equal(t, want, nn.AutocastParams(m))
}
