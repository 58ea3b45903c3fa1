package third_party

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
