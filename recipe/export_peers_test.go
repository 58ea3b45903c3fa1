package recipe

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExportsLoadElsewhere runs bench/peers/check_exports.py and check_detector_onnx.py: exports of every architecture give
// Thaw's logits in transformers, torchvision and onnxruntime, and its boxes in onnxruntime. It takes minutes, so it asks for THAW_EXPORTS=1, as make exports gives it.
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
	for _, script := range []string{"check_detector_onnx.py", "check_exports.py"} {
		out, err := exec.CommandContext(t.Context(), python, "../bench/peers/"+script).CombinedOutput()
		t.Logf("%s", out)
		require.NoError(t, err, script)
	}
}
