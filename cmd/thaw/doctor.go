package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/internal/contention"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/vision/picture"
)

type doctorCmd struct {
	JSON bool `name:"json" help:"Print one JSON object: thaw, libtorch, libtorch_path, go, cpu_capability, cpu_bfloat16, gflops_float32, gflops_bfloat16, cores, threads, memory_limit_bytes, cpu_limit, cpus_taken, shm_bytes, infiniband, libibverbs, jpeg, cuda, hints, problems."`
}

// diagnosis is what the doctor found.
type diagnosis struct {
	Thaw          string     `json:"thaw"`
	Libtorch      string     `json:"libtorch"`
	LibtorchPath  string     `json:"libtorch_path"`
	Go            string     `json:"go"`
	CPUCapability string     `json:"cpu_capability"`
	CPUBFloat16   bool       `json:"cpu_bfloat16"`   // the CPU multiplies bfloat16 itself
	Float32       float64    `json:"gflops_float32"` // of a large product on all threads: 1e9 additions and multiplications a second
	BFloat16      float64    `json:"gflops_bfloat16"`
	Cores         int        `json:"cores"`
	Threads       int        `json:"threads"`
	JPEG          string     `json:"jpeg"`       // what decodes JPEGs; "" where nothing does
	CUDA          *cudaFound `json:"cuda"`       // null in a program without CUDA
	Taken         float64    `json:"cpus_taken"` // CPUs that other programs took from threads of this one, when it looked
	surroundings
	Hints    []string `json:"hints"` // what does not fail, and may later
	Problems []string `json:"problems"`
}

// cudaFound is what a program with CUDA found.
type cudaFound struct {
	Driver  string     `json:"driver"`
	Runtime string     `json:"runtime"`
	CuDNN   string     `json:"cudnn"`
	NCCL    string     `json:"nccl"`
	Devices []gpuFound `json:"devices"`
}

// gpuFound is a device.
type gpuFound struct {
	Index             int    `json:"index"`
	Name              string `json:"name"`
	MemoryBytes       int64  `json:"memory_bytes"`
	ComputeCapability string `json:"compute_capability"` // as in "9.0"
	Multiprocessors   int    `json:"multiprocessors"`
}

func found(p cuda.Properties) gpuFound {
	return gpuFound{p.Index, p.Name, p.TotalMemory, p.ComputeCapability.String(), p.Multiprocessors}
}

func (c *doctorCmd) Run(s streams) error {
	d := diagnosis{
		Thaw: thaw.Version, Libtorch: torch.Version(), LibtorchPath: torch.LibraryPath(), Go: runtime.Version(),
		CPUCapability: torch.CPUCapability(), Cores: runtime.NumCPU(), Threads: torch.NumThreads(),
		CPUBFloat16: torch.CPU.MultipliesBFloat16(), surroundings: lookAround("/", os.Getenv),
		Hints: []string{}, Problems: []string{},
	}
	d.try("libtorch", torch.CheckVersion())
	d.try("cpu", torch.SelfTest(torch.CPU))
	d.try("cpu", torch.Try(func() { d.Float32, d.BFloat16 = gflops(torch.Float32), gflops(torch.BFloat16) }))
	decoder, err := picture.JPEGDecoder()
	if d.JPEG = decoder; err == nil {
		err = decodeJPEG()
	}
	d.try("jpeg", err)
	if cuda.Built() {
		d.examineCUDA()
	}
	gpus := 0
	if d.CUDA != nil {
		gpus = len(d.CUDA.Devices)
	}
	d.Hints = append(d.Hints, d.hints(gpus)...)
	d.Taken = contention.Spin(d.Cores, 300*time.Millisecond).Waiting
	d.Hints = append(d.Hints, d.cpuHints()...)
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
		d.Problems = append(d.Problems, what+": "+strings.TrimPrefix(err.Error(), what+": "))
	}
}

// cpuHints are of CPUs that are not the program's alone.
func (d *diagnosis) cpuHints() (hints []string) {
	if d.CPULimit > 0 && d.CPULimit < float64(d.Cores) {
		hints = append(hints, fmt.Sprintf("the control group allows %.3g of %d CPUs: %s compute, and all stop for the rest of a period in which "+
			"the quota is used up", d.CPULimit, d.Cores, quantity.Count(d.Threads, "thread", "threads")))
	}
	if d.Taken >= 0.25 {
		hints = append(hints, fmt.Sprintf("other programs take %.1f of %s: steps take longer, and what is measured now is noise; with "+
			"share_cpus: true a run looks for the way to compute that is fastest beside them", d.Taken, quantity.Count(d.Cores, "CPU", "CPUs")))
	}
	return hints
}

