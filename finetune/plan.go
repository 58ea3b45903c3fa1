package finetune

import (
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// Plan is what a phase will do, known before anything runs.
type Plan struct {
	Phase  Phase
	Stages []StagePlan
	// NumFrozen is the number of leading stages in which nothing is trained: they run without autograd.
	NumFrozen int
	// Cached says that these stages run once a sample and that their output is kept, CacheBytes of it, on CacheDevice; with
	// CacheOnDisk in files. CacheViews is the number of views of a training sample, see Caching.
	Cached      bool
	CacheBytes  int64
	CacheDevice torch.Device
	CacheOnDisk bool
	CacheViews  int
	values      []keptValue // of a kept row
	inMemory    bool        // memory suffices
	noRoom      error       // why there is no place on disk, where that was asked for
	Sharded     bool        // the optimizer's state is divided among the processes
	Steps       int         // of the whole phase
	Batches     int         // an epoch
	Rows        int         // of the training data
}

// StagePlan is what becomes of a stage.
type StagePlan struct {
	Name      string
	Trained   bool    // something in it is
	PerSample bool    // see nn.Stage
	Params    int     // elements of its parameters
	Trainable int     // elements that are trained
	LR        float64 // the highest
	params    []planned
	buffers   []torch.Named
}

// planned is a parameter of a stage.
type planned struct {
	torch.Named
	trained bool
}

// newPlan reads a phase's selection as trained and frozen stages.
func newPlan[B any](phase Phase, stages []nn.Stage[B]) (*Plan, error) {
	var names, parameters []string
	number := make([]int, len(stages)) // of a stage among those with parameters
	for i, s := range stages {
		number[i] = len(names)
		if nn.NumParams(s.Module) > 0 {
			names = append(names, s.Name)
		}
		for key := range nn.Params(s.Module) {
			parameters = append(parameters, s.Key+key)
		}
	}
	trained, patterns, err := phase.Train.Resolve(names, parameters...)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Phase: phase}
	matched := make([]bool, len(patterns))
	for i, s := range stages {
		sp := StagePlan{Name: s.Name, PerSample: s.PerSample, LR: phase.rate(number[i], len(names))}
		adapters := map[string]bool{}
		for key := range nn.AdapterParams(s.Module) {
			adapters[key] = true
		}
		for key, p := range nn.Params(s.Module) {
			on := trained[number[i]]
			for j, pattern := range patterns {
				if matches(pattern, s.Key+key) || pattern == loraItem && adapters[key] {
					on, matched[j] = true, true
				}
			}
			sp.Params += p.Numel()
			if on {
				sp.Trainable += p.Numel()
			}
			sp.params = append(sp.params, planned{torch.Named{Name: s.Key + key, Tensor: p}, on})
		}
		sp.Trained = sp.Trainable > 0
		for key, b := range nn.Buffers(s.Module) {
			sp.buffers = append(sp.buffers, torch.Named{Name: s.Key + key, Tensor: b})
		}
		plan.Stages = append(plan.Stages, sp)
	}
	for j, ok := range matched {
		if !ok && patterns[j] == loraItem {
			return nil, fmt.Errorf("%q trains adapters, and the model has none: put some in with lora.Apply", loraItem)
		}
		if !ok {
			return nil, fmt.Errorf("no parameter matches %q; they are named like %s", patterns[j], plan.exampleName())
		}
	}
	for plan.NumFrozen < len(plan.Stages) && !plan.Stages[plan.NumFrozen].Trained {
		plan.NumFrozen++
	}
	if plan.NumFrozen == len(plan.Stages) {
		return nil, fmt.Errorf("nothing is trained")
	}
	return plan, nil
}

func (p *Plan) exampleName() string {
	for i := len(p.Stages) - 1; i >= 0; i-- {
		if params := p.Stages[i].params; len(params) > 0 {
			return params[0].Name
		}
	}
	return "nothing"
}

// each gives every parameter of the model, in the order of the stages.
func (p *Plan) each(yield func(stage StagePlan, param planned) bool) {
	for _, s := range p.Stages {
		for _, param := range s.params {
			if !yield(s, param) {
				return
			}
		}
	}
}

// apply sets which parameters record gradients.
func (p *Plan) apply() {
	for _, param := range p.each {
		param.Tensor.RequiresGrad_(param.trained)
		param.Tensor.ZeroGrad()
	}
}

// release undoes apply, also after a step that failed half-way.
func (p *Plan) release() {
	for _, param := range p.each {
		param.Tensor.RequiresGrad_(false)
		param.Tensor.ZeroGrad()
	}
}

