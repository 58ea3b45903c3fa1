package train

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/thaw-ml/thaw/internal/cgroup"
)

// AvailableMemory is what this process can get without swapping, in bytes: of the machine, and of its container where that
// has a limit. 0 stands for unknown, and for none left.
func AvailableMemory() int64 {
	free := 1024 * procField("/proc/meminfo", "MemAvailable:")
	if l := cgroup.Read(); l.Memory > 0 && (free == 0 || l.FreeMemory < free) {
		free = l.FreeMemory
	}
	return free
}

// MemoryLimit is what this process's container, or another control group, lets it use, in bytes; 0 where there is no limit.
func MemoryLimit() int64 { return cgroup.Read().Memory }

// PeakResident is the most memory that the process ever held, in bytes; 0 where the system does not say.
func PeakResident() int64 { return 1024 * procField("/proc/self/status", "VmHWM:") }

// procField reads a number in kB from one of Linux's status files.
func procField(path, name string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			var n int64
			fmt.Sscan(rest, &n)
			return n
		}
	}
	return 0
}
