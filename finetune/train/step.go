package train

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

// step is what one optimizer step consists of: forward, loss, backward, clipping, optimizer. It is the same function
// however it is executed, see executor.
type step[B data.Batch[B]] struct {
	stages    []nn.Stage[B]
	frozen    int // leading stages that run without autograd, or whose output is given
	objective Objective
	precision torch.DType
	params    []torch.Tensor // that are trained
	buffers   []torch.Tensor // of stages with trained parameters
	norms     []*nn.BatchNorm
	optimizer optim.Optimizer
	sharded   *dist.ShardedOptimizer // the same, where its state is divided among processes; else nil
	clipNorm  float64                // 0: no clipping
	rows      func(width int) int    // see Config.Rows
	sums      []torch.Tensor         // of gradients, see gather
	scaler    *scaler                // of the loss in float16; nil in other precisions
	average   *average               // of what is trained; nil where none is kept
	cast      *fused.Cast
	// checkLoss, where not nil, ends a step before backward. Steps that are queued on a device have none.
	checkLoss func(loss torch.Tensor) error
	// checkNorm, where not nil, ends a step before the optimizer, given the norm of all gradients.
	checkNorm    func(norm torch.Tensor) error
	beforeUpdate func() // see Config.BeforeUpdate
	// checkGradients is called once, in the first step.
	checkGradients func() error
	checked        bool
	recompute      *recompute[B] // nil: activations are kept for the backward pass
	together       *together     // nil: this process trains alone
}

// newStep collects what is trained.
func newStep[B data.Batch[B]](c Config[B]) *step[B] {
	frozen := 0
	for frozen < len(c.Trained) && !c.Trained[frozen] {
		frozen++
	}
	s := &step[B]{
		stages: c.Model.Stages, frozen: frozen, objective: c.Objective, precision: c.Model.Precision, clipNorm: c.ClipNorm,
		rows: c.Rows, beforeUpdate: c.BeforeUpdate, checkGradients: c.CheckGradients, checked: c.CheckGradients == nil,
	}
	for i, stage := range c.Model.Stages {
		if !c.Trained[i] {
			continue
		}
		for _, p := range nn.Params(stage.Module) {
			if p.RequiresGrad() {
				s.params = append(s.params, p)
			}
		}
		for _, b := range nn.Buffers(stage.Module) {
			s.buffers = append(s.buffers, b)
		}
		for _, norm := range nn.Modules[*nn.BatchNorm](stage.Module) {
			if norm.Fixed {
				continue
			}
			norm.ExternalCounter = true
			s.norms = append(s.norms, norm)
		}
	}
	return s
}

// newOptimizer makes the optimizer.
func (s *step[B]) newOptimizer(c Config[B], rates torch.Tensor) {
	if !c.Shard || c.Group == nil {
		s.optimizer = c.Optimizer(c.Groups, rates)
		return
	}
	s.sharded = c.Group.ShardOptimizer(c.Groups, func(own []*optim.Group) optim.Optimizer { return c.Optimizer(own, rates) })
	s.optimizer = s.sharded
}

// run makes one step on a batch. x is the output of the frozen stages; nil runs them. loss, a tensor without
// dimensions, is the mean over the samples before the step. All that changes from step to step is read from the tensors
// of b and x and from the tensor of learning rates, so that a run can be captured as a CUDA graph.
func (s *step[B]) run(b B, x nn.Values) (loss torch.Tensor, err error) {
	check := s.checkLoss
	if s.together != nil {
		check = nil // all processes come to the end of the backward pass, and then look
	}
	if loss, err = s.gradients(b, x, check); err != nil {
		return loss, err
	}
	return s.update(loss)
}

