package gpu

import (
	"os"
	"os/exec"
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
	h.write(filepath.Join(h.bin, "nvidia-smi"), "#!/bin/sh\ntrap '' TERM\necho $$ >"+pid+"\necho '345, 1593, 70.00, 30'\necho '1980, 2619, 690.50, 61'\n"+
		"echo '1755, 2619, [N/A], 60'\nexec sleep 200\n")
	if err := os.Chmod(h.bundle, 0o555); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	stdout, stderr, code := h.run("all")
	if took := time.Since(began); took > 150*time.Second {
		t.Errorf("it took %v: what hangs in nvidia-smi was waited for", took)
	}
	if code != 0 || strings.Contains(stdout, "cut or not begun") {
		t.Fatalf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	h.check(files,
		"| bert-base-full-len128-bs16 | 336 | 350 | 2,326 | 1,852 | 900 | 2,000 | - | 5.95 (5.92 to 5.98) | 5.71 (5.69 to 5.74) | 0.86 |",
		"| bert-base-full-len128-bs16: at least 5.0 times PyTorch's eager | 5.952 (5.923 to 5.982) | pass |",
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | 0.860 (0.856 to 0.864) | pass |",
		"| bert-base-full-len128-bs128: at least 1.15 times PyTorch's eager | - | not measured |",
		"| every GPU test passes | 3 passed, 0 failed, 0 skipped | pass |",
		"| every other test passes | 1 passed, 0 failed, 0 skipped | pass |",
		"| 0.8300 on the GPU, 0.8300 on the CPU | pass |",
		"| bert-base-full-len128-bs16 | 4,200 | 4,200 | 4,200 | 4,200 | - | 3,100 | - |\n",
		"Clocks, least/median/most of 3 readings, idle ones too: SM 345/1,755/1,980 MHz · memory 1,593/2,619/2,619 MHz · 70/380/690 W · 30/60/61 °C\n",
		"- bert-base-full-len128-bs16, Thaw graph: 2x16: the driver is old\n",
		"NVIDIA H100 80GB HBM3", "at 0123456789ab")
	if strings.Contains(read(t, filepath.Join(h.out, "result.md")), "Errors:") {
		t.Error(read(t, filepath.Join(h.out, "result.md")))
	}
	for wait := 0; running(t, pid); wait++ { // run.sh does not wait for it
		if wait == 100 {
			t.Fatal("nvidia-smi still runs")
		}
		time.Sleep(100 * time.Millisecond)
	}
	// What counts most comes first, and the table stands before the tests begin.
	var order []string
	for line := range strings.Lines(stdout) {
		if name, found := strings.CutPrefix(line, "== "); found && strings.HasSuffix(line, " s)\n") {
			order = append(order, name[:strings.LastIndex(name, " (")])
		}
	}
	want := "doctor; bench of the targets, pass 1; peers of the targets; bench of the targets, pass 2; GPU tests; demo; " +
		"bench of the others; peers of the others; other tests; peers of the others, compiled; report; done; what was written is in " + h.out
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
		"| bert-base-full-len128-bs16 (1) | 336 | 350 | 2,326 | 1,852 | 900 | 2,000 | - | 5.95 (5.92 to 5.98) | 5.71 (5.69 to 5.74) | 0.86 |",
		"| every GPU test passes | 0 passed, 1 failed, 0 skipped | FAIL |", "| every other test passes | 1 passed, 0 failed, 0 skipped | pass |",
		"SM 345/1,755/1,980 MHz", "NVIDIA H100 80GB HBM3", "at 0123456789ab")
	if _, stderr, code := h.run("report", "/nowhere"); code != 1 || !strings.Contains(stderr, "thaw: there is no folder /nowhere") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

// running tells whether the process whose id is in the file still runs.
func running(t *testing.T, file string) bool {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strings.TrimSpace(read(t, file)) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ") // nobody may be there to reap it
}

// Other cases and tests take what time is left. That it ends is told, and no failure.
func TestAllWithOthersThatAreCut(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"] = "cut-others"
	stdout, stderr, code := h.run("all")
	want := "== cut or not begun, as time ended: bench of others-bert; bench of others-resnet; peers, others: eager,eager-unmasked,graph; " +
		"tests of a/b (others); peers, others-compile: compile ("
	if code != 0 || stderr != "" || !strings.Contains(stdout, want) {
		t.Errorf("exit code %d, stderr %s, stdout %s", code, stderr, stdout)
	}
	h.check(files,
		"| every GPU test passes | 3 passed, 0 failed, 0 skipped | pass |",
		"| every other test passes | 1 passed, 0 failed, 0 skipped; not finished: a/b (others) | not finished |",
		"Not finished, as time ended:\n\n- thaw bench, pass 1 (others-bert): cut")
	if strings.Contains(read(t, filepath.Join(h.out, "result.md")), "Errors:") {
		t.Error(read(t, filepath.Join(h.out, "result.md")))
	}
}

// A target that is not reached is a failure, though every step did its work.
func TestAllWithATargetThatIsNotReached(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["ROUNDS"], h.env["CASES"] = "1000", "^bert-base-full-len128-bs16$"
	want := "thaw: failed: not reached: bert-base-full-len128-bs16: at least 5.0 times PyTorch's eager\n"
	if stdout, stderr, code := h.run("all"); code != 1 || stderr != want {
		t.Errorf("exit code %d, stderr %s, stdout %s", code, stderr, stdout)
	}
}

// The others' tests need time to be begun.
func TestOthersWithLittleTime(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["WITHIN"] = "29"
	stdout, stderr, code := h.run("test")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "GPU tests: 3 passed, 0 failed, 0 skipped\n== a/b others not begun\n") ||
		!strings.Contains(stdout, "== cut or not begun, as time ended: tests of a/b (others) (") {
		t.Errorf("exit code %d, stderr %s, stdout %s", code, stderr, stdout)
	}
}

