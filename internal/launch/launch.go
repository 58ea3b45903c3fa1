// Package launch tells whether this process was started as one of several that are to train together: by torchrun, by
// Kubeflow's Trainer or by Slurm.
package launch

import (
	"fmt"
	"strconv"
)

// Check is an error where several processes are to train together, which Thaw does not do yet, or where a Slurm job of several
// tasks was not started with srun. Without it each would train the same run by itself.
//
// torchrun's variables count first, since PET_ variables of the launcher stay in its ranks' environment. An sbatch script has
// SLURM_NTASKS, and SLURM_PROCID 0, without being a task: only a step's variables tell of one.
func Check(getenv func(string) string) error {
	several := func(size, rank, by string) error {
		at := ""
		if r := getenv(rank); r != "" {
			at = fmt.Sprintf(" (this is rank %s)", r)
		}
		return fmt.Errorf("%s=%s, from %s, asks for several processes that train together%s, which Thaw does not do yet: start one process, "+
			"with one GPU at most", size, getenv(size), by, at)
	}
	switch {
	case getenv("WORLD_SIZE") != "" || getenv("RANK") != "":
		if number(getenv("WORLD_SIZE")) > 1 || number(getenv("RANK")) > 0 {
			if getenv("WORLD_SIZE") == "" {
				return fmt.Errorf("RANK=%s is set and WORLD_SIZE is not: a launcher such as torchrun sets both; to train alone, unset RANK", getenv("RANK"))
			}
			return several("WORLD_SIZE", "RANK", "torchrun or the like")
		}
	case number(getenv("PET_NNODES")) > 1:
		return several("PET_NNODES", "PET_NODE_RANK", "Kubeflow's Trainer")
	case number(getenv("PET_NPROC_PER_NODE")) > 1:
		return several("PET_NPROC_PER_NODE", "PET_NODE_RANK", "Kubeflow's Trainer")
	case number(getenv("SLURM_STEP_NUM_TASKS")) > 1:
		return several("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun")
	case number(getenv("SLURM_NTASKS")) > 1 && getenv("SLURM_STEP_ID") == "":
		return fmt.Errorf("SLURM_NTASKS=%s, and this process is none of Slurm's tasks: start it with srun; for one process among the job's tasks: "+
			"srun --ntasks=1 thaw train SPEC", getenv("SLURM_NTASKS"))
	}
	return nil
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
