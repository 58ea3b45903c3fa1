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
	"strings"
	"testing"
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
	[[ $2 != */2-* || -s $OUT/result.md ]] || exit 9 # there is a table before the second pass
	[[ ! $BREAK == *cut-others* || $2 != *-others-* ]] || exit 124
	if [[ $BREAK == *holding* ]]; then # in a group of its own, it outlives what started it
		python3 -c 'import os, time; os.setsid(); open(os.environ["HOLDER"], "w").write(str(os.getpid())); time.sleep(100)' &
		while [[ ! -s $HOLDER ]]; do sleep 0.1; done
	fi
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
	{"results": [$results, {"case": "bert-base-full-len128-bs16", "mode": "graph", "samples_per_second": 2000, "rounds": [${ROUNDS:-1990, 2000, 2010}],
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
if [[ $* == *-test.skip* && $BREAK == *cut-others* ]]; then printf -- '--- PASS: TestOther (0.00s)\npanic: test timed out after 28s\n'; exit 2; fi
if [[ $* == *-test.skip* ]]; then printf -- '--- PASS: TestOther (0.00s)\nPASS\n'; exit; fi
if [[ $BREAK == *crashing-tests* && $* != *TestLast\$* ]]; then
	[[ $* != *TestFirst* ]] || printf -- '=== RUN   TestFirst\n--- PASS: TestFirst (0.00s)\n'
	printf '=== RUN   TestOnGPU\nterminate called after throwing\n  what():  CUDA error: an illegal memory access\nSIGABRT: abort\nhalf a li'
	exit 2
fi
for name in TestFirst TestOnGPU TestLast; do
	[[ ! $BREAK == *missing-tests* || $name != TestLast ]] || continue
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
if "cut-others" in broken and "(16" not in cases and "bs16$" not in cases:
    sys.exit(124)
if "len128-bs(16" in cases or "len128-bs16$" in cases:
    for m, speed in (("eager", 336), ("eager-unmasked", 350), ("graph", 1852)) if "eager" in mode else (("compile", 2326),):
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
	}
	for _, name := range []string{"measured.py", "table.py", "tests.py", "limit.py"} {
		files[name] = read(t, name)
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
	h.write(filepath.Join(h.bundle, "payload.tar.xz"), packed.String())
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

// command is run.sh, to run in /.
func (h *host) command(arguments ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(h.bin, "bash"), append([]string{filepath.Join(h.bundle, "run.sh")}, arguments...)...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + h.bin, "OUT=" + h.out, "TMPDIR=" + h.t.TempDir()}
	for k, v := range h.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd
}

// run runs run.sh, and gives what it printed to stdout and stderr, and its exit code.
func (h *host) run(arguments ...string) (stdout, stderr string, code int) {
	h.t.Helper()
	cmd := h.command(arguments...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failure := cmd.Run(); failure != nil && cmd.ProcessState == nil {
		h.t.Fatal(failure)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
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
