package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func write(content string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	}
}

// requireOnly checks that path holds content and that nothing lies beside it.
func requireOnly(t *testing.T, path, content string) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, string(got))
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, Write(path, write("first, and longer")))
	require.NoError(t, Write(path, write("second")))
	requireOnly(t, path, "second")
}

func TestModeFollowsUmask(t *testing.T) {
	for umask, want := range map[int]os.FileMode{0o022: 0o644, 0o077: 0o600, 0: 0o644} {
		old := syscall.Umask(umask)
		path := filepath.Join(t.TempDir(), "file")
		err := Write(path, write(""))
		syscall.Umask(old)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), "umask %o", umask)
	}
}

func TestFailureKeepsWhatWasThere(t *testing.T) {
	broken := errors.New("broken")
	for name, fail := range map[string]func(io.Writer) error{
		"at once": func(io.Writer) error { return broken },
		"half way": func(w io.Writer) error {
			if err := write(strings.Repeat("x", 10*bufferSize))(w); err != nil {
				return err
			}
			return broken
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			require.NoError(t, Write(path, write("before")))
			err := Write(path, fail)
			require.ErrorIs(t, err, broken)
			require.EqualError(t, err, "write "+path+": broken")
			requireOnly(t, path, "before")
		})
	}
}

func TestPanicKeepsWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, Write(path, write("before")))
	require.Panics(t, func() { _ = Write(path, func(io.Writer) error { panic("bug") }) })
	requireOnly(t, path, "before")
}

func TestNoSuchFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "file")
	require.EqualError(t, Write(path, write("")), "write "+path+": no such file or directory")
}

func TestPathIsAFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder")
	require.NoError(t, os.Mkdir(path, 0o700))
	require.ErrorIs(t, Write(path, write("")), syscall.EEXIST)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// helper runs this test binary as another process, which does what TestMain says.
func helper(t *testing.T, kind, path string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "ATOMICFILE_HELPER="+kind, "ATOMICFILE_PATH="+path)
	return c
}

func TestMain(m *testing.M) {
	path := os.Getenv("ATOMICFILE_PATH")
	switch os.Getenv("ATOMICFILE_HELPER") {
	case "full":
		// The kernel refuses to let a file grow beyond the limit as it does on a full disk.
		signal.Ignore(syscall.SIGXFSZ)
		limit := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			panic(err)
		}
		fmt.Print(Write(path, write(strings.Repeat("x", 2<<20))))
	case "endless":
		for i := 0; ; i++ {
			if err := Write(path, write(strings.Repeat(string(rune('a'+i%26)), 1<<20))); err != nil {
				panic(err)
			}
		}
	default:
		os.Exit(m.Run())
	}
}

func TestFullDiskKeepsWhatWasThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, Write(path, write("before")))
	out, err := helper(t, "full", path).CombinedOutput()
	require.NoError(t, err)
	require.Equal(t, "write "+path+": file too large", string(out))
	requireOnly(t, path, "before")
}

// TestKilled kills a process that writes one file after another: whatever the moment, the file is
// one of those.
func TestKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, Write(path, write(strings.Repeat("z", 1<<20))))
	for i := range 20 {
		c := helper(t, "endless", path)
		require.NoError(t, c.Start())
		time.Sleep(time.Duration(20+7*i) * time.Millisecond)
		require.NoError(t, c.Process.Kill())
		require.Error(t, c.Wait())
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, got, 1<<20)
		require.Equal(t, strings.Repeat(string(got[:1]), 1<<20), string(got))
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), TempPrefix+"*"+TempSuffix))
	require.NoError(t, err)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1+len(left), "leftovers are named as documented")
}
