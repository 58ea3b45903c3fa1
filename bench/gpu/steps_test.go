package gpu

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

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

// A test that the bundle names and its program has not is no test that passed.
func TestAllWithATestThatDoesNotRun(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"] = "missing-tests"
	stdout, stderr, code := h.run("all")
	if code != 1 || !strings.HasSuffix(stderr, "thaw: failed: GPU tests\n") || !strings.Contains(stdout, "== a/b gpu did not pass: TestLast\n") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	h.check(files,
		"| every GPU test passes | GPU tests: 2 passed, 1 failed, 0 skipped; other tests: 1 passed, 0 failed, 0 skipped | FAIL |",
		"Tests that failed:\n\n- a/b.TestLast: did not run\n")
}

// Ctrl-C ends what runs and run.sh, which leaves nothing.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"], h.env["TMPDIR"] = "hanging-tests", t.TempDir()
	command := h.command("test")
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for { // until the tests hang
		time.Sleep(100 * time.Millisecond)
		if log, _ := os.ReadFile(filepath.Join(h.out, "tests.log")); log != nil {
			break
		}
	}
	time.Sleep(time.Second)
	began := time.Now()
	if err := syscall.Kill(-command.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ended
	if code, took := command.ProcessState.ExitCode(), time.Since(began); code != 130 || took > 20*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	if left, err := os.ReadDir(h.env["TMPDIR"]); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
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
