package finetune

import (
	"fmt"

	"github.com/thaw-ml/thaw/internal/cgroup"
	"github.com/thaw-ml/thaw/torch"
)

// checkMemory refuses a run some phase of which cannot fit: gradients and the optimizer's state are known before anything is
// computed, and the system ends a process that takes more memory than its container may, without a word.
func (r *run[B]) checkMemory() error {
	free := r.backend.FreeMemory()
	if free <= 0 { // unknown
		return nil
	}
	for i, phase := range r.options.Phases {
		plan, err := newPlan(phase, r.forward.Stages)
		if err != nil {
			return err
		}
		trained := 0
		for _, s := range plan.Stages {
			trained += s.Trainable
		}
		needed := int64(trained) * 4 * int64(1+r.options.Optimizer.slots())
		if needed <= free {
			continue
		}
		place := memoryOf(r.backend.Device())
		if r.backend.Device().Type == torch.CPUType {
			if l := cgroup.Read(); l.Memory > 0 && l.FreeMemory <= free {
				place += fmt.Sprintf(" (this process's control group, such as a container's, may use %s)", byteSize(l.Memory))
			}
		}
		return fmt.Errorf("phase %d trains %s parameters: their gradients and the optimizer's state take %s, activations not counted, and %s of %s "+
			"are free: train fewer stages, or allow more memory", i+1, count(trained), byteSize(needed), byteSize(free), place)
	}
	return nil
}

// slots is the number of values that the optimizer keeps for each trained value.
func (o Optimizer) slots() int {
	switch {
	case o.Name == "adamw":
		return 2
	case o.Momentum != 0:
		return 1
	}
	return 0
}
