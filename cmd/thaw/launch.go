package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

type launchCmd struct {
	Nproc       string        `required:"" placeholder:"N" help:"Processes (ranks) on this machine: a number; gpu, one for each GPU; cpu, one for each CPU; auto, gpu where there are any and otherwise cpu."`
	MaxRestarts int           `default:"0" placeholder:"K" help:"How often all ranks are started again after one failed; give --resume-if-there, so that they go on."`
	LogDir      string        `placeholder:"DIR" help:"Keep what each rank prints, in DIR/rank0.log, DIR/rank1.log, ..."`
	Grace       time.Duration `default:"10s" help:"How long the other ranks have to end after one failed, before they are killed."`
	Nnodes      int           `default:"1" placeholder:"M" help:"Machines, on each of which this command is given with the same number of processes."`
	NodeRank    int           `default:"0" placeholder:"I" help:"Which of the machines this is, from 0."`
	MasterAddr  string        `placeholder:"HOST" help:"With several machines: the host name or address of machine 0."`
	MasterPort  int           `placeholder:"PORT" help:"With several machines: a port that is free on machine 0."`
	Command     []string      `arg:"" passthrough:"" name:"train SPEC|resume RUN" help:"The verb that the ranks run, with its arguments."`
}

func (*launchCmd) Help() string {
	return `Starts ranks of thaw train or thaw resume on this machine and looks after them, as torchrun does. Rank 0 writes here. Signals are passed on to all. When a rank fails, the others are ended, and the exit code is that of the one that failed first; it is 75 where all were stopped in order.

  thaw launch --nproc 2 train spec.yaml seed=3
  thaw launch --nproc auto --max-restarts 3 --log-dir logs -- train --resume-if-there spec.yaml out=runs/a

Under torchrun, Slurm's srun and Kubeflow's Trainer thaw train needs no thaw launch: docs/guide/distributed.md.`
}

func (c *launchCmd) Run(ctx context.Context, s streams) error {
	command := c.Command
	if command[0] == "--" {
		command = command[1:]
	}
	if verbs := []string{"train", "resume"}; len(command) == 0 || !slices.Contains(verbs, command[0]) {
		return usageError{fmt.Sprintf("launch: what several ranks can run is train SPEC or resume RUN, found %q",
			strings.Join(command, " "))}
	}
	n, err := launch.Processes("--nproc", c.Nproc, countGPUs)
	if err != nil {
		return usageError{"launch: " + err.Error()}
	}
	// An environment that is not complete is no launcher's: the ranks get their own.
	if w, err := launch.Find(launch.Flags{GPUs: countGPUs}, os.Getenv); err == nil && w.Size > 1 {
		return usageError{fmt.Sprintf("launch: %v: this process was started as one of several already; start thaw %s in its "+
			"place", w, strings.Join(command, " "))}
	}
	world := launch.World{
		LocalSize: n, Node: c.NodeRank, Nodes: c.Nnodes, Address: c.MasterAddr, Port: c.MasterPort, By: "thaw launch",
	}
	if world.Nodes == 1 && (world.Address != "" || world.Port != 0 || world.Node != 0) {
		return usageError{"launch: --node-rank, --master-addr and --master-port are for several machines: give --nnodes, " +
			"too"}
	}
	if world.Nodes > 1 && (world.Address == "" || world.Port == 0) {
		return usageError{"launch: with several machines give --master-addr, the host of machine 0, and --master-port, a " +
			"port that is free there"}
	}
	if world.Nodes > 1 && c.MaxRestarts > 0 {
		return usageError{"launch: --max-restarts is for one machine: the others would not know of a restart; torchrun " +
			"--max-restarts can do that"}
	}
	if world.Nodes < 1 || world.Node < 0 || world.Node >= world.Nodes || c.MaxRestarts < 0 || c.Grace <= 0 {
		return usageError{fmt.Sprintf("launch: --nnodes %d --node-rank %d --max-restarts %d --grace %v: there is one machine "+
			"or more, they count from 0, and restarts and time are not negative", c.Nnodes, c.NodeRank, c.MaxRestarts, c.Grace)}
	}
	return startRanks(ctx, s, launch.Local{
		World: world, Command: command, MaxRestarts: c.MaxRestarts, LogDir: c.LogDir, Grace: c.Grace,
	})
}

// startRanks starts ranks of this program on this machine, with the arguments l.Command, and returns when they have
// ended.
func startRanks(ctx context.Context, s streams, l launch.Local) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	l.Command = append([]string{self}, l.Command...)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGTSTP)
	defer signal.Stop(signals)
	l.Signals, l.Stdout, l.Stderr = signals, asFile(s.out), asFile(s.err)
	if err := l.Run(context.WithoutCancel(ctx)); err != nil { // the signal that ends ctx is among signals
		return fmt.Errorf("launch: %w", err)
	}
	return nil
}

// asFile is the file that w writes to; nil where it is none.
func asFile(w io.Writer) *os.File {
	switch w := w.(type) {
	case *os.File:
		return w
	case *printed:
		return w.file
	}
	return nil
}
