package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// network is a few hosts, each a network namespace, at a switch, which is one too.
type network struct {
	t    *testing.T
	name string
}

// newNetwork makes a network of so many hosts, for as long as the test lasts. An error says why it cannot be made, as without root.
func newNetwork(t *testing.T, hosts int) (*network, error) {
	n := &network{t, fmt.Sprint("thaw", os.Getpid())}
	t.Cleanup(func() {
		for h := range hosts {
			_ = ip("netns del " + n.host(h))
		}
		_ = ip("netns del " + n.name)
	})
	commands := []string{
		"netns add " + n.name, fmt.Sprintf("-n %s link add switch type bridge", n.name), fmt.Sprintf("-n %s link set switch up", n.name),
	}
	for h := range hosts {
		commands = append(commands,
			"netns add "+n.host(h),
			fmt.Sprintf("-n %s link add port%d type veth peer name eth0 netns %s", n.name, h, n.host(h)),
			fmt.Sprintf("-n %s link set port%d master switch up", n.name, h),
			fmt.Sprintf("-n %s address add %s/24 dev eth0", n.host(h), n.address(h)),
			fmt.Sprintf("-n %s link set eth0 up", n.host(h)),
			fmt.Sprintf("-n %s link set lo up", n.host(h)))
	}
	for _, c := range commands {
		if err := ip(c); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, strings.TrimSpace(string(out)))
	}
	return nil
}

func (n *network) host(h int) string { return fmt.Sprint(n.name, "-", h) }

func (n *network) address(h int) string { return fmt.Sprint("10.213.77.", 10+h) }

// set has the switch's port to a host up or down.
func (n *network) set(host int, state string) {
	n.t.Helper()
	require.NoError(n.t, ip(fmt.Sprintf("-n %s link set port%d %s", n.name, host, state)))
}

// memoryGroups are where control groups of memory are made, of version 1 and 2, with the file of the limit.
var memoryGroups = [][2]string{{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}, {"/sys/fs/cgroup", "memory.max"}}

// memoryGroup makes a control group in which processes get a little memory.
func memoryGroup() (folder string, err error) {
	for _, g := range memoryGroups {
		if folder, err = os.MkdirTemp(g[0], "thaw-test-"); err != nil {
			continue
		}
		if err = os.WriteFile(filepath.Join(folder, g[1]), fmt.Append(nil, 64<<20), 0o644); err == nil {
			return folder, nil
		}
		_ = os.Remove(folder)
	}
	return "", fmt.Errorf("making a control group: %w", err)
}

// memoryLimits is why this process may not limit another's memory; nil where it may.
func memoryLimits() error {
	folder, err := memoryGroup()
	if err != nil {
		return err
	}
	return os.Remove(folder)
}

// limitMemory gives a process a little memory more than it has.
func limitMemory(t *testing.T, pid int) error {
	t.Helper()
	folder, err := memoryGroup()
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.Eventually(t, func() bool {
			err := os.Remove(folder) // once the process is gone
			return err == nil || errors.Is(err, os.ErrNotExist)
		}, time.Minute, 10*time.Millisecond)
	})
	return os.WriteFile(filepath.Join(folder, "cgroup.procs"), fmt.Append(nil, pid), 0o644)
}

// smallDisk mounts a file system with so many bytes.
func smallDisk(t *testing.T, folder string, size int64) {
	t.Helper()
	require.NoError(t, os.Mkdir(folder, 0o755))
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		t.Skipf("mounting a small file system, which root may: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(folder, 0)) })
}
