package launch_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

// environment reads "NAME=value NAME=value ...", in which a later one wins and "NAME=" takes one away.
func environment(text string) func(string) string {
	set := map[string]string{}
	for _, entry := range strings.Fields(text) {
		name, value, _ := strings.Cut(entry, "=")
		set[name] = value
	}
	return func(name string) string { return set[name] }
}

// What launchers set, as they were seen to.
const (
	// torchrun of torch 2.11.0, --standalone --nproc-per-node 2: rank 1.
	torchrun = `GROUP_RANK=0 GROUP_WORLD_SIZE=1 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=44601 OMP_NUM_THREADS=1 RANK=1
		ROLE_NAME=default ROLE_RANK=1 ROLE_WORLD_SIZE=2 TORCHELASTIC_ERROR_FILE=/tmp/e/attempt_0/1/error.json TORCHELASTIC_MAX_RESTARTS=2
		TORCHELASTIC_RESTART_COUNT=1 TORCHELASTIC_RUN_ID=660e599a TORCHELASTIC_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT
		TORCHELASTIC_USE_AGENT_STORE=True TORCH_NCCL_ASYNC_ERROR_HANDLING=1 WORLD_SIZE=2`
	// Two of them with PET_ variables, two ranks each: the last rank.
	torchrunOfTrainer = `GROUP_RANK=1 GROUP_WORLD_SIZE=2 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29512 OMP_NUM_THREADS=1
		PET_MASTER_ADDR=127.0.0.1 PET_MASTER_PORT=29512 PET_NNODES=2 PET_NODE_RANK=1 PET_NPROC_PER_NODE=2 RANK=3 ROLE_NAME=default ROLE_RANK=3
		ROLE_WORLD_SIZE=4 TORCHELASTIC_ERROR_FILE=/tmp/e/attempt_0/1/error.json TORCHELASTIC_MAX_RESTARTS=0 TORCHELASTIC_RESTART_COUNT=0
		TORCHELASTIC_RUN_ID=none TORCHELASTIC_USE_AGENT_STORE=True TORCH_NCCL_ASYNC_ERROR_HANDLING=1 WORLD_SIZE=4`
	// What Trainer 2.3.0 makes of a TrainJob of two nodes, in the second node's container.
	trainJob = `PET_NNODES=2 PET_NPROC_PER_NODE=4 PET_NODE_RANK=1 PET_MASTER_ADDR=thaw-node-0-0.thaw PET_MASTER_PORT=29500`
	// srun -N2 --ntasks-per-node=2 of Slurm 22.05.8: the last task.
	slurmStep = `SLURMD_NODENAME=n1 SLURM_CPUS_ON_NODE=2 SLURM_GTIDS=2,3 SLURM_JOBID=1 SLURM_JOB_CPUS_PER_NODE=2(x2) SLURM_JOB_ID=1 SLURM_JOB_NODELIST=n[0-1]
		SLURM_JOB_NUM_NODES=2 SLURM_LAUNCH_NODE_IPADDR=127.0.0.1 SLURM_LOCALID=1 SLURM_NNODES=2 SLURM_NODEID=1 SLURM_NODELIST=n[0-1] SLURM_NPROCS=4
		SLURM_NTASKS=4 SLURM_NTASKS_PER_NODE=2 SLURM_PROCID=3 SLURM_STEPID=0 SLURM_STEP_ID=0 SLURM_STEP_NODELIST=n[0-1] SLURM_STEP_NUM_NODES=2
		SLURM_STEP_NUM_TASKS=4 SLURM_STEP_TASKS_PER_NODE=2(x2) SLURM_TASKS_PER_NODE=2(x2)`
	// A batch script with --nodes=2 --ntasks-per-node=2, which is none of the tasks.
	slurmBatch = `SLURM_CPUS_ON_NODE=2 SLURM_JOB_ID=4 SLURM_JOB_NODELIST=n[0-1] SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=4 SLURM_NTASKS_PER_NODE=2
		SLURM_PROCID=0 SLURM_TASKS_PER_NODE=2(x2)`
	// What PyTorchJob of Kubeflow's training operator sets in its first worker, RANK being the number of the pod.
	pytorchJob = `MASTER_ADDR=job-master-0 MASTER_PORT=23456 WORLD_SIZE=2 RANK=1 PET_NNODES=2 PET_NODE_RANK=1`
)