// products says which precision large products are faster in.
func (d diagnosis) products() string {
	how := "bfloat16 by way of float32"
	if d.CPUBFloat16 {
		how = "bfloat16 by instructions of its own"
	}
	verdict := "float32"
	if d.BFloat16 > d.Float32 {
		verdict = "bfloat16"
	}
	return fmt.Sprintf("float32 %.0f GFLOPS, bfloat16 %.0f GFLOPS (%s): %s is the faster here", d.Float32, d.BFloat16, how, verdict)
}

// gflops measures linear layers of a BERT-base: the fastest of some products, as others may compute meanwhile.
func gflops(dtype torch.DType) (best float64) {
	const rows, in, out = 512, 768, 3072
	torch.Scoped(func() {
		x, w := torch.Ones(dtype, torch.CPU, rows, in), torch.Ones(dtype, torch.CPU, out, in)
		for n, began := 0, time.Now(); n < 3 || time.Since(began) < 100*time.Millisecond; n++ {
			torch.Scoped(func() {
				start := time.Now()
				x.MatMul(w.T())
				best = max(best, 2*rows*in*out/1e9/time.Since(start).Seconds())
			})
		}
	})
	return best
}

// decodeJPEG decodes a small picture of one colour.
func decodeJPEG() error {
	colour := [3]uint8{200, 120, 40}
	drawn := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range drawn.Pix {
		drawn.Pix[i] = [4]uint8{colour[0], colour[1], colour[2], 255}[i%4]
	}
	var stored bytes.Buffer
	if err := jpeg.Encode(&stored, drawn, nil); err != nil {
		return err
	}
	m, err := picture.Decode(stored.Bytes(), picture.Options{})
	if err != nil {
		return fmt.Errorf("a small picture: %w", err)
	}
	for i, got := range m.Pix {
		if want := colour[i%3]; max(got, want)-min(got, want) > 8 { // its conversions round
			return fmt.Errorf("a small picture of the colour %v has the pixel %v", colour, m.Pix[i/3*3:i/3*3+3])
		}
	}
	return nil
}

// examineCUDA looks at versions and devices, and tries each device.
func (d *diagnosis) examineCUDA() {
	d.CUDA = &cudaFound{Devices: []gpuFound{}}
	if v, err := cuda.FindVersions(); err != nil {
		d.try("cuda", err)
	} else {
		d.CUDA.Driver, d.CUDA.Runtime, d.CUDA.CuDNN, d.CUDA.NCCL = v.Driver.String(), v.Runtime.String(), v.CuDNN.String(), v.NCCL.String()
	}
	devices, err := cuda.Devices()
	d.try("cuda", err)
	for _, p := range devices {
		d.CUDA.Devices = append(d.CUDA.Devices, found(p))
		err := torch.SelfTest(torch.CUDA(p.Index))
		if err == nil {
			err = cuda.SelfTest(p.Index)
		}
		d.try(torch.CUDA(p.Index).String(), err)
	}
}

// tried says what was tried.
func (d diagnosis) tried() string {
	s := "a matrix product, a convolution and a small JPEG on the CPU"
	if d.CUDA == nil || len(d.CUDA.Devices) == 0 {
		return s
	}
	gpu := "the GPU"
	if len(d.CUDA.Devices) > 1 {
		gpu = "each GPU"
	}
	return s + "; on " + gpu + " the first two, attention, a recorded graph, and a product of bfloat16 where it has that"
}

func (d diagnosis) print(s streams) {
	fmt.Fprintf(s.out, "thaw      %s (%s)\n", d.Thaw, d.Go)
	fmt.Fprintf(s.out, "libtorch  %s, %s\n", d.Libtorch, d.LibtorchPath)
	fmt.Fprintf(s.out, "cpu       %s kernels, %s on %s\n", d.CPUCapability,
		quantity.Count(d.Threads, "thread", "threads"), quantity.Count(d.Cores, "core", "cores"))
	fmt.Fprintln(s.out, "products ", d.products())
	d.surroundings.print(s.out)
	fmt.Fprintf(s.out, "jpeg      %s\n", cmp.Or(d.JPEG, "no decoder: pictures cannot be read"))
	if d.CUDA == nil {
		fmt.Fprintln(s.out, "cuda      not in this program: runs are on the CPU")
	} else {
		fmt.Fprintf(s.out, "cuda      driver %s, runtime %s, cuDNN %s, NCCL %s\n", d.CUDA.Driver, d.CUDA.Runtime, d.CUDA.CuDNN, d.CUDA.NCCL)
		for _, p := range d.CUDA.Devices {
			fmt.Fprintf(s.out, "cuda:%d    %s, %.0f GB, compute capability %s\n", p.Index, p.Name, float64(p.MemoryBytes)/1e9, p.ComputeCapability)
		}
	}
	for _, h := range d.Hints {
		fmt.Fprintln(s.out, "hint     ", h)
	}
	for _, p := range d.Problems {
		fmt.Fprintln(s.out, "problem  ", p)
	}
	if len(d.Problems) == 0 {
		fmt.Fprintln(s.out, "all works:", d.tried())
	}
}
