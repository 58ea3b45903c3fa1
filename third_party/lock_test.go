package third_party

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The link's name holds libtorch's version, and the cgo flags name the link.
func TestLockAgreesWithCgoFlags(t *testing.T) {
	t.Parallel()
	lock, err := os.ReadFile("wheels.lock")
	require.NoError(t, err)
	var version string
	count := map[string]int{}
	for _, line := range strings.Split(string(lock), "\n") {
		fields := strings.Fields(line)
		if len(fields) != 5 || fields[0] == "#" {
			continue
		}
		if fields[1] == "torch" {
			version = fields[2]
		}
		for _, set := range strings.Split(fields[0], ",") {
			count[set]++
		}
	}
	assert.Equal(t, map[string]int{"cpu": 4, "cuda-headers": 6, "cuda": 18, "reviews": 2, "fashion-mnist": 1, "stamps": 1}, count)

	flags, err := os.ReadFile("../torch/internal/capi/capi.go")
	require.NoError(t, err)
	assert.Contains(t, string(flags), "${SRCDIR}/../../../third_party/libtorch/lib")
	assert.Contains(t, string(flags), "${SRCDIR}/../../../../thaw-libtorch-"+version+"/lib")
}
