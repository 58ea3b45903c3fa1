package launch

// Threads is the number of CPU threads that this rank is to use, so that the ranks of a node share its CPUs; 0 leaves
// libtorch its own number, since the rank is alone on its node or the environment says one (OMP_NUM_THREADS,
// MKL_NUM_THREADS, as torchrun and Local set it). A task of Slurm's has its --cpus-per-task, or else an equal share of
// its node's.
func (w World) Threads(getenv func(string) string) int {
	env := variables{getenv}
	if w.LocalSize < 2 || env.has("OMP_NUM_THREADS") || env.has("MKL_NUM_THREADS") {
		return 0
	}
	cpus := CPUs()
	if w.By != bySlurm {
		return max(1, cpus/w.LocalSize)
	}
	n := numbers{variables: env}
	share := n.number("SLURM_CPUS_PER_TASK", n.number("SLURM_CPUS_ON_NODE", cpus)/w.LocalSize)
	return max(1, min(cpus, share)) // Slurm may have bound the task to its share already, or to none
}
