package torch_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// What is freed stays with the process after KeepFreedMemory, unless the environment sets malloc. Each case is a process,
// as malloc's settings are.
func TestKeepFreedMemory(t *testing.T) {
	const child = "THAW_TEST_KEEP_FREED"
	const large = 512 << 20
	if os.Getenv(child) != "" {
		torch.KeepFreedMemory()
		before := resident(t)
		torch.Scoped(func() { torch.Ones(torch.Float32, torch.CPU, large/4) })
		if kept := resident(t) - before; kept > large/2 {
			fmt.Println("kept")
		} else {
			fmt.Println("given back")
		}
		return
	}
	for env, want := range map[string]string{
		"NOTHING=1":          "kept",
		"MALLOC_ARENA_MAX=8": "given back",
		"GLIBC_TUNABLES=glibc.malloc.tcache_count=7": "given back",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKeepFreedMemory$", "-test.v")
		for _, pair := range os.Environ() {
			if !strings.HasPrefix(pair, "MALLOC_") && !strings.HasPrefix(pair, "GLIBC_TUNABLES=") {
				cmd.Env = append(cmd.Env, pair)
			}
		}
		cmd.Env = append(cmd.Env, child+"=1", env)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Contains(t, string(out), "\n"+want+"\n", env)
	}
}
