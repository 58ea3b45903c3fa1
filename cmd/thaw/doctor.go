package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/cpu"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/vision/picture"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print one JSON object: thaw, libtorch, libtorch_path, go, cpu_capability, cpu_bfloat16, cores, threads, jpeg, cuda, problems."`
}

// diagnosis is what the doctor found.
type diagnosis struct {
	Thaw          string     `json:"thaw"`
	Libtorch      string     `json:"libtorch"`
	LibtorchPath  string     `json:"libtorch_path"`
	Go            string     `json:"go"`
	CPUCapability string     `json:"cpu_capability"`
	CPUBFloat16   bool       `json:"cpu_bfloat16"` // the CPU multiplies bfloat16 itself, so that this precision is the faster one
	Cores         int        `json:"cores"`
	Threads       int        `json:"threads"`
	JPEG          string     `json:"jpeg"` // what decodes JPEGs
	CUDA          *cudaFound `json:"cuda"` // null in a program without CUDA
	Problems      []string   `json:"problems"`
}

// cudaFound is what a program with CUDA found.
type cudaFound struct {
	Driver  string            `json:"driver"`
	Runtime string            `json:"runtime"`
	CuDNN   string            `json:"cudnn"`
	NCCL    string            `json:"nccl"`
	Devices []cuda.Properties `json:"devices"`
}

func (c *doctorCmd) Run(s streams) error {
	d := diagnosis{
		Thaw: finetune.Version, Libtorch: torch.Version(), LibtorchPath: torch.LibraryPath(), Go: runtime.Version(),
		CPUCapability: torch.CPUCapability(), JPEG: picture.JPEGDecoder(), Cores: runtime.NumCPU(), Threads: torch.NumThreads(),
		CPUBFloat16: cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16, Problems: []string{},
	}
	d.try("cpu", torch.SelfTest(torch.CPU))
	if cuda.Built() {
		d.examineCUDA()
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

// try takes note of a check that failed.
func (d *diagnosis) try(what string, err error) {
	if err != nil {
		d.Problems = append(d.Problems, what+": "+err.Error())
	}
}

// examineCUDA looks at versions and devices, and tries each device.
func (d *diagnosis) examineCUDA() {
	d.CUDA = &cudaFound{Devices: []cuda.Properties{}}
	if v, err := cuda.FindVersions(); err != nil {
		d.try("cuda", err)
	} else {
		d.CUDA.Driver, d.CUDA.Runtime, d.CUDA.CuDNN, d.CUDA.NCCL = v.Driver.String(), v.Runtime.String(), v.CuDNN.String(), v.NCCL.String()
	}
	devices, err := cuda.Devices()
	d.try("cuda", err)
	for _, p := range devices {
		d.CUDA.Devices = append(d.CUDA.Devices, p)
		d.try(torch.CUDA(p.Index).String(), torch.SelfTest(torch.CUDA(p.Index)))
	}
}

func (d diagnosis) print(s streams) {
	fmt.Fprintf(s.out, "thaw      %s (%s)\n", d.Thaw, d.Go)
	fmt.Fprintf(s.out, "libtorch  %s, %s\n", d.Libtorch, d.LibtorchPath)
	products := ""
	if d.CPUBFloat16 {
		products = "products of bfloat16, "
	}
	fmt.Fprintf(s.out, "cpu       %s kernels, %s%s on %s\n", d.CPUCapability, products,
		quantity.Count(d.Threads, "thread", "threads"), quantity.Count(d.Cores, "core", "cores"))
	fmt.Fprintf(s.out, "jpeg      %s\n", d.JPEG)
	if d.CUDA == nil {
		fmt.Fprintln(s.out, "cuda      not in this program: runs are on the CPU")
	} else {
		fmt.Fprintf(s.out, "cuda      driver %s, runtime %s, cuDNN %s, NCCL %s\n", d.CUDA.Driver, d.CUDA.Runtime, d.CUDA.CuDNN, d.CUDA.NCCL)
		for _, p := range d.CUDA.Devices {
			fmt.Fprintf(s.out, "cuda:%d    %s, %.0f GB, compute capability %s\n", p.Index, p.Name, float64(p.TotalMemory)/1e9, p.ComputeCapability)
		}
	}
	for _, p := range d.Problems {
		fmt.Fprintln(s.out, "problem  ", p)
	}
	if len(d.Problems) == 0 {
		fmt.Fprintln(s.out, "all works: a matrix product and a convolution agree with plain Go")
	}
}
