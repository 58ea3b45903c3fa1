package torch_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// keepFreedChild is set in the processes of TestKeepFreedMemory.
const keepFreedChild = "THAW_TEST_KEEP_FREED"

// giveBackChild is set in those that take KeepFreedMemory back.
const giveBackChild = "THAW_TEST_GIVE_BACK"

func init() {
	if os.Getenv(keepFreedChild) != "" {
		runtime.LockOSThread()
	}
}

// keepFreed is what such a process does in place of tests: it tells what became of a large tensor's memory.
func keepFreed() error {
	const large = 512 << 20
	torch.KeepFreedMemory()
	if os.Getenv(giveBackChild) != "" {
		torch.GiveBackFreedMemory()
	}
	before, err := residentBytes()
	if err != nil {
		return err
	}
	torch.Scoped(func() { torch.Ones(torch.Float32, torch.CPU, large/4) })
	after, err := residentBytes()
	if after-before > large/2 {
		fmt.Println("kept")
	} else {
		fmt.Println("given back")
	}
	return err
}

// What is freed stays with the process after KeepFreedMemory, unless the environment sets malloc. Each case is a
// process, as malloc's settings are.
func TestKeepFreedMemory(t *testing.T) {
	for env, want := range map[string]string{
		"NOTHING=1":          "kept",
		"MALLOC_ARENA_MAX=8": "given back",
		giveBackChild + "=1": "given back",
		"GLIBC_TUNABLES=glibc.malloc.tcache_count=7": "given back",
	} {
		cmd := exec.Command(os.Args[0])
		for _, pair := range os.Environ() {
			if !strings.HasPrefix(pair, "MALLOC_") && !strings.HasPrefix(pair, "GLIBC_TUNABLES=") {
				cmd.Env = append(cmd.Env, pair)
			}
		}
		cmd.Env = append(cmd.Env, keepFreedChild+"=1", env)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, want+"\n", string(out), env)
	}
}
