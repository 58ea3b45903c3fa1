package torch

import (
	"runtime"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Generator is a source of random numbers on the CPU (MT19937, PyTorch's numbers for PyTorch's seeds). Where an
// operator takes a *Generator, nil stands for the default one. A generator must not be used from two goroutines at
// once.
type Generator struct{ g capi.Generator }

// NewGenerator makes a generator of its own.
func NewGenerator(seed uint64) *Generator {
	g, err := capi.NewGenerator(seed)
	if err != nil {
		panic(failed("generator", err))
	}
	return ownGenerator(g)
}

// DefaultGenerator is the one that operators use when given none.
func DefaultGenerator() *Generator {
	g, err := capi.DefaultGenerator()
	if err != nil {
		panic(failed("generator", err))
	}
	return ownGenerator(g)
}

func ownGenerator(native capi.Generator) *Generator {
	g := &Generator{native}
	runtime.AddCleanup(g, func(native capi.Generator) { native.Free() }, native)
	return g
}

func (g *Generator) native() capi.Generator { return g.g }

// Seed starts the generator anew.
func (g *Generator) Seed(seed uint64) {
	if err := g.g.Seed(seed); err != nil {
		panic(failed("manual_seed", err))
	}
	runtime.KeepAlive(g)
}

// State is all that the coming numbers depend on, as a tensor of bytes that PyTorch's set_rng_state takes too.
func (g *Generator) State() Tensor {
	h, scope, err := g.g.State()
	if err != nil {
		panic(failed("get_rng_state", err))
	}
	runtime.KeepAlive(g)
	return adopt(h, scope)
}

// SetState goes back to a state that State gave.
func (g *Generator) SetState(state Tensor) {
	if err := g.g.SetState(state.ptr("set_rng_state")); err != nil {
		panic(failed("set_rng_state", err))
	}
	runtime.KeepAlive(g)
	runtime.KeepAlive(state.h)
}

// ManualSeed starts the default generator anew.
func ManualSeed(seed uint64) { DefaultGenerator().Seed(seed) }
