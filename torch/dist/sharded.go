package dist

import (
	"cmp"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/optim"
)

// ShardedOptimizer is an optimizer whose state is divided among ranks, as PyTorch's ZeroRedundancyOptimizer divides it (stage 1 of
// ZeRO, Rajbhandari and others 2020): each rank keeps the state of some parameters alone, moves these, and sends them to the
// others. Every rank has all gradients. What a step comes to is, to the last bit, what the whole optimizer comes to.
type ShardedOptimizer struct {
	group *Group
	all   []*optim.Group     // of all parameters
	own   optim.Optimizer    // of this rank's
	owner map[string]int     // the rank that moves a parameter, by name
	sent  [][][]torch.Tensor // what each rank sends, message by message
}

// ShardOptimizer makes an optimizer of groups, which are the same on all ranks. build makes one of some parameters of each group,
// as it would of all. All parameters have one dtype. It is to be closed before the group.
func (g *Group) ShardOptimizer(groups []*optim.Group, build func(groups []*optim.Group) optim.Optimizer) *ShardedOptimizer {
	s := &ShardedOptimizer{group: g, all: groups, owner: map[string]int{}}
	names := optim.Names(groups)
	type param struct {
		group, at int
		size      int
	}
	var params []param
	for i, group := range groups {
		for k, p := range group.Params {
			params = append(params, param{i, k, p.Numel()})
		}
	}
	// The largest first, each to the rank that has the least.
	slices.SortStableFunc(params, func(a, b param) int { return cmp.Compare(b.size, a.size) })
	load := make([]int, g.Size())
	of := make([][]param, g.Size())
	for _, p := range params {
		least := slices.Index(load, slices.Min(load))
		load[least] += p.size
		of[least] = append(of[least], p)
		s.owner[names[p.group][p.at]] = least
	}
	own := make([]*optim.Group, len(groups))
	for i, group := range groups {
		own[i] = &optim.Group{Name: group.Name, LR: group.LR, WeightDecay: group.WeightDecay}
		for k, p := range group.Params {
			if name := names[i][k]; s.owner[name] == g.Rank() {
				own[i].Params, own[i].Names = append(own[i].Params, p), append(own[i].Names, name)
			}
		}
	}
	s.own = build(own)
	for _, params := range of {
		var buckets [][]torch.Tensor
		bytes := 0
		for _, p := range params {
			t := groups[p.group].Params[p.at]
			if n := t.NBytes(); buckets == nil || bytes+n > laterBucket {
				buckets, bytes = append(buckets, nil), 0
			}
			last := len(buckets) - 1
			buckets[last] = append(buckets[last], t)
			bytes += t.NBytes()
		}
		s.sent = append(s.sent, buckets)
	}
	return s
}

// Groups are the groups of all parameters.
func (s *ShardedOptimizer) Groups() []*optim.Group { return s.all }

// Step moves this rank's parameters that have a gradient. [ShardedOptimizer.Share] is to follow.
func (s *ShardedOptimizer) Step() {
	for i, g := range s.all {
		own := s.own.Groups()[i]
		own.LR, own.WeightDecay = g.LR, g.WeightDecay
	}
	s.own.Step()
}

// Share sends what Step has moved to all ranks.
func (s *ShardedOptimizer) Share() (err error) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			for rank, buckets := range s.sent {
				for _, b := range buckets {
					if err = s.share(rank, b); err != nil {
						return
					}
				}
			}
		})
	})
	return err
}

// share sends a rank's tensors in one message.
func (s *ShardedOptimizer) share(rank int, tensors []torch.Tensor) error {
	const doing = "sending the weights that a rank has moved"
	if len(tensors) == 1 && tensors[0].IsContiguous() {
		return s.group.Broadcast(doing, rank, tensors[0].Detach())
	}
	return torch.ScopedErr(func() error {
		if rank == s.group.Rank() {
			flat := make([]torch.Tensor, len(tensors))
			for i, t := range tensors {
				flat[i] = t.Detach().Flatten(0, -1)
			}
			return s.group.Broadcast(doing, rank, torch.Cat(flat, 0))
		}
		elements := 0
		for _, t := range tensors {
			elements += t.Numel()
		}
		message := torch.Empty(tensors[0].DType(), tensors[0].Device(), elements)
		if err := s.group.Broadcast(doing, rank, message); err != nil {
			return err
		}
		at := 0
		for _, t := range tensors {
			n := t.Numel()
			t.Copy_(message.Narrow(0, at, n).View(t.Shape()...))
			at += n
		}
		return nil
	})
}

// ZeroGrad drops all gradients.
func (s *ShardedOptimizer) ZeroGrad() {
	for _, g := range s.all {
		for _, p := range g.Params {
			p.ZeroGrad()
		}
	}
}

// State lists the tensors of this rank's parameters, by the names that they have in the whole optimizer.
func (s *ShardedOptimizer) State() []torch.Named { return s.own.State() }

// Keeps reports whether this rank has the state of that name; a name that is none of the optimizer's it does not.
func (s *ShardedOptimizer) Keeps(name string) bool {
	rank, known := s.owner[parameterOf(name)]
	return known && rank == s.group.Rank()
}

// parameterOf is the parameter that a state tensor is of.
func parameterOf(name string) string {
	return name[:max(0, strings.LastIndexByte(name, '.'))]
}

// Load copies this rank's part of a whole optimizer's state, which may lack that of other ranks' parameters.
func (s *ShardedOptimizer) Load(state []torch.Named) error {
	return s.own.Load(slices.DeleteFunc(slices.Clone(state), func(n torch.Named) bool {
		rank, known := s.owner[parameterOf(n.Name)]
		return known && rank != s.group.Rank()
	}))
}

// Gather gives root the whole optimizer's state, as copies on the CPU that the caller is to close; the other ranks get nil.
func (s *ShardedOptimizer) Gather(root int) (state []torch.Named, err error) {
	atRoot := func(string) bool { return s.group.Rank() == root }
	torch.Scoped(func() {
		for rank := range s.group.Size() {
			if rank == root {
				continue
			}
			var part []torch.Named
			if part, err = s.group.SendNamed("gathering the optimizer's state", rank, s.own.State(), atRoot); err != nil {
				return
			}
			state = append(state, part...)
		}
		if s.group.Rank() != root {
			return
		}
		for _, n := range s.own.State() {
			own := torch.Empty(n.Tensor.DType(), torch.CPU, n.Tensor.Shape()...)
			torch.NoGrad(func() { own.Copy_(n.Tensor) })
			state = append(state, torch.Named{Name: n.Name, Tensor: own})
		}
		for _, n := range state {
			torch.Keep(n.Tensor)
		}
	})
	if err != nil {
		return nil, err
	}
	return state, nil
}

// Close frees the optimizer's state.
func (s *ShardedOptimizer) Close() { s.own.Close() }
