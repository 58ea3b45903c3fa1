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
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tools is what run.sh may use beside python3. Tests run it with nothing else on the PATH.
var tools = strings.Fields("awk bash cat chmod dirname env find getconf head mkdir mktemp printf rm sed sha256sum sleep sort " +
	"tail tee timeout touch tr uname")

// program stands in for bin/thaw: its answers are those of the real one, which other tests check.
const program = `#!/usr/bin/env bash
case $1 in
version) echo "thaw 0.1.0"; exit ${THAW_VERSION_CODE:-0} ;;
doctor)
	[[ ! $BREAK == *doctor* ]] || { echo "terminate called" >&2; exit 134; }
	[[ $BREAK == *device* ]] || devices='{"Index":0,"Name":"NVIDIA H100 80GB HBM3"}'
	printf '{"thaw":"0.1.0","libtorch":"2.11.0","libtorch_path":"%s","cores":16,"cuda":{"driver":"13.0","cudnn":"9.19","devices":[%s]},"problems":[%s]}\n' "$LD_LIBRARY_PATH" "$devices" "$PROBLEM"
	[[ -z $PROBLEM ]] || { echo "thaw: something this program promises does not work" >&2; exit 1; }
	;;
bench)
	cases=$2
	while [[ $1 != --json ]]; do shift; done
	[[ $cases == *-full-len128-bs16\$ ]] || { echo '{"results": []}' >"$2"; exit; }
	echo "bert-base-full-len128-bs16   eager        900.0 samples/s     3.10 GB"
	echo "bert-base-full-len128-bs16   graph       2000.0 samples/s     3.10 GB"
	results='{"case": "bert-base-full-len128-bs16", "mode": "eager", "samples_per_second": 900, "rounds": [890, 900, 910]}'
	if [[ $BREAK == *bench* ]]; then # what is stopped writes what it has
		trap 'echo "{\"results\": [$results]}" >"$2"; exit 1' TERM
		sleep 100 &
		wait
	fi
	cat >"$2" <<-EOT
	{"results": [$results, {"case": "bert-base-full-len128-bs16", "mode": "graph", "samples_per_second": 2000, "rounds": [1990, 2000, 2010],
	"peak_memory_bytes": 3100000000, "warnings": ["2x16: the driver is old"]}]}
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
[[ ! $BREAK == *hanging-tests* ]] || sleep 100
[[ -f testdata/golden ]] || exit 1
if [[ $* == *-test.skip* ]]; then printf -- '--- PASS: TestOther (0.00s)\nPASS\n'; exit; fi
if [[ $BREAK == *crashing-tests* && $* != *TestLast\$* ]]; then
	[[ $* != *TestFirst* ]] || printf -- '=== RUN   TestFirst\n--- PASS: TestFirst (0.00s)\n'
	printf '=== RUN   TestOnGPU\nterminate called after throwing\n  what():  CUDA error: an illegal memory access\nSIGABRT: abort\nhalf a li'
	exit 2
fi
for name in TestFirst TestOnGPU TestLast; do
	[[ $* != *$name* ]] || printf -- "--- PASS: $name (0.00s)\n"
done
`

