package launch

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/cgroup"
)

// fromPET reads the variables by which Kubeflow's Trainer tells a node's torchrun what to do. Where a node has one
// rank, this process is it; where a node has several, this process is to start them.
func fromPET(env variables, gpus func() int) (*World, error) {
	if !env.has("PET_NNODES") && !env.has("PET_NPROC_PER_NODE") {
		return nil, nil
	}
	const help = "Kubeflow's Trainer sets PET_NNODES, PET_NPROC_PER_NODE, PET_NODE_RANK, PET_MASTER_ADDR and PET_MASTER_PORT " +
		"on every node; to train alone, unset PET_NNODES and PET_NPROC_PER_NODE"
	nodes, err := petNodes(env.get("PET_NNODES"))
	if err != nil {
		return nil, err
	}
	perNode, err := Processes("PET_NPROC_PER_NODE", env.get("PET_NPROC_PER_NODE"), gpus)
	if err != nil {
		return nil, err
	}
	if nodes > 1 && env.has("PET_RDZV_ENDPOINT") && !env.has("PET_MASTER_ADDR") {
		return nil, fmt.Errorf("PET_RDZV_ENDPOINT=%s asks for torchrun's elastic rendezvous, which only torchrun has: "+
			"start torchrun --no-python thaw train SPEC, or leave the elastic policy out", env.get("PET_RDZV_ENDPOINT"))
	}
	address, port := "PET_MASTER_ADDR", "PET_MASTER_PORT"
	if !env.has(address) && env.has("MASTER_ADDR") { // PyTorchJob's
		address, port = "MASTER_ADDR", "MASTER_PORT"
	}
	var missing missing
	missing.add(nodes > 1 && !env.has("PET_NODE_RANK"), "PET_NODE_RANK")
	missing.add(nodes > 1 && !env.has(address), address)
	missing.add(nodes > 1 && !env.has(port), port)
	if err := missing.err("the PET_ variables", help); err != nil {
		return nil, err
	}
	n := numbers{variables: env}
	w := &World{
		Node: n.number("PET_NODE_RANK", 0), Nodes: nodes, LocalSize: perNode, Size: nodes * perNode,
		Address: env.get(address), Port: n.number(port, 0), Starter: perNode > 1, By: "PET_ variables",
	}
	if n.err != nil {
		return nil, n.err
	}
	if w.Node < 0 || w.Node >= nodes {
		return nil, fmt.Errorf("PET_NODE_RANK=%d with PET_NNODES=%d: nodes count from 0 to %d", w.Node, nodes, nodes-1)
	}
	w.Rank = w.Node * perNode
	if nodes == 1 && w.Starter { // Local takes a free port of this node
		w.Address, w.Port = "", 0
		return w, nil
	}
	return w, w.check(names{address: address, port: port})
}

// petNodes reads a number of nodes as torchrun does: "2", or "2:2" for at least and at most.
func petNodes(text string) (int, error) {
	if text == "" {
		return 1, nil
	}
	low, high, ranged := strings.Cut(text, ":")
	least, err := strconv.Atoi(low)
	most := least
	if err == nil && ranged {
		most, err = strconv.Atoi(high)
	}
	if err != nil || least < 1 || most < least {
		return 0, fmt.Errorf("PET_NNODES=%s is no number of nodes, such as 2", text)
	}
	if least != most {
		return 0, fmt.Errorf("PET_NNODES=%s leaves the number of nodes open, which only torchrun's elastic rendezvous "+
			"settles: set one number, or start torchrun --no-python thaw train SPEC", text)
	}
	return least, nil
}

// Processes is the number of processes of a node that a text asks for, as torchrun reads it: a number; gpu, one for
// each GPU; cpu, one for each CPU that this process may use; auto, which is gpu where there are any, and cpu otherwise.
// What is empty is one. Errors begin with name, that of the flag or variable that says so.
func Processes(name, text string, gpus func() int) (int, error) {
	count := 0
	if gpus != nil && (text == "auto" || text == "gpu") {
		count = gpus()
	}
	switch text {
	case "":
		return 1, nil
	case "gpu":
		if count == 0 {
			return 0, fmt.Errorf("%s=gpu: this node has no GPU; give a number, or cpu", name)
		}
		return count, nil
	case "auto":
		if count > 0 {
			return count, nil
		}
		return CPUs(), nil
	case "cpu":
		return CPUs(), nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s=%s is no number of processes: give a number from 1, auto, gpu or cpu", name, text)
	}
	return n, nil
}

// CPUs is the number of CPUs that this process may use, by its affinity and its control group.
func CPUs() int { return cgroup.Read().Threads(runtime.NumCPU()) }
