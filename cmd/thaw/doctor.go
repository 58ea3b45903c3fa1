package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print one JSON object: thaw, libtorch, libtorch_path, go, cpu_capability, cores, threads, cuda, problems."`
}

// diagnosis is what the doctor found.
type diagnosis struct {
	Thaw          string   `json:"thaw"`
	Libtorch      string   `json:"libtorch"`
	LibtorchPath  string   `json:"libtorch_path"`
	Go            string   `json:"go"`
	CPUCapability string   `json:"cpu_capability"`
	Cores         int      `json:"cores"`
	Threads       int      `json:"threads"`
	CUDA          bool     `json:"cuda"`
	Problems      []string `json:"problems"`
}

func (c *doctorCmd) Run(s streams) error {
	d := diagnosis{
		Thaw: finetune.Version, Libtorch: torch.Version(), LibtorchPath: torch.LibraryPath(), Go: runtime.Version(),
		CPUCapability: torch.CPUCapability(), Cores: runtime.NumCPU(), Threads: torch.NumThreads(),
		CUDA: torch.CUDAAvailable(), Problems: []string{},
	}
	if err := torch.SelfTest(torch.CPU); err != nil {
		d.Problems = append(d.Problems, "cpu: "+err.Error())
	}
	if c.JSON {
		if err := json.NewEncoder(s.out).Encode(d); err != nil {
			return err
		}
	} else {
		d.print(s)
	}
	if len(d.Problems) > 0 {
		return errors.New("something this program promises does not work")
	}
	return nil
}

func (d diagnosis) print(s streams) {
	fmt.Fprintf(s.out, "thaw      %s (%s)\n", d.Thaw, d.Go)
	fmt.Fprintf(s.out, "libtorch  %s, %s\n", d.Libtorch, d.LibtorchPath)
	fmt.Fprintf(s.out, "cpu       %s kernels, %d threads on %d cores\n", d.CPUCapability, d.Threads, d.Cores)
	if !d.CUDA {
		fmt.Fprintln(s.out, "cuda      not in this program: runs are on the CPU")
	}
	for _, p := range d.Problems {
		fmt.Fprintln(s.out, "problem  ", p)
	}
	if len(d.Problems) == 0 {
		fmt.Fprintln(s.out, "all works: a matrix product and a convolution agree with plain Go")
	}
}
