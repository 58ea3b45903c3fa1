package torch

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/thaw-ml/thaw/internal/cgroup"
	"github.com/thaw-ml/thaw/torch/internal/capi"
)

// Version is the version of the libtorch that is loaded, as in "2.11.0", by its own account.
func Version() string { return loadedVersion() }

var loadedVersion = sync.OnceValue(func() string {
	if m := torchVersion.FindStringSubmatch(BuildConfig()); m != nil {
		return m[1]
	}
	return "unknown"
})

var torchVersion = regexp.MustCompile(`\bTORCH_VERSION=([^, ]+)`)

// CheckVersion is nil where the libtorch that is loaded is the version that this program was built with. Another one,
// as LD_PRELOAD may bring it, computes something else, or fails at some operator.
func CheckVersion() error { return compareVersions(Version(), capi.Version(), LibraryPath()) }

func compareVersions(loaded, built, path string) error {
	release := func(v string) string {
		v, _, _ = strings.Cut(v, "+") // as in 2.11.0+cu130
		return v
	}
	if release(loaded) == release(built) {
		return nil
	}
	return fmt.Errorf("libtorch %s is loaded, from %s, and this program was built with %s: take that file out of LD_PRELOAD and LD_LIBRARY_PATH", loaded, path, built)
}

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

// NumThreads is the number of threads that one CPU operator of the calling OS thread may use.
func NumThreads() int { return capi.NumThreads() }

// SetNumThreads sets it for the process, and gives the process's number before. libtorch keeps the number for each OS thread:
// the calling one takes the new number, and so do all that have not called libtorch yet; others keep theirs until they call
// this. 0 gives the calling OS thread the process's number.
func SetNumThreads(n int) (before int) {
	numThreads.Lock()
	defer numThreads.Unlock()
	if numThreads.n == 0 {
		numThreads.n = capi.NumThreads()
	}
	before = numThreads.n
	if n == 0 {
		n = before
	}
	if err := capi.SetNumThreads(n); err != nil {
		panic(failed("set_num_threads", err))
	}
	numThreads.n = n
	return before
}

// SetSpinning says, for the whole process, whether the threads of a CPU operator that wait for one another first spin, for some
// milliseconds, as libgomp's do at first, or sleep at once. Spinning is a little faster where nobody else needs the CPUs;
// where somebody does, a spinning thread keeps a CPU from the one that it waits for. What is computed is the same. It fails
// where the system has no thread left.
func SetSpinning(on bool) error {
	if err := capi.SetSpinning(on); err != nil {
		return failed("set_spinning", err)
	}
	return nil
}

// numThreads is the process's number; 0 until it is first set.
var numThreads struct {
	sync.Mutex
	n int
}

// libtorch counts the machine's cores. In a container that may use fewer, its threads would stop one another.
func init() {
	if os.Getenv("OMP_NUM_THREADS") != "" || os.Getenv("MKL_NUM_THREADS") != "" {
		return
	}
	if l := cgroup.Read(); l.CPUs > 0 {
		if n := capi.NumThreads(); l.Threads(n) < n {
			SetNumThreads(l.Threads(n))
		}
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