// groups makes the optimiser's parameter groups: a rate each, biases and norms apart, which are not decayed
// (transformers' Trainer and BERT's optimization.py). Stages that share a rate share a group: the fewer there are, the
// fewer kernels run.
func (p *Plan) groups(decay float64) []*optim.Group {
	type kind struct {
		rate  float64
		plain bool
	}
	byKind := map[kind]*optim.Group{}
	var out []*optim.Group
	for _, s := range p.Stages {
		for _, plain := range []bool{false, true} {
			for _, param := range s.params {
				if !param.trained || plain != (param.Tensor.Dim() <= 1) {
					continue
				}
				k := kind{s.LR, plain}
				g := byKind[k]
				if g == nil {
					g = &optim.Group{Name: s.Name, LR: s.LR, WeightDecay: decay}
					if plain {
						g.Name, g.WeightDecay = s.Name+" biases and norms", 0
					}
					byKind[k] = g
					out = append(out, g)
				}
				g.Params, g.Names = append(g.Params, param.Tensor), append(g.Names, param.Name)
			}
		}
	}
	return out
}

// trained says of each stage whether something in it is trained.
func (p *Plan) trained() []bool {
	out := make([]bool, len(p.Stages))
	for i, s := range p.Stages {
		out[i] = s.Trained
	}
	return out
}

// changes names the tensors that steps write: trained parameters, and buffers of stages that train.
func (p *Plan) changes() map[string]bool {
	names := map[string]bool{}
	for _, s := range p.Stages {
		for _, param := range s.params {
			if param.trained {
				names[param.Name] = true
			}
		}
		if s.Trained {
			for _, b := range s.buffers {
				names[b.Name] = true
			}
		}
	}
	return names
}

// numTrained counts the tensors that are trained.
func (p *Plan) numTrained() (n int) {
	for _, param := range p.each {
		if param.trained {
			n++
		}
	}
	return n
}

// String is the plan as the program prints it.
func (p *Plan) String() string {
	var b strings.Builder
	for i := 0; i < len(p.Stages); {
		if p.Stages[i].Params == 0 {
			i++
			continue
		}
		// A run of stages that are alike.
		j := i + 1
		for j < len(p.Stages)-1 && p.Stages[j].Params > 0 && p.Stages[j].Trained == p.Stages[i].Trained && (p.Phase.LayerDecay == 1 || !p.Stages[j].Trained) {
			j++
		}
		s, params, moving := p.Stages[i], 0, 0
		for _, t := range p.Stages[i:j] {
			params, moving = params+t.Params, moving+t.Trainable
		}
		name := s.Name
		if j > i+1 {
			name += " ... " + p.Stages[j-1].Name
		}
		fmt.Fprintf(&b, "%-24s ", name)
		switch {
		case !s.Trained && j <= p.NumFrozen && p.Cached:
			fmt.Fprintf(&b, "frozen   %6s   %s, kept: %s %s", count(params), p.timesRun(), quantity.Bytes(p.CacheBytes), p.keptPlace())
		case !s.Trained:
			fmt.Fprintf(&b, "frozen   %6s", count(params))
		case moving < params:
			fmt.Fprintf(&b, "trained  %6s   of %s, lr %.3g", count(moving), count(params), s.LR)
		default:
			fmt.Fprintf(&b, "trained  %6s   lr %.3g", count(moving), s.LR)
		}
		b.WriteByte('\n')
		i = j
	}
	fmt.Fprintf(&b, "%s in %s of %s", quantity.Count(p.Steps, "step", "steps"), quantity.Count(p.Phase.Epochs, "epoch", "epochs"),
		quantity.Count(p.Batches, "batch", "batches"))
	if p.Sharded {
		b.WriteString("\nthe optimizer's state is divided among the processes")
	}
	return b.String()
}

// timesRun says how often the frozen stages run.
func (p *Plan) timesRun() string {
	if p.CacheViews > 1 {
		return fmt.Sprintf("run once for each of %d views", p.CacheViews)
	}
	return "run once"
}

// keptPlace says where their output is.
func (p *Plan) keptPlace() string {
	if p.CacheOnDisk {
		return "on disk"
	}
	return "in " + memoryOf(p.CacheDevice)
}

// memoryOf names a device's memory for people.
func memoryOf(d torch.Device) string {
	if d.Type == torch.CPUType {
		return "memory"
	}
	return "the memory of " + d.String()
}

// count writes a number of parameters: 3.6M.
func count(n int) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1fk", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}
