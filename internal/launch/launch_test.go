package launch

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want string // part of the error; "" for none
	}{
		{"alone", nil, ""},
		{"torchrun of one", map[string]string{"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, ""},
		{"torchrun of two", map[string]string{"RANK": "1", "WORLD_SIZE": "2"}, "WORLD_SIZE=2, from torchrun or the like, asks for several " +
			"processes that train together (this is rank 1), which Thaw does not do yet"},
		{"a rank alone", map[string]string{"RANK": "1"}, "RANK=1 is set and WORLD_SIZE is not"},
		{"a TrainJob of one node", map[string]string{"PET_NNODES": "1", "PET_NPROC_PER_NODE": "auto", "PET_NODE_RANK": "0"}, ""},
		{"a TrainJob of two nodes", map[string]string{"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_NODE_RANK": "1"},
			"PET_NNODES=2, from Kubeflow's Trainer"},
		{"a TrainJob of two processes", map[string]string{"PET_NNODES": "1", "PET_NPROC_PER_NODE": "2"}, "PET_NPROC_PER_NODE=2"},
		{"torchrun of one under a launcher's variables", map[string]string{"PET_NNODES": "2", "RANK": "0", "WORLD_SIZE": "1"}, ""},
		{"a step of one task in a job of two", map[string]string{"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}, ""},
		{"a step of two", map[string]string{"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"},
			"SLURM_STEP_NUM_TASKS=2, from srun"},
		{"a batch script of two tasks", map[string]string{"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, "SLURM_NTASKS=2, and this process is none of " +
			"Slurm's tasks: start it with srun"},
		{"a batch script of one task", map[string]string{"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Check(func(name string) string { return c.env[name] })
			if c.want == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.want)
			}
		})
	}
}
