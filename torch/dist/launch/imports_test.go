package launch_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A launcher needs no libtorch.
func TestImports(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for name := range strings.FieldsSeq(string(out)) {
		if ours, ok := strings.CutPrefix(name, "github.com/thaw-ml/thaw/"); ok && ours != "torch/dist/launch" {
			assert.True(t, strings.HasPrefix(ours, "internal/"), name)
		}
	}
}
