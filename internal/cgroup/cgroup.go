// Package cgroup reads what the control groups of Linux, versions 1 and 2, let this process use: a container's memory
// and CPU limits, where the machine's own numbers are larger.
package cgroup

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Limits are the tightest of the process's control group and of those above it that can be seen.
type Limits struct {
	Memory     int64   // bytes that may be used at most; 0 where there is no limit
	FreeMemory int64   // bytes that may still be used, page cache that can be dropped counted as free; of no meaning without a limit
	CPUs       float64 // CPU time that may be used a second of time; 0 where there is no limit
}

// Threads is the number of threads that keep n cores busy within the limit.
func (l Limits) Threads(n int) int {
	if l.CPUs > 0 {
		n = min(n, max(1, int(math.Ceil(l.CPUs))))
	}
	return n
}

// Workers is the number of goroutines that keep busy what this process may use of the machine.
func Workers() int { return min(runtime.GOMAXPROCS(0), Read().Threads(runtime.NumCPU())) }

// Read reads the limits as they are now. What cannot be read is no limit.
func Read() Limits { return read("/") }

// read reads them below root.
func read(root string) Limits {
	var l Limits
	paths := groups(root)
	for _, m := range mounts(root) {
		for folder := range m.folders(paths) {
			folder = filepath.Join(root, folder)
			for _, c := range m.controllers {
				switch {
				case c == "memory" && m.version == 2:
					l.memory(number(folder, "memory.max"), number(folder, "memory.current"), field(folder, "memory.stat", "inactive_file"))
				case c == "memory":
					limit := number(folder, "memory.limit_in_bytes")
					l.memory(limit, number(folder, "memory.usage_in_bytes"), field(folder, "memory.stat", "total_inactive_file"))
				case c == "cpu" && m.version == 2:
					quota, period, _ := strings.Cut(text(folder, "cpu.max"), " ")
					l.cpu(parse(quota), parse(period))
				case c == "cpu":
					l.cpu(number(folder, "cpu.cfs_quota_us"), number(folder, "cpu.cfs_period_us"))
				}
			}
		}
	}
	return l
}

// memory takes a group's numbers into account; -1 stands for one that is not there or says max.
func (l *Limits) memory(limit, used, droppable int64) {
	if limit < 0 || limit > 1<<62 { // version 1 writes a number near 1<<63 for none
		return
	}
	free := max(0, limit-max(0, used)+max(0, droppable))
	if l.Memory == 0 || free < l.FreeMemory {
		l.FreeMemory = free
	}
	if l.Memory == 0 || limit < l.Memory {
		l.Memory = max(1, limit)
	}
}

func (l *Limits) cpu(quota, period int64) {
	if quota <= 0 || period <= 0 {
		return
	}
	if cpus := float64(quota) / float64(period); l.CPUs == 0 || cpus < l.CPUs {
		l.CPUs = cpus
	}
}

// Groups gives the process's group, a path below where its kind is mounted, by controller, "" standing for version 2.
func Groups() map[string]string { return groups("/") }

// groups reads them below root.
func groups(root string) map[string]string {
	out := map[string]string{}
	for line := range lines(filepath.Join(root, "proc/self/cgroup")) {
		// hierarchy:controllers:path
		if parts := strings.SplitN(line, ":", 3); len(parts) == 3 {
			for c := range strings.SplitSeq(parts[1], ",") {
				out[c] = parts[2]
			}
		}
	}
	return out
}

// mount is where groups are seen.
type mount struct {
	version     int
	controllers []string
	root        string // the group that is seen at point
	point       string
}

func mounts(root string) (out []mount) {
	for line := range lines(filepath.Join(root, "proc/self/mountinfo")) {
		// id parent device root point options ... - type source super-options
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		m := mount{root: unescape(left[3]), point: unescape(left[4])}
		switch right[0] {
		case "cgroup2":
			m.version, m.controllers = 2, []string{"memory", "cpu"}
		case "cgroup":
			m.version, m.controllers = 1, strings.Split(right[2], ",")
		default:
			continue
		}
		out = append(out, m)
	}
	return out
}

// folders gives the folder of the process's group and of those above it, up to the mount.
func (m mount) folders(groups map[string]string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		group, known := groups[""]
		if m.version == 1 {
			known = false
			for _, c := range m.controllers {
				if path, ok := groups[c]; ok {
					group, known = path, true
				}
			}
		}
		if !known {
			return
		}
		// In a container the mount may show the container's group as its root, while the path is the host's.
		below, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
		if !ok || strings.HasPrefix(group, "/..") {
			below = ""
		}
		folder := filepath.Join(m.point, below)
		for {
			if !yield(folder) || folder == m.point || len(folder) <= len(m.point) {
				return
			}
			folder = filepath.Dir(folder)
		}
	}
}

// unescape reads a path of mountinfo, in which spaces and the like are octal: \040.
func unescape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if n, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// text is what a file holds, "" where it cannot be read.
func text(folder, name string) string {
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// number is a file's only number, -1 where there is none.
func number(folder, name string) int64 { return parse(text(folder, name)) }

func parse(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// field is the number behind a key in a file of keys and numbers, -1 where there is none.
func field(folder, name, key string) int64 {
	for line := range lines(filepath.Join(folder, name)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return parse(value)
		}
	}
	return -1
}

// lines gives a file's lines, none where it cannot be read.
func lines(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		f, err := os.Open(path)
		if err != nil {
			return
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if !yield(s.Text()) {
				return
			}
		}
	}
}
