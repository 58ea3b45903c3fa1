package torch_test

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// TestCollector drops tensors without closing them, in a process of its own because TestMain counts them as leaks.
func TestCollector(t *testing.T) {
	const child = "THAW_TEST_COLLECTOR"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCollector$")
		cmd.Env = append(os.Environ(), child+"=1")
		out, _ := cmd.CombinedOutput()
		require.Contains(t, string(out), "the collector found", string(out))
		return
	}
	const made = 1000
	for range made {
		torch.Ones(torch.Float32, torch.CPU, 256)
	}
	for range 100 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
		// All but the youngest few are found.
		if s := torch.Stats(); s.Collected > made-100 && s.Tensors < 100 && s.Collected+s.Tensors == made {
			os.Stdout.WriteString("the collector found them\n")
			return
		}
	}
	t.Fatal("dropped tensors are still alive: ", torch.Stats())
}
