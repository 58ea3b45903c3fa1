package train

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// AvailableMemory is what the machine can give without swapping, in bytes; 0 where it does not say.
func AvailableMemory() int64 { return 1024 * procField("/proc/meminfo", "MemAvailable:") }

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
