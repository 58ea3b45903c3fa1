package third_party

import (
	"bytes"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFetchInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "checkout")
			started := filepath.Join(t.TempDir(), "started")
			m.python(`[[ $* != *" download "* ]] || { : >` + started + `; exec sleep 30; }`)
			cmd := m.fetch()
			var out bytes.Buffer
			cmd.Stderr = &out
			cmd.WaitDelay = time.Second // SIGKILL leaves the sleep behind
			startHearing(t, cmd, signal)
			require.Eventually(t, func() bool {
				_, err := os.Stat(started)
				return err == nil
			}, 15*time.Second, 10*time.Millisecond)
			require.NoError(t, cmd.Process.Signal(signal))
			start := time.Now()
			require.Error(t, cmd.Wait())
			assert.Less(t, time.Since(start), 5*time.Second)
			if signal != syscall.SIGKILL {
				assert.Equal(t, 1, cmd.ProcessState.ExitCode())
				assert.Contains(t, oneFailure(t, out.String()), "interrupted: nothing was left half-made")
				m.nothingHalfMade()
			}

			m.python("")
			m.must()
			m.has(m.link(), cpuFiles...)
			left, err := filepath.Glob(filepath.Join(m.cache, "tmp.*"))
			require.NoError(t, err)
			assert.Empty(t, left, "of the run that was killed")
		})
	}
}

// startHearing starts a command that hears a signal even where this process was started deaf to it, by nohup or as
// bash's background job: what is ignored stays so in a child, where bash cannot trap it; what is caught does not.
func startHearing(t *testing.T, cmd *exec.Cmd, s os.Signal) {
	t.Helper()
	if signal.Ignored(s) {
		caught := make(chan os.Signal, 1)
		signal.Notify(caught, s)
		defer signal.Stop(caught)
	}
	require.NoError(t, cmd.Start())
}
