// Package launch tells which of the processes that train together this one is, as its launcher says (torchrun,
// Kubeflow's Trainer, Slurm, flags), and starts such processes on one node.
//
// The contract of each launcher is a set of environment variables. Find reads them and refuses a set of which a part is
// missing: a process that took itself for the only one would train the same run beside the others, and one that took
// itself for one of several would wait for ever.
package launch

import (
	"fmt"
	"strings"
)

// World says where this process stands among those that train together.
type World struct {
	Rank, Size           int // among all processes
	LocalRank, LocalSize int // among those of this node
	Node, Nodes          int

	// Address is the host of the store, that of rank 0; Port is its port. Neither counts where Size is 1.
	Address string
	Port    int

	// AgentStore says that the launcher serves the store: rank 0 connects as a client as well, as the others do.
	AgentStore bool

	// Starter says that this process is none of the ranks: it is to start LocalSize of them, see [Local]. Rank is that
	// of the first of them.
	Starter bool

	By      string // who said so, for a line to print: "torchrun", "Slurm", "PET_ variables"; "" for a single process
	Restart int    // how often the launcher has started all ranks again

	// RunID is the same on all ranks of one start and another on the next start, where the launcher has such a thing;
	// "" where it has none.
	RunID string
}

// Flags are what a command line says. They win over the environment.
type Flags struct {
	Rank, LocalRank *int // nil where not given
	Size, LocalSize int  // 0 where not given
	Address         string
	Port            int

	// GPUs counts the GPUs of this node. It is asked only where PET_NPROC_PER_NODE is auto or gpu; nil stands for none.
	GPUs func() int
}

// Find says which process this is. Flags come first, then RANK and WORLD_SIZE, which torchrun sets (and PyTorchJob, and
// sites), then the PET_ variables of Kubeflow's Trainer, then a step of Slurm's; without any of them the process is
// alone.
//
// RANK wins over PET_, since torchrun leaves the PET_ variables that it was told with in its ranks' environment; and
// both win over Slurm, since torchrun and thaw launch run within Slurm's tasks.
//
// An error says which variable or flag is missing or wrong, and what to set.
func Find(flags Flags, getenv func(string) string) (World, error) {
	env := variables{getenv}
	for _, find := range []func() (*World, error){
		func() (*World, error) { return fromFlags(flags) },
		func() (*World, error) { return fromRanks(env) },
		func() (*World, error) { return fromPET(env, flags.GPUs) },
		func() (*World, error) { return fromSlurm(env) },
	} {
		w, err := find()
		if err != nil {
			return World{}, err
		}
		if w != nil {
			return *w, nil
		}
	}
	return World{Size: 1, LocalSize: 1, Nodes: 1}, nil
}

// String is a line to print, as in "rank 1 of 4 · node 0 of 2 · local rank 1 of 2 · store at n0:29500 · Slurm".
func (w World) String() string {
	parts := []string{fmt.Sprintf("rank %d of %d", w.Rank, w.Size)}
	if w.Starter {
		parts[0] = fmt.Sprintf("starts ranks %d to %d of %d", w.Rank, w.Rank+w.LocalSize-1, w.Size)
	}
	if w.Nodes > 1 {
		parts = append(parts, fmt.Sprintf("node %d of %d", w.Node, w.Nodes))
	}
	if w.LocalSize > 1 && w.LocalSize != w.Size && !w.Starter {
		parts = append(parts, fmt.Sprintf("local rank %d of %d", w.LocalRank, w.LocalSize))
	}
	if w.Size > 1 && w.Address != "" {
		parts = append(parts, fmt.Sprintf("store at %s:%d", w.Address, w.Port))
	}
	if w.By != "" {
		parts = append(parts, w.By)
	}
	return strings.Join(parts, " · ")
}

// Environ are the variables by which Find knows a rank as torchrun's, for who starts ranks in a way of his own.
func (w World) Environ() []string {
	return []string{
		fmt.Sprint("RANK=", w.Rank), fmt.Sprint("WORLD_SIZE=", w.Size), fmt.Sprint("LOCAL_RANK=", w.LocalRank),
		fmt.Sprint("LOCAL_WORLD_SIZE=", w.LocalSize), "MASTER_ADDR=" + w.Address, fmt.Sprint("MASTER_PORT=", w.Port),
	}
}

// names are what a launcher calls the parts of a World, for errors.
type names struct {
	rank, size, localRank, localSize, address, port string
}

// check finds what cannot be in a world that was put together of numbers each of which is one.
func (w *World) check(n names) error {
	switch {
	case w.Size < 1:
		return fmt.Errorf("%s=%d: there is at least one process", n.size, w.Size)
	case w.LocalSize < 1:
		return fmt.Errorf("%s=%d: there is at least one process on this node", n.localSize, w.LocalSize)
	case w.Rank < 0 || w.Rank >= w.Size:
		return fmt.Errorf("%s=%d with %s=%d: ranks count from 0 to %d", n.rank, w.Rank, n.size, w.Size, w.Size-1)
	case w.LocalRank < 0 || w.LocalRank >= w.LocalSize:
		return fmt.Errorf("%s=%d with %s=%d: local ranks count from 0 to %d", n.localRank, w.LocalRank, n.localSize,
			w.LocalSize, w.LocalSize-1)
	case w.LocalSize > w.Size:
		return fmt.Errorf("%s=%d with %s=%d: a node cannot have more processes than there are", n.localSize, w.LocalSize,
			n.size, w.Size)
	case w.LocalRank > w.Rank:
		return fmt.Errorf("%s=%d with %s=%d: a process's rank is at least its local rank", n.localRank, w.LocalRank,
			n.rank, w.Rank)
	case w.Size > 1 && (w.Port < 1 || w.Port > 65535):
		return fmt.Errorf("%s=%d is no port: take one of 1024 to 65535, free on the node of rank 0", n.port, w.Port)
	case w.Size > 1 && w.Address == "":
		return fmt.Errorf("%s is missing: the host of rank 0", n.address)
	}
	return nil
}

func fromFlags(f Flags) (*World, error) {
	if f.Rank == nil && f.LocalRank == nil && f.Size == 0 && f.LocalSize == 0 && f.Address == "" && f.Port == 0 {
		return nil, nil
	}
	const help = "each process wants --rank, --world-size, --master-addr and --master-port, and --local-rank and " +
		"--local-world-size where a node has several"
	var missing missing
	missing.add(f.Rank == nil, "--rank")
	missing.add(f.Size == 0, "--world-size")
	missing.add(f.Size > 1 && f.Address == "", "--master-addr")
	missing.add(f.Size > 1 && f.Port == 0, "--master-port")
	missing.add(f.LocalSize != 0 && f.LocalRank == nil, "--local-rank")
	missing.add(f.LocalRank != nil && f.LocalSize == 0, "--local-world-size")
	if err := missing.err("the flags", help); err != nil {
		return nil, err
	}
	w := &World{Rank: *f.Rank, Size: f.Size, LocalSize: 1, Address: f.Address, Port: f.Port, By: "flags"}
	if f.LocalRank != nil {
		w.LocalRank, w.LocalSize = *f.LocalRank, f.LocalSize
	}
	n := names{"--rank", "--world-size", "--local-rank", "--local-world-size", "--master-addr", "--master-port"}
	if err := w.check(n); err != nil {
		return nil, err
	}
	w.Node, w.Nodes = w.Rank/w.LocalSize, (w.Size+w.LocalSize-1)/w.LocalSize
	return w, nil
}
