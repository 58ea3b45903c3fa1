package thaw

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A process of its own is tuned as main would be: what Tune sets is for good.
func TestMain(m *testing.M) {
	if os.Getenv("THAW_TEST_TUNE") == "" {
		os.Exit(m.Run())
	}
	before := runtime.GOMAXPROCS(0)
	Tune()
	Tune()
	onMain := unix.Gettid() == unix.Getpid()
	for range 100 { // a goroutine that is not locked wanders
		done := make(chan int)
		go func() { runtime.Gosched(); done <- unix.Gettid() }()
		<-done
		onMain = onMain && unix.Gettid() == unix.Getpid()
	}
	println(runtime.GOMAXPROCS(0)-before, onMain)
	os.Exit(0)
}

func TestTune(t *testing.T) {
	for variable, want := range map[string]string{"THAW_NONE=": "1 true", "GOMAXPROCS=3": "0 true"} {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "THAW_TEST_TUNE=1", variable)
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		assert.Equal(t, want, strings.TrimSpace(string(out)), variable)
	}
}
