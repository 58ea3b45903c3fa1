package launch

import (
	"fmt"
	"strconv"
)

const bySlurm = "Slurm"

// fromSlurm reads the variables of a step, which srun starts. Those of the job do not count: a batch script has
// SLURM_NTASKS, and SLURM_PROCID 0, without being a task.
func fromSlurm(env variables) (*World, error) {
	n := numbers{variables: env}
	if !env.has("SLURM_STEP_ID") {
		if n.number("SLURM_NTASKS", 1) > 1 {
			return nil, fmt.Errorf("SLURM_NTASKS=%s, and this process is none of Slurm's tasks: start it with srun; for one "+
				"process among the job's tasks: srun --ntasks=1 thaw train SPEC", env.get("SLURM_NTASKS"))
		}
		return nil, nil
	}
	const help = "srun sets them; start this process with srun, in an environment that it has not been taken out of"
	w := &World{Size: n.number("SLURM_STEP_NUM_TASKS", 0), By: bySlurm}
	if n.err == nil && w.Size == 1 {
		return nil, nil // alone, as without Slurm
	}
	var missing missing
	for _, name := range []string{
		"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_NUM_NODES",
		"SLURM_STEP_TASKS_PER_NODE", "SLURM_STEP_NODELIST", "SLURM_JOB_ID",
	} {
		missing.add(!env.has(name), name)
	}
	if err := missing.err("Slurm's variables of this step", help); err != nil {
		return nil, err
	}
	w.Rank, w.LocalRank = n.number("SLURM_PROCID", 0), n.number("SLURM_LOCALID", 0)
	w.Node, w.Nodes = n.number("SLURM_NODEID", 0), n.number("SLURM_STEP_NUM_NODES", 0)
	w.Restart = n.number("SLURM_RESTART_COUNT", 0)
	job, step := n.number("SLURM_JOB_ID", 0), n.number("SLURM_STEP_ID", 0)
	w.Port = n.number("MASTER_PORT", stepPort(job, step))
	if n.err != nil {
		return nil, n.err
	}
	w.RunID = fmt.Sprintf("slurm-%d.%d.%d", job, step, w.Restart)
	counts, err := tasksPerNode(env.get("SLURM_STEP_TASKS_PER_NODE"))
	if err != nil {
		return nil, fmt.Errorf("SLURM_STEP_TASKS_PER_NODE: %w", err)
	}
	if w.Node < 0 || w.Node >= len(counts) {
		return nil, fmt.Errorf("SLURM_NODEID=%d with SLURM_STEP_TASKS_PER_NODE=%s: there is no such node", w.Node,
			env.get("SLURM_STEP_TASKS_PER_NODE"))
	}
	w.LocalSize = counts[w.Node]
	switch {
	case env.has("MASTER_ADDR"):
		w.Address = env.get("MASTER_ADDR")
	case w.Nodes == 1: // a node's name need not be one that is known to DNS
		w.Address = "127.0.0.1"
	default:
		nodes, err := Unfold(env.get("SLURM_STEP_NODELIST"))
		if err != nil {
			return nil, fmt.Errorf("SLURM_STEP_NODELIST: %w", err)
		}
		w.Address = nodes[0]
	}
	return w, w.check(names{
		"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE", "MASTER_ADDR", "MASTER_PORT",
	})
}

// stepPort is a port from 12000 to 31999, below those that Linux gives to outgoing connections. It is another one for
// each of 20000 jobs in a row and for the next steps of a job, so that two that share a node do not meet.
func stepPort(job, step int) int {
	const first, count = 12000, 20000
	return first + int((uint64(job)+7919*uint64(step))%count)
}

// slurmLocalSize is the number of a step's tasks on this node, where the step's rank and size are those given;
// otherwise 0.
func slurmLocalSize(env variables, rank, size int) int {
	if env.get("SLURM_PROCID") != strconv.Itoa(rank) || env.get("SLURM_STEP_NUM_TASKS") != strconv.Itoa(size) {
		return 0
	}
	counts, err := tasksPerNode(env.get("SLURM_STEP_TASKS_PER_NODE"))
	node, wrong := strconv.Atoi(env.get("SLURM_NODEID"))
	if err != nil || wrong != nil || node < 0 || node >= len(counts) {
		return 0
	}
	return counts[node]
}
