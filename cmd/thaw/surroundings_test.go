package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLookAround(t *testing.T) {
	root := t.TempDir()
	env := map[string]string{"NVIDIA_VISIBLE_DEVICES": "void", "NVIDIA_DRIVER_CAPABILITIES": "utility"}
	getenv := func(name string) string { return env[name] }
	s := lookAround(root, getenv)
	assert.False(t, s.Verbs)
	assert.Zero(t, s.SharedBytes)
	require.NoError(t, os.MkdirAll(filepath.Join(root, "dev/shm"), 0o755))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "dev/infiniband"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "dev/infiniband/uverbs0"), nil, 0o644))
	s = lookAround(root, getenv)
	assert.True(t, s.InfiniBand)
	assert.Positive(t, s.SharedBytes)
	s.SharedBytes = 64 << 20
	hints := s.hints(0)
	require.Len(t, hints, 3)
	assert.Contains(t, hints[0], "NVIDIA_VISIBLE_DEVICES=void: the container gets no GPU; start it with --gpus all")
	assert.Contains(t, hints[1], "NVIDIA_DRIVER_CAPABILITIES=utility lacks compute")
	assert.Contains(t, hints[2], "no libibverbs.so.1")
	hints = s.hints(2)
	require.Len(t, hints, 3)
	assert.Contains(t, hints[1], "/dev/shm has 67 MB")

	require.NoError(t, os.MkdirAll(filepath.Join(root, "usr/lib/x86_64-linux-gnu"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "usr/lib/x86_64-linux-gnu/libibverbs.so.1"), nil, 0o644))
	env["NVIDIA_VISIBLE_DEVICES"], env["NVIDIA_DRIVER_CAPABILITIES"] = "all", "compute,utility"
	s = lookAround(root, getenv)
	s.SharedBytes = 1 << 30
	assert.Empty(t, s.hints(2))

	s.MemoryLimit, s.CPULimit = 4<<30, 1.5
	var out bytes.Buffer
	s.print(&out)
	assert.Equal(t, "limits    4.3 GB of memory, 1.5 CPUs (control group)\nshm       1074 MB in /dev/shm\n", out.String())
}