func TestFind(t *testing.T) {
	single := launch.World{Size: 1, LocalSize: 1, Nodes: 1}
	ofTorchrun := launch.World{Rank: 1, Size: 2, LocalRank: 1, LocalSize: 2, Nodes: 1, Address: "localhost", Port: 44601, AgentStore: true,
		By: "torchrun", Restart: 1, RunID: "660e599a.1"}
	ofSlurm := launch.World{Rank: 3, Size: 4, LocalRank: 1, LocalSize: 2, Node: 1, Nodes: 2, Address: "n0", Port: 12001, By: "Slurm", RunID: "slurm-1.0.0"}
	ofFlags := launch.World{Rank: 2, Size: 4, LocalSize: 2, Node: 1, Nodes: 2, Address: "host0", Port: 29500, By: "flags"}
	flags := launch.Flags{Rank: new(2), Size: 4, LocalRank: new(0), LocalSize: 2, Address: "host0", Port: 29500}
	starter := launch.World{Rank: 4, Size: 8, LocalSize: 4, Node: 1, Nodes: 2, Address: "thaw-node-0-0.thaw", Port: 29500, Starter: true, By: "PET_ variables"}
	with := func(w launch.World, change func(*launch.World)) launch.World { change(&w); return w }
	for _, c := range []struct {
		name  string
		flags launch.Flags
		env   string
		want  launch.World
	}{
		{"alone", launch.Flags{}, "", single},
		{"alone, with what sites export", launch.Flags{}, "MASTER_ADDR=localhost MASTER_PORT=29500 WORLD_SIZE=1", single},
		{"torchrun", launch.Flags{}, torchrun, ofTorchrun},
		{"torchrun without a name of the run", launch.Flags{}, torchrun + " TORCHELASTIC_RUN_ID=none", with(ofTorchrun, func(w *launch.World) { w.RunID = "" })},
		{"torchrun of one process", launch.Flags{}, "RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 TORCHELASTIC_RUN_ID=none",
			launch.World{Size: 1, LocalSize: 1, Nodes: 1, By: "torchrun"}},
		{"torchrun, told by PET_ variables", launch.Flags{}, torchrunOfTrainer, launch.World{Rank: 3, Size: 4, LocalRank: 1, LocalSize: 2, Node: 1, Nodes: 2,
			Address: "127.0.0.1", Port: 29512, AgentStore: true, By: "torchrun"}},
		{"torchrun in a task of Slurm's", launch.Flags{}, slurmStep + " " + torchrun, ofTorchrun},
		{"flags win", flags, torchrun, ofFlags},
		{"flags without a local rank", launch.Flags{Rank: new(1), Size: 2, Address: "host0", Port: 29500}, "",
			launch.World{Rank: 1, Size: 2, LocalSize: 1, Node: 1, Nodes: 2, Address: "host0", Port: 29500, By: "flags"}},
		{"flags of one process", launch.Flags{Rank: new(0), Size: 1}, torchrun, with(single, func(w *launch.World) { w.By = "flags" })},
		{"PyTorchJob", launch.Flags{}, pytorchJob, launch.World{Rank: 1, Size: 2, LocalSize: 1, Node: 1, Nodes: 2, Address: "job-master-0", Port: 23456,
			By: "RANK and WORLD_SIZE"}},
		{"PyTorchJob, auto", launch.Flags{GPUs: gpus(8)}, pytorchJob + " PET_NPROC_PER_NODE=auto",
			launch.World{Rank: 1, Size: 2, LocalSize: 1, Node: 1, Nodes: 2, Address: "job-master-0", Port: 23456, By: "RANK and WORLD_SIZE"}},
		{"PyTorchJob of pods with several", launch.Flags{}, pytorchJob + " PET_NPROC_PER_NODE=4 WORLD_SIZE=8", with(starter, func(w *launch.World) {
			w.Address, w.Port = "job-master-0", 23456
		})},
		{"a TrainJob starts ranks", launch.Flags{}, trainJob, starter},
		{"a TrainJob, auto, GPUs", launch.Flags{GPUs: gpus(4)}, trainJob + " PET_NPROC_PER_NODE=auto", starter},
		{"a TrainJob, gpu", launch.Flags{GPUs: gpus(4)}, trainJob + " PET_NPROC_PER_NODE=gpu PET_NNODES=2:2", starter},
		{"a TrainJob, one GPU a node", launch.Flags{GPUs: gpus(1)}, trainJob + " PET_NPROC_PER_NODE=auto", launch.World{Rank: 1, Size: 2, LocalSize: 1,
			Node: 1, Nodes: 2, Address: "thaw-node-0-0.thaw", Port: 29500, By: "PET_ variables"}},
		{"a TrainJob of one node", launch.Flags{}, "PET_NNODES=1 PET_NPROC_PER_NODE=3 PET_NODE_RANK=0 PET_MASTER_ADDR=thaw-node-0-0.thaw PET_MASTER_PORT=29500",
			launch.World{Size: 3, LocalSize: 3, Nodes: 1, Starter: true, By: "PET_ variables"}},
		{"a TrainJob of one process", launch.Flags{}, "PET_NNODES=1 PET_NPROC_PER_NODE=1 PET_NODE_RANK=0", launch.World{Size: 1, LocalSize: 1, Nodes: 1,
			By: "PET_ variables"}},
		{"a step", launch.Flags{}, slurmStep, ofSlurm},
		{"a step of a job that came back", launch.Flags{}, slurmStep + " SLURM_RESTART_COUNT=2", with(ofSlurm, func(w *launch.World) {
			w.Restart, w.RunID = 2, "slurm-1.0.2"
		})},
		{"the site's address", launch.Flags{}, slurmStep + " MASTER_ADDR=n0.example MASTER_PORT=29500", with(ofSlurm, func(w *launch.World) {
			w.Address, w.Port = "n0.example", 29500
		})},
		{"another step, on one node", launch.Flags{}, slurmStep + ` SLURM_STEP_ID=1 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=1
			SLURM_STEP_TASKS_PER_NODE=2 SLURM_STEP_NODELIST=n0 SLURM_PROCID=1 SLURM_NODEID=0`,
			launch.World{Rank: 1, Size: 2, LocalRank: 1, LocalSize: 2, Nodes: 1, Address: "127.0.0.1", Port: 19920, By: "Slurm", RunID: "slurm-1.1.0"}},
		{"nodes with unequal numbers of tasks", launch.Flags{}, slurmStep + " SLURM_STEP_NUM_TASKS=3 SLURM_STEP_TASKS_PER_NODE=2,1 SLURM_PROCID=2 SLURM_LOCALID=0",
			with(ofSlurm, func(w *launch.World) { w.Rank, w.Size, w.LocalRank, w.LocalSize = 2, 3, 0, 1 })},
		{"a step of one task in a job of four", launch.Flags{}, slurmStep + " SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", single},
		{"a batch script of one task", launch.Flags{}, "SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_JOB_ID=4", single},
		{"enroot's hook in a step", launch.Flags{}, slurmStep + " RANK=3 LOCAL_RANK=1 WORLD_SIZE=4 MASTER_ADDR=n0 MASTER_PORT=29500",
			with(ofSlurm, func(w *launch.World) { w.Port, w.By, w.RunID = 29500, "RANK and WORLD_SIZE", "" })},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := launch.Find(c.flags, environment(c.env))
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func gpus(n int) func() int { return func() int { return n } }

// As many CPUs as this process may use.
func TestFindAutoWithoutGPU(t *testing.T) {
	for _, text := range []string{"auto", "cpu"} {
		got, err := launch.Find(launch.Flags{GPUs: gpus(0)}, environment(trainJob+" PET_NPROC_PER_NODE="+text))
		require.NoError(t, err)
		assert.Equal(t, launch.CPUs(), got.LocalSize)
		assert.Equal(t, 2*launch.CPUs(), got.Size)
	}
}

func TestFindRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags launch.Flags
		env   string
		want  string // a part of the error
	}{
		{"a rank alone", launch.Flags{}, "RANK=1", "lack WORLD_SIZE, MASTER_ADDR and MASTER_PORT: a launcher such as torchrun sets"},
		{"rank 0 alone", launch.Flags{}, "RANK=0", "lack WORLD_SIZE"},
		{"a size alone", launch.Flags{}, "WORLD_SIZE=2", "lack RANK, MASTER_ADDR and MASTER_PORT"},
		{"no port", launch.Flags{}, torchrun + " MASTER_PORT=", "lack MASTER_PORT: "},
		{"no local rank", launch.Flags{}, torchrun + " LOCAL_RANK=", "lack LOCAL_RANK: "},
		{"no local size", launch.Flags{}, torchrun + " LOCAL_WORLD_SIZE=", "lack LOCAL_WORLD_SIZE: "},
		{"a word for a rank", launch.Flags{}, torchrun + " RANK=one", "RANK=one is no whole number"},
		{"a rank too high", launch.Flags{}, torchrun + " RANK=2", "RANK=2 with WORLD_SIZE=2: ranks count from 0 to 1"},
		{"a rank below 0", launch.Flags{}, torchrun + " RANK=-1", "RANK=-1 with WORLD_SIZE=2"},
		{"a local rank too high", launch.Flags{}, torchrun + " LOCAL_RANK=2", "LOCAL_RANK=2 with LOCAL_WORLD_SIZE=2: local ranks count from 0 to 1"},
		{"a local rank above the rank", launch.Flags{}, torchrun + " RANK=0", "LOCAL_RANK=1 with RANK=0"},
		{"more on a node than there are", launch.Flags{}, torchrun + " LOCAL_WORLD_SIZE=3", "LOCAL_WORLD_SIZE=3 with WORLD_SIZE=2"},
		{"no processes", launch.Flags{}, torchrun + " WORLD_SIZE=0", "WORLD_SIZE=0: there is at least one process"},
		{"a port too high", launch.Flags{}, torchrun + " MASTER_PORT=70000", "MASTER_PORT=70000 is no port"},
		{"flags without a size", launch.Flags{Rank: new(0)}, "", "the flags lack --world-size: each process wants"},
		{"flags without a rank", launch.Flags{Size: 2, Port: 29500}, torchrun, "the flags lack --rank and --master-addr: "},
		{"half of the local flags", launch.Flags{Rank: new(0), Size: 2, LocalRank: new(0), Address: "h", Port: 1}, "", "the flags lack --local-world-size"},
		{"flags that do not fit", launch.Flags{Rank: new(4), Size: 4, Address: "h", Port: 1}, "", "--rank=4 with --world-size=4"},
		{"a TrainJob's node without its number", launch.Flags{}, trainJob + " PET_NODE_RANK= PET_MASTER_PORT=",
			"the PET_ variables lack PET_NODE_RANK and PET_MASTER_PORT: Kubeflow's Trainer sets"},
		{"a TrainJob's node without the master", launch.Flags{}, trainJob + " PET_MASTER_ADDR=", "lack PET_MASTER_ADDR: "},
		{"a node too high", launch.Flags{}, trainJob + " PET_NODE_RANK=2", "PET_NODE_RANK=2 with PET_NNODES=2: nodes count from 0 to 1"},
		{"nodes to be settled", launch.Flags{}, trainJob + " PET_NNODES=1:4", "PET_NNODES=1:4 leaves the number of nodes open"},
		{"nodes that are no number", launch.Flags{}, trainJob + " PET_NNODES=two", "PET_NNODES=two is no number of nodes"},
		{"nodes the wrong way round", launch.Flags{}, trainJob + " PET_NNODES=3:2", "PET_NNODES=3:2 is no number of nodes"},
		{"elastic", launch.Flags{}, "PET_NNODES=2 PET_RDZV_ENDPOINT=h:1 PET_RDZV_BACKEND=c10d", "start torchrun --no-python thaw train SPEC"},
		{"no GPU", launch.Flags{}, trainJob + " PET_NPROC_PER_NODE=gpu", "PET_NPROC_PER_NODE=gpu: this node has no GPU"},
		{"no number of processes", launch.Flags{}, trainJob + " PET_NPROC_PER_NODE=0", "PET_NPROC_PER_NODE=0 is no number of processes"},
		{"a master's port", launch.Flags{}, trainJob + " PET_MASTER_PORT=0", "PET_MASTER_PORT=0 is no port"},
		{"a batch script", launch.Flags{}, slurmBatch, "SLURM_NTASKS=4, and this process is none of Slurm's tasks: start it with srun"},
		{"a step without tasks", launch.Flags{}, slurmStep + " SLURM_STEP_NUM_TASKS= SLURM_LOCALID=",
			"Slurm's variables of this step lack SLURM_STEP_NUM_TASKS and SLURM_LOCALID: srun sets them"},
		{"a task too high", launch.Flags{}, slurmStep + " SLURM_PROCID=4", "SLURM_PROCID=4 with SLURM_STEP_NUM_TASKS=4"},
		{"a node that is none", launch.Flags{}, slurmStep + " SLURM_NODEID=2", "SLURM_NODEID=2 with SLURM_STEP_TASKS_PER_NODE=2(x2): there is no such node"},
		{"tasks that are no list", launch.Flags{}, slurmStep + " SLURM_STEP_TASKS_PER_NODE=2(x", "SLURM_STEP_TASKS_PER_NODE"},
		{"nodes that are no list", launch.Flags{}, slurmStep + " SLURM_STEP_NODELIST=n[0-", "SLURM_STEP_NODELIST: node list"},
		{"a site's port", launch.Flags{}, slurmStep + " MASTER_PORT=http", "MASTER_PORT=http is no whole number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := launch.Find(c.flags, environment(c.env))
			assert.ErrorContains(t, err, c.want)
			assert.Zero(t, got)
		})
	}
}

