package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files makes a root of files.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range content {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return root
}

const (
	mountV2     = "30 24 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
	mountMemory = "36 31 0:31 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n"
	mountCPU    = "37 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	// As runc mounts version 1 without a cgroup namespace.
	mountContainer = "600 590 0:31 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n" +
		"601 590 0:32 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
)

func TestRead(t *testing.T) {
	const none = "9223372036854771712\n" // of version 1
	for _, c := range []struct {
		name  string
		files map[string]string
		want  Limits
	}{
		{"nothing", nil, Limits{}},
		{"version 2, a container with a namespace of its own", map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda rw\n" + mountV2,
			"sys/fs/cgroup/memory.max": "1073741824\n", "sys/fs/cgroup/memory.current": "600000000\n",
			"sys/fs/cgroup/memory.stat": "anon 1\nfile 2\ninactive_file 100000000\nactive_file 7\n", "sys/fs/cgroup/cpu.max": "150000 100000\n",
		}, Limits{Memory: 1 << 30, FreeMemory: 1<<30 - 500_000_000, CPUs: 1.5}},
		{"version 2, no limits", map[string]string{
			"proc/self/cgroup": "0::/user.slice\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/user.slice/memory.max": "max\n", "sys/fs/cgroup/user.slice/memory.current": "5\n", "sys/fs/cgroup/user.slice/cpu.max": "max 100000\n",
		}, Limits{}},
		{"version 2, the group above is tighter", map[string]string{
			"proc/self/cgroup": "0::/pod/container\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/pod/container/memory.max": "max\n", "sys/fs/cgroup/pod/container/cpu.max": "400000 100000\n",
			"sys/fs/cgroup/pod/memory.max": "2000\n", "sys/fs/cgroup/pod/memory.current": "500\n", "sys/fs/cgroup/pod/cpu.max": "50000 100000\n",
		}, Limits{Memory: 2000, FreeMemory: 1500, CPUs: 0.5}},
		{"version 2, more free in the tighter group", map[string]string{
			"proc/self/cgroup": "0::/pod/container\n", "proc/self/mountinfo": mountV2,
			"sys/fs/cgroup/pod/container/memory.max": "1000\n", "sys/fs/cgroup/pod/container/memory.current": "100\n",
			"sys/fs/cgroup/pod/memory.max": "2000\n", "sys/fs/cgroup/pod/memory.current": "1700\n",
		}, Limits{Memory: 1000, FreeMemory: 300}},
		{"version 1", map[string]string{
			"proc/self/cgroup":    "9:memory:/job/step\n4:cpu,cpuacct:/job\n0::/elsewhere\n",
			"proc/self/mountinfo": mountMemory + mountCPU,
			"sys/fs/cgroup/memory/job/step/memory.limit_in_bytes": none, "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "4096\n",
			"sys/fs/cgroup/memory/job/memory.usage_in_bytes": "3000\n",
			"sys/fs/cgroup/memory/job/memory.stat":           "inactive_file 1\ntotal_inactive_file 1000\n",
			"sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, Limits{Memory: 4096, FreeMemory: 2096, CPUs: 2}},
		{"version 1, a container that sees its own group as the root", map[string]string{
			"proc/self/cgroup": "9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n", "proc/self/mountinfo": mountContainer,
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "4096\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "96\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
		}, Limits{Memory: 4096, FreeMemory: 4000, CPUs: 0.5}},
		{"more used than allowed", map[string]string{
			"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountV2, "sys/fs/cgroup/memory.max": "100\n", "sys/fs/cgroup/memory.current": "200\n",
		}, Limits{Memory: 100}},
		{"no numbers", map[string]string{
			"proc/self/cgroup": "0::/\nnonsense\n", "proc/self/mountinfo": "short\n" + mountV2,
			"sys/fs/cgroup/memory.max": "much\n", "sys/fs/cgroup/cpu.max": "\n",
		}, Limits{}},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, read(files(t, c.files))) })
	}
}

func TestThreads(t *testing.T) {
	for cpus, want := range map[float64]int{0: 8, 0.1: 1, 1: 1, 1.5: 2, 2: 2, 7.9: 8, 64: 8} {
		assert.Equal(t, want, Limits{CPUs: cpus}.Threads(8), "%v CPUs", cpus)
	}
}

func TestUnescape(t *testing.T) {
	assert.Equal(t, `/a b\c`, unescape(`/a\040b\134c`))
	assert.Equal(t, `/a\04`, unescape(`/a\04`))
}
