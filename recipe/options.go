package recipe

import (
	"cmp"

	"github.com/thaw-ml/thaw/finetune"
)

// Options are what a resolved spec says to finetune.Fit. The objective is the kind's to add, which knows the classes.
func (s *Spec) Options() finetune.Options {
	o := finetune.Options{
		Batch:          finetune.Batching{Size: s.Batch.Size, Accumulate: s.Batch.Accumulate, Tokens: s.Batch.Tokens, EvalSize: s.Batch.EvalSize},
		Optimizer:      s.Optimizer.options(),
		Best:           s.Best,
		ClipNorm:       orOff(s.ClipNorm),
		EMA:            s.EMA,
		EarlyStopping:  finetune.EarlyStopping(s.EarlyStopping),
		Device:         s.Device,
		Precision:      s.Precision,
		Threads:        cmp.Or(s.Threads, s.share),
		NoCache:        s.Cache.Place == cacheOff,
		Cache:          s.caching(),
		NoGraphs:       s.Graph == "off",
		Deterministic:  s.Deterministic,
		ShareCPUs:      s.ShareCPUs,
		Seed:           s.Seed,
		Shared:         s.shared,
		Group:          s.group,
		LocalNorms:     s.Distributed.BatchNorm == "local",
		ShardOptimizer: s.Distributed.ShardOptimizer, GradientCheckpointing: s.Checkpointing,
		Checkpoint: s.Checkpoint.options(),
		StopAfter:  duration(s.StopAfter),
	}
	for _, p := range s.Phases {
		o.Phases = append(o.Phases, finetune.Phase{
			Train: finetune.Selection(p.Train), Epochs: p.Epochs, LR: p.LR, HeadLR: p.HeadLR, LayerDecay: p.LayerDecay,
			WarmUp: orOff(p.WarmUp), Schedule: finetune.Schedule(p.Schedule), Power: p.Power, EndLR: orOff(p.EndLR),
			StepEpochs: p.StepEpochs, Gamma: p.Gamma, Patience: patience(p.Patience), Factor: p.Factor,
		})
	}
	return o
}

func (p Optimizer) options() finetune.Optimizer {
	return finetune.Optimizer{
		Name: p.Name, WeightDecay: orOff(p.WeightDecay), Betas: p.Betas, Eps: p.Eps, Momentum: orOff(p.Momentum), Nesterov: p.Nesterov,
	}
}

// orOff gives 0 the name that it has among the options, where 0 stands for the default. nil, a key that is another
// optimizer's, stays 0.
func orOff(x *float64) float64 {
	switch {
	case x == nil:
		return 0
	case *x == 0:
		return finetune.Off
	}
	return *x
}

// patience is orOff for a number of epochs.
func patience(x *int) int {
	switch {
	case x == nil:
		return 0
	case *x == 0:
		return finetune.Off
	}
	return *x
}
