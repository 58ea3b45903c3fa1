package optim

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Group is a set of parameters that share their settings.
type Group struct {
	Name        string
	Params      []torch.Tensor
	Names       []string // of Params, for [Optimizer.State]; nil: "<group>.<index>", counted from 0
	LR          float64  // at this step
	WeightDecay float64
}

// GroupOf makes a group of all parameters of a module, with their keys as names and no weight decay.
func GroupOf(m any, lr float64) *Group {
	g := &Group{LR: lr}
	for name, p := range nn.Params(m) {
		g.Names, g.Params = append(g.Names, name), append(g.Params, p)
	}
	return g
}

// groups is the part that all optimizers share.
type groups []*Group

func (g groups) Groups() []*Group { return g }

func (g groups) ZeroGrad() {
	for _, group := range g {
		for _, p := range group.Params {
			p.ZeroGrad()
		}
	}
}

// check panics where a group's names are not those of its parameters.
func (g groups) check(op string) {
	for i, group := range g {
		if n := len(group.Names); n != 0 && n != len(group.Params) {
			panic(&torch.Error{Op: op, Msg: fmt.Sprintf("group %d has %d names for %d parameters", i, n, len(group.Params))})
		}
	}
}

// Names gives each parameter the name that an optimizer of these groups has for it, which no other has, by group and parameter.
func Names(g []*Group) [][]string {
	count := map[string]int{}
	for _, group := range g {
		for _, name := range group.Names {
			count[name]++
		}
	}
	out := make([][]string, len(g))
	for i, group := range g {
		out[i] = make([]string, len(group.Params))
		for k := range group.Params {
			out[i][k] = fmt.Sprintf("%d.%d", i, k)
			if k < len(group.Names) && count[group.Names[k]] == 1 {
				out[i][k] = group.Names[k]
			}
		}
	}
	return out
}

// withGrad gives the positions of a group's parameters that have a gradient, and the gradients.
func (g *Group) withGrad() (at []int, params, grads []torch.Tensor) {
	for i, p := range g.Params {
		if grad := p.Grad(); grad.Defined() {
			at, params, grads = append(at, i), append(params, p), append(grads, grad)
		}
	}
	return at, params, grads
}
