package torch

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A program finds the libtorch that it was built with first: DT_RPATH comes before LD_LIBRARY_PATH, DT_RUNPATH behind it.
func TestPathOfLibtorchComesFirst(t *testing.T) {
	f, err := elf.Open("/proc/self/exe")
	require.NoError(t, err)
	defer f.Close()
	rpath, err := f.DynString(elf.DT_RPATH)
	require.NoError(t, err)
	assert.NotEmpty(t, rpath)
	runpath, err := f.DynString(elf.DT_RUNPATH)
	require.NoError(t, err)
	assert.Empty(t, runpath)

	// Files that are no libraries end a program that meets them.
	other := t.TempDir()
	for _, name := range []string{"libtorch_cpu.so", "libc10.so"} {
		require.NoError(t, os.WriteFile(filepath.Join(other, name), []byte("another libtorch"), 0o644))
	}
	c := exec.Command("/proc/self/exe", "-test.run=^$")
	c.Env = append(os.Environ(), "LD_LIBRARY_PATH="+other)
	out, err := c.CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

func TestVersionIsTheLoadedOne(t *testing.T) {
	assert.Regexp(t, `^2\.11\.0`, Version())
	assert.NoError(t, CheckVersion())
	assert.NoError(t, compareVersions("2.11.0+cu130", "2.11.0", ""))
	assert.EqualError(t, compareVersions("2.10.0", "2.11.0", "/opt/torch/lib/libtorch_cpu.so"),
		"libtorch 2.10.0 is loaded, from /opt/torch/lib/libtorch_cpu.so, and this program was built with 2.11.0: take that file out of LD_PRELOAD and LD_LIBRARY_PATH")
}