// peer stands in for gpu_steps.py.
const peer = `import json, os, sys, time
mode = sys.argv[sys.argv.index("--modes") + 1]
cases = sys.argv[sys.argv.index("--cases") + 1]
broken = os.environ.get("BREAK", "")
print(json.dumps({"versions": {"torch": "2.11.0+cu130", "gpu": "NVIDIA H100 80GB HBM3"}}))
if "compile" in mode and "peers" in broken:
    sys.exit("it broke")
if "len128-bs(16" in cases or "len128-bs16$" in cases:
    for m, speed in (("eager", 336), ("graph", 1852)) if "eager" in mode else (("compile", 2326),):
        print(json.dumps({"case": "bert-base-full-len128-bs16", "mode": m, "samples_per_second": speed, "rounds": [speed],
                          "peak_memory_bytes": 4200000000}))
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
		"bin/thaw": program, "tests/a/b/tests": tested, "tests/a/b/testdata/golden": "x", "tests.tsv": "a/b\tTestFirst|TestOnGPU|TestLast\n",
		"peers/gpu_steps.py": peer, "demo/reviews.yaml": "", "lib/libturbojpeg.so.0": "", "report.py": read(t, "report.py"),
		"measured.py": read(t, "measured.py"),
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
func (h *host) run(arguments ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	cmd := exec.Command(filepath.Join(h.bin, "bash"), append([]string{filepath.Join(h.bundle, "run.sh")}, arguments...)...)
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
		"CUDA 12": {"all", func(h *host) { h.torch("2.11.0+cu126", true) },
			"is 2.11.0+cu126: the bundle needs the build for CUDA 13 (torch 2.11.0 as pip installs it by default, +cu130)"},
		"a CPU's": {"all", func(h *host) { h.torch("2.11.0+cpu", true) }, "is 2.11.0+cpu: the bundle needs the build for CUDA 13"},
		"no device": {"all", func(h *host) {
			h.torch("2.11.0+cu130", true)
			h.env["BREAK"], h.env["PROBLEM"] = "device", `"cuda: cuda: devices: no NVIDIA driver answers on this machine: a GPU's driver must be installed"`
		}, "no NVIDIA driver answers on this machine: a GPU's driver must be installed\n"},
		"no device for bench": {"bench", func(h *host) {
			h.torch("2.11.0+cu130", true)
			h.env["BREAK"], h.env["PROBLEM"] = "device", `"cuda: no NVIDIA driver answers on this machine"`
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

// CUDA's libraries lie beside a link to torch's folder, and beside the folder itself; for the CPU, a build for it does.
func TestLibtorchBehindALink(t *testing.T) {
	h := newHost(t)
	folder := h.torch("2.11.0+cpu", true)
	store := filepath.Join(t.TempDir(), "store")
	h.write(filepath.Join(store, "nvidia/cudnn/lib/libcudnn.so.9"), "")
	if err := os.Rename(folder, filepath.Join(store, "torch")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(store, "torch"), folder); err != nil {
		t.Fatal(err)
	}
	h.env["DEVICE"] = "cpu"
	want := folder + "/lib:" + filepath.Dir(folder) + "/nvidia/cu13/lib:" + store + "/nvidia/cudnn/lib:"
	for _, libtorch := range []string{"", folder} {
		h.env["LIBTORCH"] = libtorch
		if stdout, stderr, code := h.run("doctor"); code != 0 || !strings.Contains(stdout, "libtorch 2.11.0 in "+want) {
			t.Errorf("LIBTORCH %q: exit code %d, stdout %q, stderr %q", libtorch, code, stdout, stderr)
		}
	}
}

// files are those that all leaves: no more than eight come back from a borrowed machine.
const files = "bench.json bench.log demo.log doctor.json peers.jsonl result.json result.md tests.log"

// all runs every step, leaves eight files, and nothing else anywhere.
func TestAll(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	pid := filepath.Join(t.TempDir(), "pid")
	h.write(filepath.Join(h.bin, "nvidia-smi"), "#!/bin/sh\necho $$ >"+pid+"\necho '345, 1593, 70.00, 30'\necho '1980, 2619, 690.50, 61'\n"+
		"echo '1755, 2619, [N/A], 60'\nexec sleep 100\n")
	if err := os.Chmod(h.bundle, 0o555); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := h.run("all")
	if code != 0 {
		t.Fatalf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	h.check(files,
		"| bert-base-full-len128-bs16 | 336 | 2,326 | 1,852 | 900 | 2,000 | - | 5.95 | 0.86 |",
		"| bert-base-full-len128-bs16: at least 5.0 times PyTorch's eager | 5.952 | pass |",
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | 0.86 | pass |",
		"| bert-base-full-len128-bs128: at least 1.15 times PyTorch's eager | - | not measured |",
		"| every GPU test passes | GPU tests: 3 passed, 0 failed, 0 skipped; other tests: 1 passed, 0 failed, 0 skipped | pass |",
		"| 0.8300 on the GPU, 0.8300 on the CPU | pass |",
		"| bert-base-full-len128-bs16 | 4,200 | 4,200 | 4,200 | - | 3,100 | - |\n",
		"Clocks, least/median/most of 3 readings, idle ones too: SM 345/1,755/1,980 MHz · memory 1,593/2,619/2,619 MHz · 70/380/690 W · 30/60/61 °C\n",
		"- bert-base-full-len128-bs16, Thaw graph: 2x16: the driver is old\n",
		"NVIDIA H100 80GB HBM3", "at 0123456789ab")
	if strings.Contains(read(t, filepath.Join(h.out, "result.md")), "Errors:") {
		t.Error(read(t, filepath.Join(h.out, "result.md")))
	}
	if id, err := strconv.Atoi(strings.TrimSpace(read(t, pid))); err != nil || syscall.Kill(id, 0) == nil {
		t.Errorf("nvidia-smi, process %d, still runs; %v", id, err)
	}
	// What counts most comes first, and the table stands before the tests begin.
	var order []string
	for line := range strings.Lines(stdout) {
		if name, found := strings.CutPrefix(line, "== "); found && strings.HasSuffix(line, " s)\n") {
			order = append(order, name[:strings.LastIndex(name, " (")])
		}
	}
	want := "doctor; bench of the targets, pass 1; peers of the targets; bench of the targets, pass 2; GPU tests; demo; " +
		"bench of the others; peers of the others; other tests; report; done; what was written is in " + h.out
	if got := strings.Join(order, "; "); got != want {
		t.Errorf("steps %s, want %s", got, want)
	}

	// Elsewhere, one table of several calls: the clocks and the bundle are those of the call, tests those of the last.
	again := filepath.Join(t.TempDir(), "again")
	h.write(filepath.Join(again, "tests.log"), "--- FAIL: TestOnGPU (0.00s)\n== a/b gpu exit 1\n")
	first := h.out
	h.out = filepath.Join(t.TempDir(), "table")
	h.write(filepath.Join(h.bundle, "MANIFEST"), strings.Replace(read(t, filepath.Join(h.bundle, "MANIFEST")), "0123456789ab", "ba9876543210", 1))
	for _, tool := range []string{"torch", "torchvision", "transformers"} {
		os.RemoveAll(filepath.Join(filepath.Dir(h.bin), "site", tool))
	}
	if _, stderr, code := h.run("report", first, again); code != 0 {
		t.Fatalf("exit code %d, stderr %s", code, stderr)
	}
	h.check("result.json result.md",
		"| bert-base-full-len128-bs16 | 336 | 2,326 | 1,852 | 900 | 2,000 | - | 5.95 | 0.86 |",
		"GPU tests: 0 passed, 1 failed, 0 skipped; other tests: 1 passed, 0 failed, 0 skipped | FAIL |",
		"SM 345/1,755/1,980 MHz", "NVIDIA H100 80GB HBM3", "at 0123456789ab")
	if _, stderr, code := h.run("report", "/nowhere"); code != 1 || !strings.Contains(stderr, "thaw: there is no folder /nowhere") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

// Steps that hang or fail keep none of the others from running, and the time that all may take is kept.
func TestAllWithStepsThatHang(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"], h.env["WITHIN"] = "hanging-tests bench peers", "30"
	began := time.Now()
	stdout, stderr, code := h.run("all")
	_, last, _ := strings.Cut(stderr, "thaw: failed: ")
	failed, late, _ := strings.Cut(last, "; not begun: ")
	if want := "bench of the targets, pass 1; peers of the targets; bench of the targets, pass 2; GPU tests"; code != 1 || !strings.HasPrefix(failed, want) {
		t.Errorf("exit code %d, stderr %s, stdout %s", code, stderr, stdout)
	}
	if !strings.HasPrefix(late, "bench of resnet50-full-bs32, pass 1; bench of bert-base-full-len128-bs128, pass 1; ") {
		t.Errorf("not begun: %s", late)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	h.check(files,
		"| bert-base-full-len128-bs16 | 336 | - | 1,852 | 900 | - | - | 2.68 | - |", // as it was printed
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | - | not measured |",
		"- a/b (gpu): did not end in time",
		"- gpu_steps.py (target-compile: compile): exit code 1: it broke",
		"- thaw bench, pass 1 (bert-base-full-len128-bs16): ended early, after bert-base-full-len128-bs16, eager\n",
		"- thaw bench, pass 1 (resnet50-full-bs32): not begun: no time was left\n")
}

// A doctor and tests that crash take nothing along: who runs next to the crash is told, and who works alone.
func TestAllWithCrashes(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"] = "doctor crashing-tests"
	_, stderr, code := h.run("all")
	if code != 1 || !strings.HasSuffix(stderr, "thaw: failed: doctor; GPU tests\n") ||
		!strings.Contains(stderr, "thaw: the doctor: the doctor itself: exit code 134: terminate called\n") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	h.check(files,
		"| bert-base-full-len128-bs16 | 336 | 2,326 | 1,852 | 900 | 2,000 | - | 5.95 | 0.86 |",
		"| every GPU test passes | GPU tests: 1 passed, 1 failed, 0 skipped; other tests: 1 passed, 0 failed, 0 skipped | FAIL |",
		"Tests that failed:\n\n- a/b (gpu): exit code 2, during TestOnGPU: what(): CUDA error: an illegal memory access\n",
		"GPU tests once more, each in a process of its own:\n\n- a/b: pass alone: TestLast\n"+
			"- a/b.TestOnGPU, alone: exit code 2: what(): CUDA error: an illegal memory access\n",
		"- the doctor: the doctor itself: exit code 134: terminate called\n")
}

// What the doctor finds wrong ends nothing where there is a device.
func TestDoctorFindsSomething(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["PROBLEM"] = `"cuda:0: a convolution differs"`
	if _, stderr, code := h.run("doctor"); code != 1 || stderr != "thaw: the doctor: cuda:0: a convolution differs\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if _, stderr, code := h.run("bench"); code != 0 || stderr != "thaw: the doctor: cuda:0: a convolution differs\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if _, stderr, code := h.run("report"); code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	h.check("bench.json bench.log doctor.json result.json result.md", "- the doctor: cuda:0: a convolution differs\n", "| 900 | 2,000 |")
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

// run.sh splits the cases: those with targets, and the others, by family.
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
	parts := slices.Concat(list(pattern("targets")), list(pattern("others_bert")), list(pattern("others_resnet")))
	all := list("")
	slices.Sort(parts)
	slices.Sort(all)
	_, names, _ := strings.Cut(script, "\ntarget_cases=(")
	names, _, _ = strings.Cut(names, ")")
	for _, name := range strings.Fields(names) {
		if !slices.Contains(list(pattern("targets")), name) {
			t.Errorf("%s is a target case and not among the targets", name)
		}
	}
	if n := len(list(pattern("targets"))); n != len(strings.Fields(names)) {
		t.Errorf("%d targets, %q", n, names)
	}
	if !slices.Equal(all, parts) {
		t.Errorf("the parts have %q, all are %q", parts, all)
	}
}
