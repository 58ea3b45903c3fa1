package torch

import (
	"os"
	"strings"

	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Version is libtorch's version, as in "2.11.0".
func Version() string { return capi.Version() }

// BuildConfig is libtorch's own account of how it was built, several lines.
func BuildConfig() string {
	s, err := capi.Config()
	if err != nil {
		panic(failed("show_config", err))
	}
	return s
}

// CPUCapability names the instruction set that the CPU kernels use, as in "AVX512".
func CPUCapability() string { return capi.CPUCapability() }

// NumThreads is the number of threads that one CPU operator may use.
func NumThreads() int { return capi.NumThreads() }

// SetNumThreads sets it, for the whole process.
func SetNumThreads(n int) {
	if err := capi.SetNumThreads(n); err != nil {
		panic(failed("set_num_threads", err))
	}
}

// UseDeterministic makes operators choose deterministic kernels, for the whole process; where one has none it fails.
func UseDeterministic(on bool) { capi.SetDeterministic(on) }

// LibraryPath is the file that libtorch's CPU kernels were loaded from.
func LibraryPath() string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return "unknown"
	}
	for _, line := range strings.Split(string(maps), "\n") {
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.HasSuffix(line, "/libtorch_cpu.so") {
			return line[i:]
		}
	}
	return "unknown"
}
