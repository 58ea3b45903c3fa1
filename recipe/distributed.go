package recipe

import (
	"time"

	"github.com/thaw-ml/thaw/torch/dist"
)

// Distributed says how the processes of a run go together. How many there are and where is not the spec's business, but that
// of what starts them.
type Distributed struct {
	// Timeout is how long a process waits for the others before it gives them up: "10m", the default. It must be longer than
	// what one of them does alone, such as writing a checkpoint.
	Timeout string `yaml:"timeout,omitempty"`
	// BatchNorm says what batch norms that train see: "sync", the default, the whole batch, so that the run is that of one
	// process (PyTorch's SyncBatchNorm), or "local", each process's part, which is faster (PyTorch's
	// DistributedDataParallel).
	BatchNorm string `yaml:"batch_norm,omitempty"`
	// ShardOptimizer divides the optimizer's state among the processes (ZeRO, stage 1): "on", "off", or "auto", the default, where
	// gradients and state would take more than half of the free memory. The numbers are the same.
	ShardOptimizer string `yaml:"shard_optimizer,omitempty"`
}

func (d *Distributed) resolve(f *faults) {
	f.check(d.Timeout == "" || duration(d.Timeout) > 0, "distributed.timeout", "must be a time such as 90s or 10m, found %q", d.Timeout)
	if d.BatchNorm != "" {
		f.choice("distributed.batch_norm", &d.BatchNorm, "sync", "local")
	}
	if d.ShardOptimizer != "" {
		f.choice("distributed.shard_optimizer", &d.ShardOptimizer, "auto", "on", "off")
	}
}

// Wait is how long a process waits for the others.
func (d Distributed) Wait() time.Duration {
	if t := duration(d.Timeout); t > 0 {
		return t
	}
	return dist.DefaultTimeout
}

// Together makes the spec's run one of several processes, each of which opens the same spec; nil is one process. threads is
// how many of the CPU this one uses where the spec does not say; 0 for all.
func (s *Spec) Together(g *dist.Group, threads int) { s.group, s.share = g, threads }
