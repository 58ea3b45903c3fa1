// Package gpu holds no Go code but these tests: it is the folder of the scripts that make and run the GPU bundle.
package gpu

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tools is what run.sh may use beside python3. Tests run it with nothing else on the PATH.
var tools = strings.Fields("awk bash cat chmod dirname env find getconf head mkdir mktemp printf rm sed sha256sum sleep sort " +
	"tail tee timeout tr uname")

// program stands in for bin/thaw: its answers are those of the real one, which other tests check.
const program = `#!/usr/bin/env bash
case $1 in
version) echo "thaw 0.1.0"; exit ${THAW_VERSION_CODE:-0} ;;
doctor)
	printf '{"thaw":"0.1.0","libtorch":"2.11.0","libtorch_path":"%s","cores":16,"cuda":{"driver":"13.0","cudnn":"9.19","devices":[{"Index":0,"Name":"NVIDIA H100 80GB HBM3"}]},"problems":[%s]}\n' "$LD_LIBRARY_PATH" "$PROBLEM"
	[[ -z $PROBLEM ]] || { echo "thaw: something this program promises does not work" >&2; exit 1; }
	;;
bench)
	while [[ $1 != --json ]]; do shift; done
	echo "bert-base-full-len128-bs16   eager        900.0 samples/s     3.10 GB"
	echo "bert-base-full-len128-bs16   graph       2000.0 samples/s     3.10 GB"
	[[ ! $HANG == *bench* ]] || sleep 100
	cat >"$2" <<-EOT
	{"results": [{"case": "bert-base-full-len128-bs16", "mode": "eager", "samples_per_second": 900, "rounds": [890, 900, 910]},
	{"case": "bert-base-full-len128-bs16", "mode": "graph", "samples_per_second": 2000, "rounds": [1990, 2000, 2010]}]}
	EOT
	;;
train)
	for a in "$@"; do [[ $a != out=* ]] || out=${a#out=}; done
	mkdir -p "$out"
	echo '{"best": {"accuracy": 0.83, "rows": 1061}, "last": {"accuracy": 0.82}, "samples_per_second": 5, "seconds": {}}' >"$out/summary.json"
	;;
esac
`

// tested stands in for a package's tests.
const tested = `#!/usr/bin/env bash
[[ ! $HANG == *tests* ]] || sleep 100
[[ -f testdata/golden ]] || exit 1
if [[ $* == *-test.skip* ]]; then printf -- '--- PASS: TestOther (0.00s)\nPASS\n'; else printf -- '--- PASS: TestOnGPU (0.00s)\nPASS\n'; fi
`

// peer stands in for gpu_steps.py.
const peer = `import json, os, sys
mode = sys.argv[sys.argv.index("--modes") + 1]
print(json.dumps({"versions": {"torch": "2.11.0+cu130", "gpu": "NVIDIA H100 80GB HBM3"}}))
if "full-len128" in sys.argv[sys.argv.index("--cases") + 1]:
    for m, speed in (("eager", 336), ("graph", 1852)) if "eager" in mode else (("compile", 2326),):
        print(json.dumps({"case": "bert-base-full-len128-bs16", "mode": m, "samples_per_second": speed, "rounds": [speed]}))
if "compile" in mode and "peers" in os.environ.get("HANG", ""):
    sys.exit("it broke")
`

// host is a machine to run the bundle on.
type host struct {
	t                *testing.T
	bundle, out, bin string
	env              map[string]string
}

