package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/thaw-ml/thaw/internal/cgroup"
)

// surroundings is what the program may use of the machine, where it runs in a container, a batch job or the like.
type surroundings struct {
	MemoryLimit int64   `json:"memory_limit_bytes"` // of the control group; 0 is none
	CPULimit    float64 `json:"cpu_limit"`          // CPUs; 0 is none
	SharedBytes int64   `json:"shm_bytes"`          // size of /dev/shm; 0 where there is none
	InfiniBand  bool    `json:"infiniband"`         // the machine has devices of it
	Verbs       bool    `json:"libibverbs"`         // the library that NCCL opens for them is there
	visible     string  // NVIDIA_VISIBLE_DEVICES
	driver      string  // NVIDIA_DRIVER_CAPABILITIES
}

// lookAround finds them below root.
func lookAround(root string, getenv func(string) string) surroundings {
	l := cgroup.Read()
	s := surroundings{MemoryLimit: l.Memory, CPULimit: l.CPUs, visible: getenv("NVIDIA_VISIBLE_DEVICES"), driver: getenv("NVIDIA_DRIVER_CAPABILITIES")}
	var shm unix.Statfs_t
	if unix.Statfs(filepath.Join(root, "dev/shm"), &shm) == nil {
		s.SharedBytes = int64(shm.Blocks) * shm.Bsize
	}
	devices, _ := filepath.Glob(filepath.Join(root, "dev/infiniband/*"))
	s.InfiniBand = len(devices) > 0
	places := append(filepath.SplitList(getenv("LD_LIBRARY_PATH")), "lib", "lib64", "usr/lib", "usr/lib64", "usr/local/lib",
		"usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")
	s.Verbs = slices.ContainsFunc(places, func(folder string) bool {
		_, err := os.Stat(filepath.Join(root, folder, "libibverbs.so.1"))
		return err == nil
	})
	return s
}

// print tells of limits, where there are any.
func (s surroundings) print(out io.Writer) {
	var limits []string
	if s.MemoryLimit > 0 {
		limits = append(limits, fmt.Sprintf("%.1f GB of memory", float64(s.MemoryLimit)/1e9))
	}
	if s.CPULimit > 0 {
		limits = append(limits, fmt.Sprintf("%.3g CPUs", s.CPULimit))
	}
	if len(limits) > 0 {
		fmt.Fprintf(out, "limits    %s (control group)\n", strings.Join(limits, ", "))
	}
	if s.SharedBytes > 0 {
		fmt.Fprintf(out, "shm       %.0f MB in /dev/shm\n", float64(s.SharedBytes)/1e6)
	}
}

// hints are what is not wrong, but is not as training on GPUs, so many of them, would have it.
func (s surroundings) hints(gpus int) (hints []string) {
	const enough = 512 << 20
	if gpus == 0 && (s.visible == "void" || s.visible == "none") {
		hints = append(hints, fmt.Sprintf("NVIDIA_VISIBLE_DEVICES=%s: the container gets no GPU; start it with --gpus all, or ask for nvidia.com/gpu", s.visible))
	}
	if s.driver != "" && !containsAny(s.driver, "all", "compute") {
		hints = append(hints, fmt.Sprintf("NVIDIA_DRIVER_CAPABILITIES=%s lacks compute, without which the driver's library is not there: "+
			"set compute,utility", s.driver))
	}
	if gpus > 1 && s.SharedBytes < enough {
		hints = append(hints, fmt.Sprintf("/dev/shm has %.0f MB: GPUs that work together (NCCL) need some 512 MB or more; start the container with "+
			"--shm-size=1g, or mount an emptyDir with medium Memory there", float64(s.SharedBytes)/1e6))
	}
	if s.InfiniBand && !s.Verbs {
		hints = append(hints, "there is InfiniBand, and no libibverbs.so.1, which NCCL opens for it: install libibverbs1 and ibverbs-providers")
	}
	return hints
}

// containsAny reports whether a list with commas has one of the words.
func containsAny(list string, words ...string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(word string) bool { return slices.Contains(words, strings.TrimSpace(word)) })
}
