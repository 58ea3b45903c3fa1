package report

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/version"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// Machine is machine.json: what a run, or its last part, ran on, and what data it read.
type Machine struct {
	Began    time.Time `json:"began"` // the run, or its last part
	Thaw     string    `json:"thaw"`
	Libtorch string    `json:"libtorch"`
	Go       string    `json:"go"`
	System   string    `json:"system"` // linux/amd64
	CPU      string    `json:"cpu,omitempty"`
	Kernels  string    `json:"cpu_capability"`
	Threads  int       `json:"threads"`
	GPU      string    `json:"gpu,omitempty"`
	Train    DataSet   `json:"train"`
	Test     DataSet   `json:"test"`
}

func writeMachine(o RecorderOptions) error {
	return writeJSON(filepath.Join(o.Folder, finetune.MachineFile), Machine{
		Began: time.Now().UTC().Truncate(time.Second), Thaw: version.WithRevision(), Libtorch: torch.Version(),
		Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuName(), Kernels: torch.CPUCapability(),
		Threads: torch.NumThreads(),
		GPU:     gpuName(o.Device), Train: o.Train, Test: o.Test,
	})
}

// cpuName is what the processor calls itself; "" where the system does not say.
func cpuName() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// gpu gives the number of a GPU, where a device is one.
func gpu(device string) (number int, ok bool) {
	d, err := torch.ParseDevice(device)
	return d.Index, err == nil && d.Type == torch.CUDAType
}

func gpuName(device string) string {
	number, ok := gpu(device)
	if !ok {
		return ""
	}
	devices, err := cuda.Devices()
	if err != nil || number >= len(devices) {
		return ""
	}
	return devices[number].Name
}

// memoryTaken is the memory that a run takes now, in bytes: of the GPU, or of the process; 0 where that is not known.
func memoryTaken(device string) int64 {
	if number, ok := gpu(device); ok {
		if m, err := cuda.Memory(number); err == nil {
			return m.Reserved
		}
		return 0
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	return residentOf(string(text))
}

// residentOf reads the second number of /proc/self/statm, which is in pages.
func residentOf(statm string) int64 {
	fields := strings.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
