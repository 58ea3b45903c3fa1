package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/thaw-ml/thaw/internal/cgroup"
)

// quotaPeriod is the time, in microseconds, of which a control group's quota is a part: the kernel's default.
const quotaPeriod = 100_000

// controlGroups are where the control groups of CPU time are usually seen: version 1, and 2.
var controlGroups = []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"}

// quotaThreads is the number of threads that a user would set by hand under a quota of so many CPUs; 0 is none.
func quotaThreads(cpus float64) int { return cgroup.Limits{CPUs: cpus}.Threads(runtime.NumCPU()) }

// underQuota moves this process, with all that it starts from then on, into a control group that may use so many CPUs. leave moves
// it back. 0 CPUs are no limit.
func underQuota(cpus float64) (leave func(), err error) {
	if cpus == 0 {
		return func() {}, nil
	}
	var failed []error
	for _, folder := range controlGroups {
		if leave, err = enterGroup(folder, cpus); err == nil {
			return leave, nil
		}
		failed = append(failed, err)
	}
	return nil, fmt.Errorf("-quota needs a control group of CPU time that may be written, so root, and a container that "+
		"does not mount /sys/fs/cgroup read-only: %w", errors.Join(failed...))
}

// enterGroup makes a group in a folder of groups and moves this process there.
func enterGroup(folder string, cpus float64) (leave func(), err error) {
	group := filepath.Join(folder, fmt.Sprint("thaw-bench-", os.Getpid()))
	write := func(folder, name, text string) error {
		return os.WriteFile(filepath.Join(folder, name), []byte(text), 0) // control files are there: none is made
	}
	if _, err := os.Stat(filepath.Join(folder, "cgroup.procs")); err != nil {
		return nil, err
	}
	if err := os.Mkdir(group, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(group) // empty
		}
	}()
	quota := strconv.Itoa(int(math.Round(cpus * quotaPeriod)))
	controller := "cpu"
	if _, v2 := os.Stat(filepath.Join(folder, "cgroup.controllers")); v2 == nil {
		controller = ""
		if _, off := os.Stat(filepath.Join(group, "cpu.max")); off != nil {
			err = write(folder, "cgroup.subtree_control", "+cpu")
		}
		if err == nil {
			err = write(group, "cpu.max", quota+" "+strconv.Itoa(quotaPeriod))
		}
	} else if err = write(group, "cpu.cfs_period_us", strconv.Itoa(quotaPeriod)); err == nil {
		err = write(group, "cpu.cfs_quota_us", quota)
	}
	if err != nil {
		return nil, err
	}
	self := strconv.Itoa(os.Getpid())
	before := filepath.Join(folder, cgroup.Groups()[controller]) // the folder itself where that is not told
	if err := write(group, "cgroup.procs", self); err != nil {
		return nil, err
	}
	return func() {
		if err := errors.Join(write(before, "cgroup.procs", self), os.Remove(group)); err != nil {
			fmt.Fprintf(os.Stderr, "bench: leaving %s: %v\n", group, err)
		}
	}, nil
}
