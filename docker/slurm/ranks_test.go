//go:build cluster

package slurm_test

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Several ranks of a program that trains on one are refused by each of them, before anything is written.
func TestRanks(t *testing.T) {
	for name, args := range map[string][]string{
		"two nodes":          {"--nodes=2"},
		"two tasks a node":   {"--nodes=1", "--ntasks=2"},
		"four, on two nodes": {"--nodes=2", "--ntasks-per-node=2"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := workplace(t, t.TempDir())
			_, said, err := slurm.run(folder, "srun", append(args, "--label", "thaw", "train", "spec.yaml")...)
			failed, ok := errors.AsType[*exec.ExitError](err)
			require.True(t, ok, "the launch is taken: %v %s", err, said)
			assert.Equal(t, 2, failed.ExitCode(), said)
			want := 2
			if strings.HasPrefix(name, "four") {
				want = 4
			}
			refused := 0
			for line := range strings.Lines(said) {
				if _, line, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "thaw: ") {
					refused++
					assert.Contains(t, line, "which Thaw does not do yet")
					assert.Contains(t, line, "SLURM_STEP_NUM_TASKS="+strconv.Itoa(want)+", from srun")
				}
			}
			assert.Equal(t, want, refused, "a line from each rank:\n%s", said)
			assert.Empty(t, runs(t, folder))
		})
	}
}

// In a script, Slurm's variables are those of rank 0 although nothing was launched.
func TestRanksWithoutSrun(t *testing.T) {
	folder := workplace(t, t.TempDir())
	j := submit(t, folder, "--ntasks=2", "--wrap=thaw train spec.yaml")
	state, code := j.ended()
	assert.Equal(t, "FAILED 2:0", state+" "+code)
	assert.Contains(t, j.output(), "start it with srun")
	assert.Empty(t, runs(t, folder))
}

// One task is one rank, in a step and in a script.
func TestOneRank(t *testing.T) {
	folder := workplace(t, t.TempDir())
	assert.Contains(t, slurm.ask(t, folder, "srun", "--ntasks=1", "thaw", "train", "spec.yaml"), "\nepoch 2 ")
	state, code := submit(t, folder, "--ntasks=1", "--wrap=thaw train spec.yaml").ended()
	assert.Equal(t, "COMPLETED 0:0", state+" "+code)
	assert.Equal(t, []string{"spec-1", "spec-2"}, runs(t, folder))
}

// The other commands of the program, which write no run folder, run in any launch.
func TestOtherCommands(t *testing.T) {
	assert.Equal(t, 2, strings.Count(slurm.ask(t, t.TempDir(), "srun", "--nodes=2", "thaw", "version"), "libtorch"))
}
