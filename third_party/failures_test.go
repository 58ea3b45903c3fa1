package third_party

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFetchFailures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		code int
		want string // in the last line
		args []string
		set  func(m *machine)
	}{
		{"wrong hash", 1, "torch 2.11.0: the file that pip brought is not the one that", nil, func(m *machine) {
			m.usePip()
			m.lockLines[0] = strings.Replace(m.lockLines[0], m.lockLines[0][len(m.lockLines[0])-8:], "00000000", 1)
		}},
		{"wrong hash of the second file", 1, "nvidia-cuda-runtime 13.0.96: the file that pip brought", nil, func(m *machine) {
			m.usePip()
			m.lockLines[1] = strings.Replace(m.lockLines[1], m.lockLines[1][len(m.lockLines[1])-8:], "00000000", 1)
		}},
		{"not in the index", 1, "torch 2.11.1: the package index that pip uses does not have it", nil, func(m *machine) {
			m.usePip()
			m.lockLines[0] = strings.Replace(m.lockLines[0], "2.11.0", "2.11.1", 1)
		}},
		{"damaged wheel", 1, "nvidia-cuda-nvrtc 1: ERROR:", nil, func(m *machine) {
			path := m.wheel("cpu", "nvidia-cuda-nvrtc", "1", map[string]string{
				"nvidia/cu13/lib/libnvrtc.so.13": strings.Repeat("nvrtc", 1000)})
			data, err := os.ReadFile(path)
			require.NoError(m.t, err)
			data[40]++ // in the first file's name or data
			m.write(path, string(data))
			last := strings.Fields(m.lockLines[len(m.lockLines)-1])
			last[4] = fmt.Sprintf("%x", sha256.Sum256(data))
			m.lockLines[len(m.lockLines)-1] = strings.Join(last, " ")
		}},
		{"wheel with nothing to use", 1, "it holds nothing that Thaw uses", nil, func(m *machine) {
			m.wheel("cpu", "six", "1.0", map[string]string{"six.py": "6"})
		}},
		{"wheel that points out", 1, "points out of the archive", nil, func(m *machine) {
			m.wheel("cpu", "evil", "1.0", map[string]string{"torch/include/../../../../evil.h": "evil"})
		}},
		{"no python", 1, "python3 not found", nil, func(m *machine) { delete(m.env, "PYTHON") }},
		{"no pip", 1, "python has no pip", nil, func(m *machine) {
			m.python(`[[ $* != *"import pip"* ]] || { echo "No module named pip" >&2; exit 1; }`)
		}},
		{"no compiler", 1, "no C++ compiler: g++ not found", nil, func(m *machine) {
			require.NoError(m.t, os.Remove(filepath.Join(m.bin, "g++")))
		}},
		{"no compiler of that name", 1, "no C++ compiler: clang++-99 not found", nil, func(m *machine) {
			m.env["CXX"] = "clang++-99 -O2"
		}},
		{"old compiler", 1, "g++ knows no C++20", nil, func(m *machine) {
			m.command("g++", `echo "unrecognized option -std=c++20" >&2; exit 1`)
		}},
		{"other architecture", 1, "this machine is aarch64", nil, func(m *machine) {
			m.command("uname", `[[ $1 == -s ]] && echo Linux || echo aarch64`)
		}},
		{"other system", 1, "this is Darwin", nil, func(m *machine) { m.command("uname", `echo Darwin`) }},
		{"old glibc", 1, "this system has glibc 2.17", nil, func(m *machine) {
			m.command("getconf", `echo glibc 2.17`)
		}},
		{"no glibc", 1, "C library is not glibc", nil, func(m *machine) { m.command("getconf", `exit 1`) }},
		{"cache that is a file", 1, "set THAW_CACHE to another folder", nil, func(m *machine) { m.write(m.cache, "") }},
		{"no home", 1, "no cache folder", nil, func(m *machine) { m.env["HOME"] = ""; m.env["THAW_CACHE"] = "" }},
		{"folder where the link goes", 1, "libtorch is in the way", nil, func(m *machine) {
			require.NoError(m.t, os.Mkdir(m.link(), 0o755))
		}},
		{"disk full while pip writes", 1, "is full; make room", nil, func(m *machine) {
			m.python(`[[ $* != *" download "* ]] || { echo "ERROR: Could not install packages due to an OSError: ` +
				`[Errno 28] No space left on device" >&2; exit 1; }`)
		}},
		{"no apt-get", 1, "fashion 1 is a Debian package, and apt-get was not found", []string{"--set", "fashion-mnist"},
			func(m *machine) {
				m.lockLines = append(m.lockLines, "fashion-mnist fashion 1 deb "+strings.Repeat("0", 64))
			}},
		{"package that apt does not have", 1, "fashion 1: the sources that apt uses do not have it",
			[]string{"--set", "fashion-mnist"}, func(m *machine) {
				m.deb("fashion-mnist", "fashion", "1", false, fashionFiles)
				m.command("apt-get", `[[ $* == *" update" ]] || { echo "E: Version '1' for 'fashion' was not found" >&2; exit 100; }`)
			}},
		{"no network for apt", 1, "fashion 1: E: Some index files failed to download", []string{"--set", "fashion-mnist"},
			func(m *machine) {
				m.deb("fashion-mnist", "fashion", "1", false, fashionFiles)
				m.command("apt-get", `echo "E: Some index files failed to download" >&2; exit 100`)
			}},
		{"package with a wrong hash", 1, "fashion 1: the file that apt-get brought is not the one that",
			[]string{"--set", "fashion-mnist"}, func(m *machine) {
				path := m.deb("fashion-mnist", "fashion", "1", false, fashionFiles)
				data, err := os.ReadFile(path)
				require.NoError(m.t, err)
				m.write(path, string(data)+"x")
			}},
		{"package that is none", 1, "fashion 1: ", []string{"--set", "fashion-mnist"}, func(m *machine) {
			path := m.deb("fashion-mnist", "fashion", "1", false, fashionFiles)
			m.write(path, "no package")
			last := strings.Fields(m.lockLines[len(m.lockLines)-1])
			last[4] = fmt.Sprintf("%x", sha256.Sum256([]byte("no package")))
			m.lockLines[len(m.lockLines)-1] = strings.Join(last, " ")
		}},
		{"two sets and one link", 2, "one link cannot serve reviews and something else",
			[]string{"--set", "reviews", "--set", "fashion-mnist", "--link", "x"}, func(*machine) {}},
		{"lock with an unknown kind", 1, `wheels.lock:4: kind is "zip", want wheel, sdist or deb`, nil,
			func(m *machine) { m.lockLines = append(m.lockLines, "cpu torch 1 zip abc") }},
		{"lock with a short line", 1, "wheels.lock:4: want sets, name, version, kind and sha256, have 2 fields", nil,
			func(m *machine) { m.lockLines = append(m.lockLines, "cpu torch") }},
		{"lock with a bad hash", 1, `wheels.lock:4: "abc" is no sha256`, nil,
			func(m *machine) { m.lockLines = append(m.lockLines, "cpu torch 1 wheel abc") }},
		{"lock without the set", 1, "has no lines for the set cuda", []string{"--set", "cuda"}, func(*machine) {}},
		{"unknown set", 2, `"gpu" is no set`, []string{"--set", "gpu"}, func(*machine) {}},
		{"unknown argument", 2, `"--sets" is no argument`, []string{"--sets"}, func(*machine) {}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, "checkout")
			tt.set(m)
			out, err := m.fetch(tt.args...).CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, string(out))
			assert.Equal(t, tt.code, exit.ExitCode())
			assert.Contains(t, oneFailure(t, string(out)), tt.want)
			if tt.name != "folder where the link goes" { // there all but the link is done, and rightly kept
				m.nothingHalfMade()
			}
		})
	}
}

