package launch

// byVariable tells a rank that Local started by whom, since Local sets the variables of torchrun.
const byVariable = "THAW_LAUNCHED_BY"

// fromRanks reads the variables that torchrun sets for each rank, that PyTorchJob sets for each pod, and that users and
// sites set by hand (enroot's hook for PyTorch): RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, and LOCAL_RANK,
// LOCAL_WORLD_SIZE where a node has several ranks.
func fromRanks(env variables) (*World, error) {
	const help = "a launcher such as torchrun sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; to train alone, unset RANK " +
		"and WORLD_SIZE"
	if !env.has("RANK") && (!env.has("WORLD_SIZE") || env.get("WORLD_SIZE") == "1") || podOfSeveral(env) {
		return nil, nil
	}
	n := numbers{variables: env}
	w := &World{
		Rank: n.number("RANK", 0), Size: n.number("WORLD_SIZE", 0),
		LocalRank: n.number("LOCAL_RANK", 0), LocalSize: n.number("LOCAL_WORLD_SIZE", 0),
		Address: env.get("MASTER_ADDR"), Port: n.number("MASTER_PORT", 0),
		AgentStore: env.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
		Restart:    n.number("TORCHELASTIC_RESTART_COUNT", 0),
		By:         "RANK and WORLD_SIZE",
	}
	if n.err != nil {
		return nil, n.err
	}
	several := !env.has("WORLD_SIZE") || w.Size > 1
	var missing missing
	missing.add(!env.has("RANK"), "RANK")
	missing.add(!env.has("WORLD_SIZE"), "WORLD_SIZE")
	missing.add(several && w.Address == "", "MASTER_ADDR")
	missing.add(several && !env.has("MASTER_PORT"), "MASTER_PORT")
	switch {
	case env.has("LOCAL_WORLD_SIZE"):
		missing.add(!env.has("LOCAL_RANK"), "LOCAL_RANK")
	case !env.has("LOCAL_RANK") || w.Size == 1: // a pod of PyTorchJob's
		w.LocalSize = 1
	default:
		if w.LocalSize = slurmLocalSize(env, w.Rank, w.Size); w.LocalSize == 0 {
			missing.add(true, "LOCAL_WORLD_SIZE")
		}
	}
	if err := missing.err("RANK and its like", help); err != nil {
		return nil, err
	}
	names := names{"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
	if err := w.check(names); err != nil {
		return nil, err
	}
	w.Node = n.number("GROUP_RANK", w.Rank/w.LocalSize)
	w.Nodes = n.number("GROUP_WORLD_SIZE", (w.Size+w.LocalSize-1)/w.LocalSize)
	if id := env.get("TORCHELASTIC_RUN_ID"); id != "" {
		w.By = "torchrun"
		if id != "none" { // what torchrun calls a run that was given no name
			w.RunID = id + "." + env.get("TORCHELASTIC_RESTART_COUNT")
		}
	}
	if by := env.get(byVariable); by != "" {
		w.By = by
	}
	return w, n.err
}

// podOfSeveral reports whether RANK is the number of a pod, as PyTorchJob sets it, that is to start several ranks
// itself: then the PET_ variables beside it say more. A rank that torchrun started has LOCAL_RANK. Where PyTorchJob
// says auto, it counts one rank for each pod.
func podOfSeveral(env variables) bool {
	n := numbers{variables: env}
	nodes, perNode := n.number("PET_NNODES", 0), n.number("PET_NPROC_PER_NODE", 0)
	return n.err == nil && !env.has("LOCAL_RANK") && perNode > 1 && n.number("WORLD_SIZE", 0) == nodes*perNode &&
		env.get("RANK") == env.get("PET_NODE_RANK")
}