// What outlives a step, as what no signal reaches, is not waited for.
func TestStepThatLeavesSomethingBehind(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"], h.env["CASES"], h.env["HOLDER"] = "holding", "^bert-base-full-len128-bs16$", filepath.Join(t.TempDir(), "holder")
	_, stderr, code := h.run("bench")
	if code != 0 || !running(t, h.env["HOLDER"]) {
		t.Errorf("exit code %d, stderr %s; or it was waited for", code, stderr)
	}
	if id, err := strconv.Atoi(read(t, h.env["HOLDER"])); err == nil {
		syscall.Kill(id, syscall.SIGKILL)
	}
}

// Where even SIGKILL ends nothing, limit.py goes on.
func TestLimitOfWhatCannotBeKilled(t *testing.T) {
	t.Parallel()
	script := "import limit, os, sys\nlimit.GRACE, limit.tell = 0.1, lambda *_: None\n" +
		"sys.argv = ['limit.py', '0.1', 'python3', '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(100)']\nlimit.main()\n"
	command := exec.Command("python3", "-B", "-c", script)
	said := filepath.Join(t.TempDir(), "pid")
	file, err := os.Create(said)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	command.Stdout = file
	if err := command.Run(); command.ProcessState.ExitCode() != 137 {
		t.Errorf("%v", err)
	}
	for strings.TrimSpace(read(t, said)) == "" {
		time.Sleep(100 * time.Millisecond)
	}
	if !running(t, said) {
		t.Error("it was waited for")
	}
	if id, err := strconv.Atoi(strings.TrimSpace(read(t, said))); err == nil {
		syscall.Kill(id, syscall.SIGKILL)
	}
}

