package capi

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A program has libtorch's CUDA kernels only if libtorch_cuda is among the libraries that it asks for: nothing in it
// refers to the kernels, which register themselves. Without the tag it asks for no CUDA at all.
func TestCUDAIsLinked(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program twice")
	}
	cuda := []string{"libtorch_cuda.so", "libc10_cuda.so", "libcudart.so.13"}
	for tags, want := range map[string]bool{"": false, "cuda": true} {
		t.Run("tags="+tags, func(t *testing.T) {
			if want && !hasCUDAHeaders() {
				t.Skip("needs CUDA's headers: third_party/fetch.sh --set cuda-headers")
			}
			program := filepath.Join(t.TempDir(), "thaw")
			out, err := exec.Command("go", "build", "-tags", tags, "-o", program, "github.com/thaw-ml/thaw/cmd/thaw").CombinedOutput()
			require.NoError(t, err, "%s", out)
			f, err := elf.Open(program)
			require.NoError(t, err)
			defer f.Close()
			needed, err := f.ImportedLibraries()
			require.NoError(t, err)
			assert.Contains(t, needed, "libtorch_cpu.so")
			symbols, err := f.ImportedSymbols()
			require.NoError(t, err)
			nccl := slices.ContainsFunc(symbols, func(s elf.ImportedSymbol) bool { return strings.Contains(s.Name, "ProcessGroupNCCL") })
			assert.Equal(t, want, nccl, "c10d's group over NCCL is asked for")
			for _, lib := range cuda {
				if want {
					assert.Contains(t, needed, lib)
				} else {
					assert.NotContains(t, needed, lib)
				}
			}
		})
	}
}

func hasCUDAHeaders() bool {
	for _, place := range []string{"../../../third_party/libtorch", "../../../../thaw-libtorch-2.11.0"} {
		if _, err := os.Stat(filepath.Join(place, "include/cuda/crt/host_config.h")); err == nil {
			return true
		}
	}
	return false
}