// update makes of the gradients that were computed a step, of all processes. loss is this one's share, undefined where it had
// no samples.
func (s *step[B]) update(loss torch.Tensor) (_ torch.Tensor, err error) {
	if loss, err = s.together.loss(loss); err != nil {
		return loss, err
	}
	s.countBatch()
	if !s.checked {
		if err := s.checkGradients(); err != nil {
			return loss, err
		}
		s.checked = true
	}
	if s.beforeUpdate != nil {
		s.beforeUpdate()
	}
	if s.scaler == nil || s.scaler.unscale(s.params) {
		if err := s.clip(); err != nil {
			return loss, err
		}
		s.optimizer.Step()
		if s.sharded != nil {
			if err := s.sharded.Share(); err != nil {
				return loss, err
			}
		}
	}
	s.optimizer.ZeroGrad()
	s.average.update()
	return loss, nil
}

// absent is this process's part in a step of whose samples it has none. It gives the mean loss of all.
func (s *step[B]) absent(device torch.Device) (loss torch.Tensor, err error) {
	if _, weighs := s.objective.(Weigher); weighs {
		if _, err := s.together.weight(torch.Zeros(torch.Float32, device)); err != nil {
			return loss, err
		}
	}
	if err := s.together.reduce(s.params); err != nil {
		return loss, err
	}
	return s.update(torch.Tensor{})
}

// clip scales gradients down whose norm is too large.
func (s *step[B]) clip() error {
	if s.clipNorm == 0 {
		return nil
	}
	norm := optim.ClipGradNorm(s.params, s.clipNorm)
	if s.checkNorm == nil || !norm.Defined() {
		return nil
	}
	return s.checkNorm(norm)
}

// rehearse is run up to the gradients, which it drops. Random generators and buffers are as before.
func (s *step[B]) rehearse(b B) error {
	generator := torch.DefaultGenerator()
	state := generator.State()
	defer func() { generator.SetState(state) }()
	before := make([]torch.Tensor, len(s.buffers))
	for i, t := range s.buffers {
		before[i] = t.Clone()
	}
	defer torch.NoGrad(func() {
		for i, t := range s.buffers {
			t.Copy_(before[i])
		}
	})
	defer s.optimizer.ZeroGrad()
	_, err := s.gradients(b, nil, nil)
	return err
}

// runFrozen runs the frozen stages on a batch without autograd.
func (s *step[B]) runFrozen(b B) (x nn.Values) {
	torch.NoGrad(func() {
		autocast(s.precision, func() { x = nn.RunStages(s.stages[:s.frozen], b, nil) })
	})
	return x
}

// countBatch counts the batch in all batch norms by one kernel.
func (s *step[B]) countBatch() {
	counters := make([]torch.Tensor, len(s.norms))
	for i, norm := range s.norms {
		counters[i] = norm.NumBatchesTracked
	}
	if len(counters) > 0 {
		torch.ForeachAddScalar_(counters, 1)
	}
}

// mutable lists all tensors that a step writes, by kind. What is added to a step must be added here: a captured step is
// compared with the step run operator by operator on these, and the trial steps are undone on these.
func (s *step[B]) mutable() [][]torch.Tensor {
	var state []torch.Tensor
	for _, n := range s.optimizer.State() {
		state = append(state, n.Tensor)
	}
	for _, n := range s.average.state() {
		state = append(state, n.Tensor)
	}
	return [][]torch.Tensor{s.params, state, s.buffers}
}

// autocast runs f with matrix products in a precision.
func autocast(precision torch.DType, f func()) {
	if precision != torch.Float32 {
		torch.Autocast(precision, f)
		return
	}
	f()
}

func (s *step[B]) close() {
	if s.optimizer != nil {
		s.optimizer.Close()
	}
	s.together.close()
	s.cast.Close()
	s.scaler.close()
	s.average.close()
	closeAll(s.sums)
	for _, norm := range s.norms {
		norm.ExternalCounter = false
		norm.Sum = nil
	}
}

// newCast makes copies in the precision of autocast of the parameters that a step reads.
func (s *step[B]) newCast(cached bool) *fused.Cast {
	var trained, frozen []torch.Tensor
	for i, stage := range s.stages {
		if cached && i < s.frozen {
			continue // these stages do not run
		}
		for _, p := range nn.AutocastParams(stage.Module) {
			if p.RequiresGrad() {
				trained = append(trained, p)
			} else {
				frozen = append(frozen, p)
			}
		}
	}
	return fused.NewCast(trained, frozen, s.precision)
}
