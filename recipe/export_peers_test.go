package recipe

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExportsLoadElsewhere runs bench/peers/check_exports.py: exports of every architecture give Thaw's logits in
// transformers, torchvision and onnxruntime. It takes minutes, so it asks for THAW_EXPORTS=1, as make exports gives it.
func TestExportsLoadElsewhere(t *testing.T) {
	if os.Getenv("THAW_EXPORTS") == "" {
		t.Skip("exports are checked in transformers, torchvision and onnxruntime by make exports (THAW_EXPORTS=1)")
	}
	cache := os.Getenv("THAW_CACHE")
	if cache == "" {
		home, err := os.UserCacheDir()
		require.NoError(t, err)
		cache = filepath.Join(home, "thaw")
	}
	python := filepath.Join(cache, "peers", "bin", "python")
	if _, err := os.Stat(python); err != nil {
		t.Skipf("transformers, torchvision and onnxruntime are not here: make peers brings them (there is no %s)", python)
	}
	out, err := exec.CommandContext(t.Context(), python, "../bench/peers/check_exports.py").CombinedOutput()
	t.Logf("%s", out)
	require.NoError(t, err)
}
