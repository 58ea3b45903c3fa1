// Package contention measures how far this process has to share its CPUs with others, without trying anything: by the time
// that its threads waited for a CPU, and by what the machine's CPUs did beside it. On Linux.
package contention

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Reading is the state of the counters at a moment.
type Reading struct {
	at      time.Time
	own     time.Duration // CPU time of this process
	busy    time.Duration // CPU time that all spent on the CPUs that this process may use
	cpus    int           // of which busy tells; 0 where nothing does
	waiting map[string]time.Duration
}

// Share is how the CPUs were shared between two readings. All are numbers of CPUs, or threads: seconds a second.
type Share struct {
	Own     float64 // CPUs that this process used
	Taken   float64 // CPUs that others used; 0 where it cannot be told, see Known
	Known   bool
	Waiting float64 // threads of this process that could run, and waited for a CPU
}

// Read reads the counters.
func Read() Reading {
	r := readFrom("/proc", affinity())
	r.at = time.Now()
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &used) == nil {
		r.own = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return r
}

// Since tells how the CPUs were shared from before to r.
func (r Reading) Since(before Reading) Share {
	seconds := r.at.Sub(before.at).Seconds()
	if seconds <= 0 {
		return Share{}
	}
	s := Share{Own: (r.own - before.own).Seconds() / seconds, Known: r.cpus > 0 && r.cpus == before.cpus}
	if s.Known {
		s.Taken = max(0, (r.busy-before.busy-(r.own-before.own)).Seconds()/seconds)
	}
	for thread, waited := range r.waiting {
		s.Waiting += max(0, waited-before.waiting[thread]).Seconds() / seconds
	}
	return s
}

// tick is the unit of /proc/stat: USER_HZ, 100 a second on all that Go runs on.
const tick = 10 * time.Millisecond

// readFrom reads what the folder proc tells of CPUs and of this process's threads.
func readFrom(proc string, allowed func(cpu int) bool) Reading {
	r := Reading{waiting: map[string]time.Duration{}}
	stat, _ := os.ReadFile(filepath.Join(proc, "stat")) // where it cannot be read, nothing is known
	for lines := bufio.NewScanner(bytes.NewReader(stat)); lines.Scan(); {
		// cpu0 user nice system idle iowait irq softirq steal guest guest_nice, where user counts guest too
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		cpu, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || !allowed(cpu) { // "cpu" itself is the sum of all
			continue
		}
		r.cpus++
		for i, field := range fields[1:min(len(fields), 9)] {
			const idle, iowait = 3, 4
			if ticks, err := strconv.ParseInt(field, 10, 64); err == nil && i != idle && i != iowait {
				r.busy += time.Duration(ticks) * tick
			}
		}
	}
	threads, _ := filepath.Glob(filepath.Join(proc, "self/task/*/schedstat"))
	for _, path := range threads {
		// time on a CPU, time in a run queue, turns
		text, err := os.ReadFile(path)
		if fields := strings.Fields(string(text)); err == nil && len(fields) == 3 {
			if ns, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				r.waiting[path] = time.Duration(ns)
			}
		}
	}
	return r
}

// affinity tells which CPUs the calling thread may use.
func affinity() func(cpu int) bool {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return func(int) bool { return true }
	}
	return set.IsSet
}

// Spin keeps so many threads busy for some time and tells how the CPUs were shared: on as many CPUs, and with nobody else
// there, none waits.
func Spin(threads int, d time.Duration) Share {
	began := time.Now()
	before := Read()
	done := make(chan struct{})
	for range threads {
		go func() {
			for time.Since(began) < d {
			}
			done <- struct{}{}
		}()
	}
	for range threads {
		<-done
	}
	return Read().Since(before)
}