// oneFailure returns the last line, having checked that all before it are news of what is under way.
func oneFailure(t *testing.T, out string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	for _, line := range lines[:len(lines)-1] {
		assert.Regexp(t, "^thaw: (bringing|brought) ", line)
	}
	last := lines[len(lines)-1]
	assert.Regexp(t, "^thaw: ", last)
	return last
}

func TestFetchDiskFull(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.wheel("cpu", "nvidia-cublas", "1", map[string]string{"nvidia/cu13/lib/libcublas.so.13": strings.Repeat("0", 8<<20)})
	require.NoError(t, os.MkdirAll(m.cache, 0o755))
	mount := "mount -t tmpfs -o size=4m none " + m.cache
	if err := exec.Command("unshare", "-rm", "bash", "-c", mount).Run(); err != nil {
		t.Skip("no rights to mount a small disk; a case of TestFetchFailures plays it: ", err)
	}
	fetch := m.fetch()
	cmd := exec.Command("unshare", "-rm", "bash", "-c",
		mount+` && { env PATH="$INNER_PATH" "$@"; code=$?; ls -d $THAW_CACHE/tmp.* 2>/dev/null; exit $code; }`, "bash")
	cmd.Args = append(cmd.Args, fetch.Args...)
	cmd.Env = append(fetch.Env, "INNER_PATH="+m.bin, "PATH="+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, string(out))
	assert.Equal(t, 1, exit.ExitCode())
	assert.Contains(t, oneFailure(t, string(out)), "nvidia-cublas 1: the disk of "+m.cache+" is full")
}