// Steps that hang or fail keep none of the others from running, and the time that all may take is kept.
func TestAllWithStepsThatHang(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"], h.env["WITHIN"] = "hanging-tests bench", "30"
	began := time.Now()
	stdout, stderr, code := h.run("all")
	_, last, _ := strings.Cut(stderr, "thaw: failed: ")
	failed, late, _ := strings.Cut(last, "; not begun: ")
	if want := "bench of the targets, pass 1; bench of the targets, pass 2; GPU tests"; code != 1 || !strings.HasPrefix(failed, want) {
		t.Errorf("exit code %d, stderr %s, stdout %s", code, stderr, stdout)
	}
	if !strings.HasPrefix(late, "bench of resnet50-full-bs32, pass 1; bench of bert-base-full-len128-bs128, pass 1; ") {
		t.Errorf("not begun: %s", late)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	h.check(files,
		" | 1,852 | 900 | - | - | 2.68 (2.65 to 2.71) | 2.57 (2.54 to 2.60) | ", // as it was printed
		"- a/b (gpu): did not end in time",
		"- thaw bench, pass 1 (bert-base-full-len128-bs16): ended early, after bert-base-full-len128-bs16, eager\n",
		"- a/b, alone: not begun: TestFirst, TestOnGPU, TestLast\n",
		"- not begun: thaw bench, pass 1 (resnet50-full-bs32); thaw bench, pass 1 (bert-base-full-len128-bs128); ")
}

// A doctor and tests that crash take nothing along: who runs next to the crash is told, and who works alone.
func TestAllWithCrashes(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.torch("2.11.0+cu130", true)
	h.env["BREAK"] = "doctor crashing-tests peers"
	_, stderr, code := h.run("all")
	if code != 1 || !strings.HasSuffix(stderr, "thaw: failed: doctor; peers of the targets; GPU tests; peers of the others, compiled; "+
		"not reached: every GPU test passes\n") ||
		!strings.Contains(stderr, "thaw: the doctor: the doctor itself: exit code 134: terminate called\n") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	h.check(files,
		"| bert-base-full-len128-bs16 | 336 | 350 | - | 1,852 | 900 | 2,000 | - | 5.95 (5.92 to 5.98) | 5.71 (5.69 to 5.74) | - |",
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | - | not measured |",
		"- gpu_steps.py (target-compile: compile): exit code 1: it broke\n",
		"| every GPU test passes | 1 passed, 1 failed, 0 skipped | FAIL |",
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
	if code != 1 || !strings.HasSuffix(stderr, "thaw: failed: GPU tests; not reached: every GPU test passes\n") || !strings.Contains(stdout, "== a/b gpu did not pass: TestLast\n") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	h.check(files,
		"| every GPU test passes | 2 passed, 1 failed, 0 skipped | FAIL |",
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
	h.env["PYTHONSAFEPATH"] = "1" // keeps Python from what lies beside a script
	if _, stderr, code := h.run("report"); code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	h.check("bench.json bench.log doctor.json result.json result.md", "- the doctor: cuda:0: a convolution differs\n", "| 900 | 2,000 |")
}

// Time that is too short to give a figure is not begun: PyTorch compiles for most of a minute, and takes 10 s to import.
func TestTimeThatIsTooShort(t *testing.T) {
	t.Parallel()
	script := read(t, "run.sh")
	_, clock, _ := strings.Cut(script, "\n# ---- time")
	clock, _, _ = strings.Cut(clock, "# ---- the GPU's clocks")
	section := func(name string) string {
		_, body, found := strings.Cut(script, "\n"+name+"() {\n")
		body, _, _ = strings.Cut(body, "\n}\n")
		if !found {
			t.Fatalf("run.sh has no %s", name)
		}
		return name + "() {\n" + body + "\n}\n"
	}
	const around = "within=525 targets= modes= device=cuda compiled=\nneed_device() { :; }\nfind_peer_python() { :; }\n" +
		"python3() { :; }\nshown() { echo begun; }\npeer_python=\n"
	folder := t.TempDir()
	for _, c := range []struct {
		spent        int
		call, answer string
	}{
		{500, "share 9 10 40", "40"},
		{325, "share 9 10 40", "180"},
		{470, "peers_targets", "begun\nthaw: PyTorch compiles later: no time is left now"},
		{440, "peers_targets", "begun\nbegun"},
		{500, "optional=yes; peers_part others . eager 40; echo ${cut[@]}, ${late[@]}", "peers, others: eager,"},
		{480, "optional=yes; peers_part others . eager 40; echo ${cut[@]}, ${late[@]}", "begun\n,"},
		{470, "optional=yes; peers_part others . compile 40; echo ${cut[@]}, ${late[@]}", "peers, others: compile,"},
		{470, "peers_part target . compile 40; echo ${cut[@]}, ${late[@]}", ", peers, target: compile"},
	} {
		text := "#" + clock + around + section("peers_targets") + section("peers_part") + section("peers_compile")
		out, err := exec.Command("bash", "-c", text+"out="+folder+" work="+folder+" SECONDS="+strconv.Itoa(c.spent)+"\n"+c.call).Output()
		if answer := strings.TrimSpace(string(out)); err != nil || answer != c.answer {
			t.Errorf("after %d s %s: %q, %v; want %q", c.spent, c.call, answer, err, c.answer)
		}
	}
}