// newHost lays out a bundle as bundle.sh does, with stand-ins for its programs.
func newHost(t *testing.T) *host {
	t.Helper()
	dir := t.TempDir()
	h := &host{t: t, bundle: filepath.Join(dir, "dist"), out: filepath.Join(dir, "out"), bin: filepath.Join(dir, "bin"), env: map[string]string{}}
	for _, tool := range tools {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		h.link(path, tool)
	}
	python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	if err != nil {
		t.Fatal(err)
	}
	// Without what this machine has installed.
	h.write(filepath.Join(h.bin, "python3"), "#!/bin/sh\nexec "+strings.TrimSpace(string(python))+" -S \"$@\"\n")

	files := map[string]string{
		"bin/thaw": program, "tests/a/b/tests": tested, "tests/a/b/testdata/golden": "x", "tests.tsv": "a/b\tTestOnGPU\n",
		"peers/gpu_steps.py": peer, "demo/reviews.yaml": "", "lib/libturbojpeg.so.0": "", "report.py": read(t, "report.py"),
	}
	h.write(filepath.Join(h.bundle, "run.sh"), read(t, "run.sh"))
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	archive := tar.NewWriter(zipped)
	manifest := "# commit 0123456789ab\n"
	for name, text := range files {
		// Nothing may be executed: what carried the bundle may have lost that.
		if err := archive.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(archive, text)
		manifest += fmt.Sprintf("%x  payload/%s\n", sha256.Sum256([]byte(text)), name)
	}
	archive.Close()
	zipped.Close()
	h.write(filepath.Join(h.bundle, "payload.tar.gz"), packed.String())
	h.write(filepath.Join(h.bundle, "MANIFEST"), manifest)
	return h
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (h *host) write(path, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) link(path, name string) {
	h.t.Helper()
	if err := os.MkdirAll(h.bin, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(h.bin, name)); err != nil {
		h.t.Fatal(err)
	}
}

// torch puts a torch where python3 finds it, which must not be imported.
func (h *host) torch(version string, cuda bool) (folder string) {
	site := filepath.Join(filepath.Dir(h.bin), "site")
	folder = filepath.Join(site, "torch")
	h.write(filepath.Join(folder, "__init__.py"), "raise SystemExit('torch was imported')\n")
	h.write(filepath.Join(folder, "version.py"), "from typing import Optional\n\n__version__ = '"+version+"'\ndebug = False\n")
	if cuda {
		h.write(filepath.Join(folder, "lib/libtorch_cuda.so"), "")
		h.write(filepath.Join(site, "nvidia/cu13/lib/libcudart.so.13"), "")
	}
	for _, module := range []string{"torchvision", "transformers"} {
		h.write(filepath.Join(site, module, "__init__.py"), "")
	}
	h.env["PYTHONPATH"] = site
	return folder
}

// run runs run.sh in /, and gives what it printed to stdout and stderr, and its exit code.
func (h *host) run(step string) (stdout, stderr string, code int) {
	h.t.Helper()
	cmd := exec.Command(filepath.Join(h.bin, "bash"), filepath.Join(h.bundle, "run.sh"), step)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + h.bin, "OUT=" + h.out, "TMPDIR=" + h.t.TempDir()}
	for k, v := range h.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failure := cmd.Run(); failure != nil && cmd.ProcessState == nil {
		h.t.Fatal(failure)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// A host that lacks something is told so in one line.
func TestOneLineSaysWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		step   string
		change func(h *host)
		want   string
	}{
		"no libtorch": {"doctor", func(h *host) {}, "no libtorch found: install torch 2.11.0 for CUDA in this machine's Python, or name its folder with LIBTORCH"},
		"LIBTORCH": {"test", func(h *host) { h.torch("2.11.0", true); h.env["LIBTORCH"] = "/nowhere" },
			"LIBTORCH is /nowhere: there is no libtorch_cuda.so in it nor in its lib"},
		"no CUDA in it":   {"doctor", func(h *host) { h.torch("2.11.0+cpu", false) }, "has no CUDA (no lib/libtorch_cuda.so): install torch 2.11.0 for CUDA"},
		"another version": {"all", func(h *host) { h.torch("2.9.1+cu128", true) }, "is 2.9.1+cu128: the bundle was built with 2.11.0"},
		"no version": {"all", func(h *host) { h.write(filepath.Join(h.torch("2.11.0", true), "version.py"), "") },
			"is of an unknown version: the bundle was built with 2.11.0"},
		"old glibc": {"all", func(h *host) {
			h.torch("2.11.0", true)
			os.Remove(filepath.Join(h.bin, "getconf"))
			h.write(filepath.Join(h.bin, "getconf"), "#!/bin/sh\necho glibc 2.31\n")
		}, "this system has glibc 2.31: the bundle needs 2.36 or later"},
		"it does not start": {"all", func(h *host) { h.torch("2.11.0", true); h.env["THAW_VERSION_CODE"] = "1" },
			"the program does not start with the libtorch in "},
		"no device": {"all", func(h *host) {
			h.torch("2.11.0+cu130", true)
			h.env["PROBLEM"] = `"cuda: cuda: devices: no NVIDIA driver answers on this machine: a GPU's driver must be installed"`
		}, "no NVIDIA driver answers on this machine: a GPU's driver must be installed\n"},
		"no device for bench": {"bench", func(h *host) {
			h.torch("2.11.0+cu130", true)
			h.env["PROBLEM"] = `"cuda: no NVIDIA driver answers on this machine"`
		}, "no NVIDIA driver answers on this machine\n"},
		"damaged": {"all", func(h *host) {
			h.write(filepath.Join(h.bundle, "MANIFEST"), strings.Repeat("0", 64)+"  payload/bin/thaw\n")
		}, "is damaged: bin/thaw: FAILED"},
		"cut off": {"all", func(h *host) { h.write(filepath.Join(h.bundle, "payload.tar.gz"), "x") }, "cannot unpack "},
		"OUT":     {"all", func(h *host) { h.write(h.out, "a file") }, "cannot write to "},
		"DEVICE":  {"all", func(h *host) { h.env["DEVICE"] = "tpu" }, "DEVICE is tpu: write cuda or cpu"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			c.change(h)
			_, stderr, code := h.run(c.step)
			if code != 1 || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "thaw: ") || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, stderr %q, want one line with %q", code, stderr, c.want)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	h := newHost(t)
	if _, stderr, code := h.run("everything"); code != 2 || !strings.HasPrefix(stderr, "usage: run.sh doctor|") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if stdout, _, code := h.run("--help"); code != 0 || !strings.Contains(stdout, "LIBTORCH") {
		t.Errorf("exit code %d, stdout %q", code, stdout)
	}
}

// What LIBTORCH names comes first; the library path has torch's folder, that of its wheels, and what was there before.
func TestLibtorchIsFound(t *testing.T) {
	h := newHost(t)
	folder := h.torch("2.11.0+cu130", true)
	h.env["LD_LIBRARY_PATH"] = "/driver"
	other := filepath.Join(t.TempDir(), "libtorch")
	h.write(filepath.Join(other, "lib/libtorch_cuda.so"), "")
	h.write(filepath.Join(other, "include/torch/headeronly/version.h"), "#define TORCH_VERSION \\\n  \"2.11.0\"\n")
	for _, c := range []struct{ libtorch, want string }{
		{"", folder + "/lib:" + filepath.Dir(folder) + "/nvidia/cu13/lib:"},
		{other, other + "/lib:"},
		{other + "/lib", other + "/lib:"},
	} {
		h.env["LIBTORCH"] = c.libtorch
		stdout, stderr, code := h.run("doctor")
		if code != 0 || !strings.Contains(stdout, "libtorch 2.11.0 in "+c.want) || !strings.Contains(stdout, ":/driver\n") {
			t.Errorf("LIBTORCH %q: exit code %d, stdout %q, stderr %q", c.libtorch, code, stdout, stderr)
		}
	}
}

// all runs every step, leaves eight files, and nothing else anywhere.
func TestAll(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	if err := os.Chmod(h.bundle, 0o555); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := h.run("all")
	if code != 0 {
		t.Fatalf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	h.check("bench.json bench.log demo.log doctor.json peers.jsonl result.json result.md tests.log",
		"| bert-base-full-len128-bs16 | 336 | 2,326 | 1,852 | 900 | 2,000 | - | 5.95 | 0.86 |",
		"| bert-base-full-len128-bs16: at least 5.0 times PyTorch's eager | 5.952 | pass |",
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | 0.86 | pass |",
		"| bert-base-full-len128-bs128: at least 1.15 times PyTorch's eager | - | not measured |",
		"| every GPU test passes | GPU tests: 1 passed, 0 failed, 0 skipped; other tests: 1 passed, 0 failed, 0 skipped | pass |",
		"| 0.8300 on the GPU, 0.8300 on the CPU | pass |",
		"NVIDIA H100 80GB HBM3", "at 0123456789ab")
}

// Steps that hang or fail keep none of the others from running, and the time that all may take is kept.
func TestAllWithStepsThatHang(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["HANG"], h.env["WITHIN"] = "tests bench peers", "12"
	began := time.Now()
	_, stderr, code := h.run("all")
	if code != 1 || !strings.HasSuffix(stderr, "thaw: failed: test; bench, pass 1; peers; bench, pass 2\n") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	// Each step that comes too late still has two seconds.
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	h.check("bench.json bench.log demo.log doctor.json peers.jsonl result.json result.md tests.log",
		"| bert-base-full-len128-bs16 | 336 | 2,326 | 1,852 | 900 | 2,000 | - | 5.95 | 0.86 |", // as it was printed
		"- a/b (gpu): did not end in time",
		"- gpu_steps.py (compile): exit code 1: it broke",
		"- thaw bench, pass 1 (targets): ended early")
}

// check looks at the files that were left, and for lines in the table.
func (h *host) check(names string, lines ...string) {
	h.t.Helper()
	entries, err := os.ReadDir(h.out)
	if err != nil {
		h.t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		found = append(found, e.Name())
	}
	if got := strings.Join(found, " "); got != names {
		h.t.Errorf("files %s, want %s", got, names)
	}
	text := read(h.t, filepath.Join(h.out, "result.md"))
	for _, line := range lines {
		if !strings.Contains(text, line) {
			h.t.Errorf("the table lacks %q:\n%s", line, text)
		}
	}
}

// The peer measures what Thaw measures, under the same names and in the same order; what Thaw has not yet is pictures.
func TestPeersCasesAreThaws(t *testing.T) {
	out, err := exec.Command("python3", "../peers/gpu_steps.py", "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "run", "./cmd/thaw", "bench", "--list")
	list.Dir = "../.."
	ours, err := list.Output()
	if err != nil {
		t.Fatalf("%v: %v", list, err)
	}
	thaw := strings.Fields(string(ours))
	peers := slices.DeleteFunc(strings.Fields(string(out)), func(name string) bool {
		return strings.HasPrefix(name, "resnet50-") && !slices.Contains(thaw, name)
	})
	slices.Sort(thaw)
	slices.Sort(peers)
	if !slices.Equal(thaw, peers) {
		t.Errorf("thaw bench has %q, gpu_steps.py %q", thaw, peers)
	}
}

// run.sh splits the cases in two: those with targets, and the others.
func TestEveryCaseIsInOnePart(t *testing.T) {
	script := read(t, "run.sh")
	pattern := func(name string) string {
		_, rest, _ := strings.Cut(script, "\n"+name+"='")
		value, _, found := strings.Cut(rest, "'")
		if !found {
			t.Fatalf("run.sh sets no %s", name)
		}
		return value
	}
	list := func(pattern string) []string {
		out, err := exec.Command("python3", "../peers/gpu_steps.py", "--list", "--cases", pattern).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(out))
	}
	parts := append(list(pattern("targets")), list(pattern("others"))...)
	all := list("")
	slices.Sort(parts)
	slices.Sort(all)
	if !slices.Equal(all, parts) {
		t.Errorf("the parts have %q, all are %q", parts, all)
	}
}