func TestString(t *testing.T) {
	for env, want := range map[string]string{
		"":                "rank 0 of 1",
		torchrun:          "rank 1 of 2 · store at localhost:44601 · torchrun",
		torchrunOfTrainer: "rank 3 of 4 · node 1 of 2 · local rank 1 of 2 · store at 127.0.0.1:29512 · torchrun",
		trainJob:          "starts ranks 4 to 7 of 8 · node 1 of 2 · store at thaw-node-0-0.thaw:29500 · PET_ variables",
		slurmStep:         "rank 3 of 4 · node 1 of 2 · local rank 1 of 2 · store at n0:12001 · Slurm",
	} {
		w, err := launch.Find(launch.Flags{}, environment(env))
		require.NoError(t, err)
		assert.Equal(t, want, w.String())
	}
}

// Two jobs, and two steps of a job, do not take the same port, nor one that is given to outgoing connections.
func TestPortOfStep(t *testing.T) {
	seen := map[int]bool{}
	for _, job := range []string{"1", "2", "3", "4000000000"} {
		for _, step := range []string{"0", "1", "2"} {
			w, err := launch.Find(launch.Flags{}, environment(slurmStep+" SLURM_JOB_ID="+job+" SLURM_STEP_ID="+step))
			require.NoError(t, err)
			assert.False(t, seen[w.Port], "job %s step %s: port %d", job, step, w.Port)
			assert.GreaterOrEqual(t, w.Port, 12000)
			assert.Less(t, w.Port, 32768)
			seen[w.Port] = true
		}
	}
}

func TestThreads(t *testing.T) {
	cpus := launch.CPUs()
	for _, c := range []struct {
		env  string
		want int
	}{
		{"", 0},
		{torchrun, 0}, // OMP_NUM_THREADS
		{torchrun + " OMP_NUM_THREADS=", max(1, cpus/2)},
		{torchrun + " OMP_NUM_THREADS= MKL_NUM_THREADS=3", 0},
		{pytorchJob, 0},
		{slurmStep, 1},
		{slurmStep + " SLURM_CPUS_PER_TASK=1", 1},
		{slurmStep + " SLURM_CPUS_PER_TASK=1000", cpus},
		{slurmStep + " SLURM_CPUS_PER_TASK=zero", 1},
	} {
		w, err := launch.Find(launch.Flags{}, environment(c.env))
		require.NoError(t, err)
		assert.Equal(t, c.want, w.Threads(environment(c.env)), c.env)
	}
}
