package gpu

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// What run.sh leaves on a GPU host, made up: some things reach their targets, some do not.
var found = map[string]string{
	"MANIFEST": "# commit 0123456789ab with changes\n# go go1.26\n",
	"doctor.json": `{"thaw":"0.1.0","libtorch":"2.11.0","cores":16,"cuda":{"driver":"13.0","cudnn":"9.19",
		"devices":[{"Index":0,"Name":"NVIDIA H100 80GB HBM3"}]},"problems":[]}`,
	"tests.log": `=== RUN   TestGraphIsEager
--- PASS: TestGraphIsEager (0.10s)
=== RUN   TestOperatorsAgainstCPU
=== RUN   TestOperatorsAgainstCPU/conv2d
    gpu_test.go:129: tensors differ
--- FAIL: TestOperatorsAgainstCPU (0.20s)
    --- PASS: TestOperatorsAgainstCPU/add (0.01s)
    --- FAIL: TestOperatorsAgainstCPU/conv2d (0.01s)
=== RUN   TestMemory
    gpu_test.go:300: needs two GPUs
--- SKIP: TestMemory (0.00s)
FAIL
== torch/cuda gpu exit 1
=== RUN   TestGPULearns
--- PASS: TestGPULearns (0.10s)
=== RUN   TestGPUMemoryIsFlat
panic: test timed out after 58s
goroutine 1 [running]:
half a line== finetune gpu exit 2
--- PASS: TestVersion (0.00s)
PASS
FAIL: 3 tensors of the tests were never freed (0 of them found by the collector)
== torch/cuda others exit 1
--- PASS: TestSpec (0.00s)
PASS
== finetune others exit 0
--- PASS: TestTokens (0.00s)
panic: test timed out after 28s
== text others exit 2
--- FAIL: TestOperatorsAgainstCPU (0.20s)
== torch/cuda alone TestOperatorsAgainstCPU exit 1
--- PASS: TestGPUMemoryIsFlat (9.00s)
== finetune alone TestGPUMemoryIsFlat exit 0
== finetune alone TestMeasureOnGPU not begun
== vision others not begun
`,
	"bench.json": `{"passes": [
		{"pass": 1, "part": "targets", "results": [
			{"case": "bert-base-full-len128-bs16", "mode": "eager", "samples_per_second": 400, "rounds": [400, 390, 410]},
			{"case": "bert-base-full-len128-bs16", "mode": "graph", "samples_per_second": 1600, "rounds": [1600, 1610, 1590]},
			{"case": "bert-base-full-len128-bs128", "mode": "graph", "samples_per_second": 3300, "rounds": [3300]},
			{"case": "bert-base-head-len128-bs16", "mode": "graph", "error": "out of memory"},
			{"case": "bert-base-head-len128-bs16", "mode": "cached", "samples_per_second": 9000, "rounds": [9000]},
			{"case": "resnet50-full-bs32", "mode": "graph", "samples_per_second": 3400, "rounds": [3500, 3300], "peak_memory_bytes": 2500000000},
			{"case": "bert-base-full-real-bs32", "mode": "graph", "samples_per_second": 4000, "rounds": [4000],
			 "warnings": ["32x16 is not recorded", "32x64 is not recorded"]}]},
		{"pass": 2, "part": "targets", "ended_early": true, "results": [
			{"case": "bert-base-full-len128-bs16", "mode": "graph", "samples_per_second": 1700, "rounds": [1700, 1710]}]},
		{"pass": 2, "part": "resnet50-full-bs32", "not_begun": true, "results": []},
		{"pass": 1, "part": "others-resnet", "ended_early": true, "results": []}]}`,
	"peers.jsonl": `{"versions": {"torch": "2.11.0+cu130", "transformers": "5.17.0", "driver": "580.159.04"}}
{"case": "bert-base-full-len128-bs16", "mode": "eager", "samples_per_second": 336}
{"case": "bert-base-full-len128-bs16", "mode": "eager-unmasked", "samples_per_second": 350}
{"case": "bert-base-full-len128-bs16", "mode": "graph", "samples_per_second": 1852}
{"case": "bert-base-full-len128-bs128", "mode": "eager", "samples_per_second": 2760}
{"case": "bert-base-head-len128-bs16", "mode": "graph", "error": "not begun: 92 s were over"}
{"case": "resnet50-head-bs32", "mode": "graph", "error": "not begun: 92 s were over"}
{"process": "eager,graph", "exit": 0, "stderr": "a warning"}
{"process": "others: eager,graph", "exit": 124, "stderr": ""}
{"process": "others-compile: compile", "exit": null, "stderr": ""}
{"versions": {"torch": "2.11.0+cu130"}}
{"case": "bert-base-full-len128-bs16", "mode": "compile", "samples_per_second": 2326}
{"case": "bert-base-head-len128-bs16", "mode": "eager", "samples_per_second": 1000}
{"case": "resnet50-full-bs32", "mode": "eager", "samples_per_second": 1604, "peak_memory_bytes": 3210000000}
{"case": "bert-base-full-real-bs32", "mode": "eager", "samples_per_second": 671}
{"case": "resnet50-head-bs32", "mode": "eager", "samples_per_second": 2826}
{"case": "resnet50-head-bs32", "mode": "gra
{"process": "compile", "exit": 124, "stderr": "Traceback\nKilled"}
`,
	"demo.log": "== demo on cuda\nepoch 1\n{\"device\": \"cuda\", \"exit\": 0, \"accuracy\": 0.8115, \"rows\": 1061}\n" +
		"{\"device\": \"cpu\", \"exit\": 0, \"accuracy\": 0.8256, \"rows\": 1061}\n",
}

// reported lays files out and gives the table and the JSON object that report.py makes of them.
func reported(t *testing.T, files map[string]string) (string, map[string]any) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("python3", "-B", "report.py", "result", filepath.Join(dir, "MANIFEST"), dir, filepath.Join(dir, "clocks.csv")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var result map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "result.json"))), &result); err != nil {
		t.Fatal(err)
	}
	return read(t, filepath.Join(dir, "result.md")), result
}

func TestReport(t *testing.T) {
	table, result := reported(t, found)
	for _, want := range []string{
		"NVIDIA H100 80GB HBM3 · driver 580.159.04 (CUDA 13.0) · 16 cores",
		"Thaw 0.1.0 at 0123456789ab with changes · libtorch 2.11.0 · cuDNN 9.19 · PyTorch 2.11.0+cu130",
		// The median over the rounds of both passes, and the faster of eager and graph.
		"| bert-base-full-len128-bs16 | 336 | 350 | 2,326 | 1,852 | 400 | 1,610 | - | " +
			"4.79 (4.73 to 5.09) | 4.60 (4.54 to 4.89) | 0.69 (0.68 to 0.74) |",
		"| bert-base-full-real-bs32 * | 671 | - | - | - | - | 4,000 | - | 5.96 | - | - |", // marked
		"| bert-base-head-len128-bs16 | 1,000 | - | - | - | - | - | 9,000 | - | - | - |",  // what is cached is not the same step
		"| resnet50-head-bs32 | 2,826 | - | - | - | - | - | - | - | - | - |",
		"| bert-base-full-len128-bs16: at least 5.0 times PyTorch's eager | 4.792 (4.732 to 5.089) | FAIL |",
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | 0.692 (0.684 to 0.735) | FAIL |",
		"| bert-base-full-len128-bs128: at least 1.15 times PyTorch's eager | 1.196 | pass |",
		"| resnet50-full-bs32: at least 1.8 times PyTorch's eager | 2.120 (2.057 to 2.182) | pass |",
		"| every GPU test passes | 2 passed, 2 failed, 1 skipped | FAIL |",
		"| every other test passes | 3 passed, 1 failed, 0 skipped; not finished: vision (others), text (others) | FAIL |",
		"| 0.8115 on the GPU, 0.8256 on the CPU | FAIL |",
		"- torch/cuda.TestOperatorsAgainstCPU/conv2d\n",
		"- finetune (gpu): exit code 2, during TestGPUMemoryIsFlat: panic: test timed out after 58s\n",
		"- torch/cuda (others): exit code 1: FAIL: 3 tensors of the tests were never freed",
		"GPU tests that were skipped:\n\n- torch/cuda.TestMemory\n",
		"- bert-base-head-len128-bs16, Thaw graph: out of memory\n",
		"- gpu_steps.py (compile): did not end in time: Killed\n",
		"- thaw bench, pass 2 (targets): ended early, after bert-base-full-len128-bs16, graph\n",
		"- finetune: pass alone: TestGPUMemoryIsFlat\n",
		"- finetune, alone: not begun: TestMeasureOnGPU\n",
		"- torch/cuda.TestOperatorsAgainstCPU, alone: exit code 1\n",
		"Not finished, as time ended:\n\n- not begun: thaw bench, pass 2 (resnet50-full-bs32); gpu_steps.py (others-compile: compile); " +
			"PyTorch graph of bert-base-head-len128-bs16, resnet50-head-bs32; tests of vision (others)\n" +
			"- thaw bench, pass 1 (others-resnet): cut, before anything was measured\n" +
			"- gpu_steps.py (others: eager,graph): cut\n- tests of text (others): cut\n",
		"(same\nloss, same gradients)", "7 % less arithmetic than transformers", "(docs/decisions/008)",
		"bf16 autocast", "fused AdamW", "dropout", "clipping", "5 rounds of 0.4 s", "from\nthe host", // what was measured is told
		"Warnings:\n\n- bert-base-full-real-bs32, Thaw graph: 32x16 is not recorded\n- bert-base-full-real-bs32, Thaw graph: 32x64 is not recorded\n",
		"| resnet50-full-bs32 | 1,604 | - | - | - | - | 3,400 | - | 2.12 (2.06 to 2.18) | - | - |", // the median of two
		"| resnet50-full-bs32 | 3,210 | - | - | - | - | 2,500 | - |",
		"transformers 5.17.0\n\n| target | reached | |\n", // the verdicts come first
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	met := []any{}
	for _, target := range result["targets"].([]any) {
		met = append(met, target.(map[string]any)["met"])
	}
	if got, _ := json.Marshal(met); string(got) != "[false,false,true,true,false,false,false]" {
		t.Errorf("targets met: %s", got)
	}
}

// Where a graph was not captured, what it took is a figure of nothing, in whatever pass that was.
func TestReportOfAGraphThatWasNotRecorded(t *testing.T) {
	files := maps.Clone(found)
	files["bench.json"] = strings.Replace(files["bench.json"], `"samples_per_second": 1600,`,
		`"error": "was not captured: 16x128: its steps differ", "samples_per_second": 1600,`, 1)
	table, result := reported(t, files)
	for _, want := range []string{
		"| bert-base-full-len128-bs16 | 336 | 350 | 2,326 | 1,852 | 400 | - | - | - | - | - |",
		"| bert-base-full-len128-bs16: at least 5.0 times PyTorch's eager | Thaw's graph was not captured | FAIL |",
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | Thaw's graph was not captured | FAIL |",
		"- bert-base-full-len128-bs16, Thaw graph: was not captured: 16x128: its steps differ\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	if first := result["targets"].([]any)[0].(map[string]any); first["met"] != false {
		t.Errorf("the first target: %v", first)
	}
}

// What thaw bench printed before it was killed, and the whole files of those that were not.
func TestBenchIsJoined(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"1-a.json": `{"gpu": "H100", "results": [{"case": "a", "mode": "eager", "samples_per_second": 1, "rounds": [1]}]}`,
		"1-b.json": `{"results": [{"case": "b", "mode": "eager", "samples_per_second": 2, "rounds": [2]}]}`,
		"bench.log": `== pass 1 a
a                            eager          1.0 samples/s     3.10 GB
== exit 1
== pass 1 b
b                            eager          2.0 samples/s     3.10 GB
thaw: stopped
== exit 124
== pass 1 c
thaw 0.1.0
c                            eager        900.5 samples/s     3.10 GB
c                            eager   warning: slow
c                            graph   was not captured: 16x128: no
c                            cached  failed: out of memory
half a line== exit 137
== pass 2 d
== not begun
== pass 2 e
e                            eager          5.0 samples/s     3.10 GB
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "bench.json")
	if said, err := exec.Command("python3", "-B", "report.py", "bench", dir, filepath.Join(dir, "bench.log"), out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var got, want any
	if err := json.Unmarshal([]byte(read(t, out)), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"passes": [
		{"pass": 1, "part": "a", "gpu": "H100", "results": [{"case": "a", "mode": "eager", "samples_per_second": 1, "rounds": [1]}]},
		{"pass": 1, "part": "b", "ended_early": true, "results": [{"case": "b", "mode": "eager", "samples_per_second": 2, "rounds": [2]}]},
		{"pass": 1, "part": "c", "ended_early": true, "results": [
			{"case": "c", "mode": "eager", "samples_per_second": 900.5, "rounds": [900.5], "peak_memory_bytes": 3100000000, "warnings": ["slow"]},
			{"case": "c", "mode": "graph", "error": "was not captured: 16x128: no"},
			{"case": "c", "mode": "cached", "error": "out of memory"}]},
		{"pass": 2, "part": "d", "not_begun": true, "results": []},
		{"pass": 2, "part": "e", "ended_early": true, "results": [
			{"case": "e", "mode": "eager", "samples_per_second": 5, "rounds": [5], "peak_memory_bytes": 3100000000}]}]}`), &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("joined as %v, want %v", got, want)
	}
}

// Without a step's file its targets were not measured; PyTorch's best is none before it compiled.
func TestReportOfLittle(t *testing.T) {
	table, _ := reported(t, map[string]string{
		"MANIFEST":    found["MANIFEST"],
		"bench.json":  found["bench.json"],
		"peers.jsonl": strings.ReplaceAll(found["peers.jsonl"], `"compile", "samples_per_second": 2326`, `"compile", "error": "no compiler"`),
	})
	for _, want := range []string{
		"no GPU · driver 580.159.04",
		"| bert-base-full-len128-bs16 | 336 | 350 | - | 1,852 | 400 | 1,610 | - | 4.79 (4.73 to 5.09) | 4.60 (4.54 to 4.89) | - |",
		"| bert-base-full-len128-bs16: at least 0.75 times PyTorch's best | - | not measured |",
		"| every GPU test passes | 0 passed, 0 failed, 0 skipped | not measured |",
		"| every other test passes | 0 passed, 0 failed, 0 skipped | not measured |",
		"(within 0.012) | - | not measured |",
		"- bert-base-full-len128-bs16, PyTorch compile: no compiler\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	if table, _ := reported(t, nil); strings.Contains(table, "pass |") || strings.Contains(table, "FAIL |") {
		t.Errorf("of nothing, something is said to pass or fail:\n%s", table)
	}
}

// Tests that run out of time fail only where they need a GPU.
func TestReportOfTestsThatTimeCut(t *testing.T) {
	const passing, timedOut = "--- PASS: TestOnGPU (0.10s)\n== a gpu exit 0\n", "--- PASS: TestA (0.10s)\npanic: test timed out after 28s\n"
	for name, c := range map[string]struct{ log, gpu, others string }{
		"all pass":           {passing + "--- PASS: TestA (0.10s)\n== a others exit 0\n", "pass", "pass"},
		"Go's limit":         {passing + timedOut + "== a others exit 2\n", "pass", "not finished"},
		"its own limit":      {passing + "== a others exit 124\n", "pass", "not finished"},
		"killed":             {passing + "== a others exit 137\n", "pass", "not finished"},
		"not begun":          {passing + "== a others not begun\n", "pass", "not finished"},
		"one failed before":  {passing + "--- FAIL: TestA (0.10s)\n" + timedOut + "== a others exit 2\n", "pass", "FAIL"},
		"a panic":            {passing + "panic: no\n== a others exit 2\n", "pass", "FAIL"},
		"GPU tests that end": {timedOut + "== a gpu exit 2\n", "FAIL", "not measured"},
		"no GPU tests":       {"== a gpu not begun\n", "not finished", "not measured"},
	} {
		t.Run(name, func(t *testing.T) {
			table, _ := reported(t, map[string]string{"tests.log": c.log})
			for target, verdict := range map[string]string{"every GPU test passes": c.gpu, "every other test passes": c.others} {
				_, row, _ := strings.Cut(table, "| "+target+" | ")
				if row, _, _ = strings.Cut(row, "\n"); !strings.HasSuffix(row, " | "+verdict+" |") {
					t.Errorf("%s: %s, want %s", target, row, verdict)
				}
			}
		})
	}
}

// joined gives the table of several calls, each with its files.
func joined(t *testing.T, calls ...map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	arguments := []string{"-B", "report.py", "result", "MANIFEST", dir, "clocks.csv"}
	for i, files := range calls {
		folder := filepath.Join(dir, string(rune('a'+i)))
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		arguments = append(arguments, folder)
	}
	out, err := exec.Command("python3", arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// made is what a call left: of a case the speeds of Thaw's graph and of PyTorch's eager and, if any, compile.
func made(commit, torch string, ours, eager, compiled string) map[string]string {
	const name = `{"case": "bert-base-full-len128-bs16", `
	files := map[string]string{"result.json": `{"date": "2026-01-0` + commit[:1] + `", "bundle": {"commit": "` + commit + `"}}`}
	if ours != "" {
		files["bench.json"] = `{"passes": [{"pass": 1, "part": "x", "results": [` + name + `"mode": "graph", ` + ours + `}]}]}`
	}
	if eager != "" {
		files["peers.jsonl"] = `{"versions": {"torch": "` + torch + `"}}` + "\n" + name + `"mode": "eager", "samples_per_second": ` + eager + "}\n"
	}
	if compiled != "" {
		files["peers.jsonl"] += name + `"mode": "compile", "samples_per_second": ` + compiled + "}\n"
	}
	return files
}

// A ratio is of one call, and a table of several says so.
func TestReportOfCalls(t *testing.T) {
	speed := func(s string) string { return `"samples_per_second": ` + s + `, "rounds": [` + s + `]` }
	const unrecorded = `"error": "was not captured: no", "samples_per_second": 1`
	for name, c := range map[string]struct {
		calls []map[string]string
		want  []string
	}{
		"sides of different calls": {[]map[string]string{made("1a", "2.11.0", speed("2000"), "", ""), made("2b", "2.11.0", "", "400", "")}, []string{
			"2026-01-01 ", "Made of 2 calls (1: 2026-01-01, 2: 2026-01-02).", "| - | - | - |\n",
			"- the calls are of different commits: 1a, 2b\n", "- no call measured both sides, so there is no ratio: bert-base-full-len128-bs16\n",
			"at least 5.0 times PyTorch's eager | - | not measured |"}},
		"the last that has both": {[]map[string]string{
			made("1a", "2.11.0", speed("2000"), "400", ""), made("1a", "2.12.0", speed("1500"), "300", ""), made("1a", "2.12.0", speed("9000"), "", "")}, []string{
			"| bert-base-full-len128-bs16 (2) | 300 | - | - | - | - | 1,500 | - | 5.00 | - | - |", "- the calls are of different versions of torch: 2.11.0, 2.12.0\n"}},
		"that which compiled": {[]map[string]string{made("1a", "2.11.0", speed("2000"), "400", "2500"), made("1a", "2.11.0", speed("1500"), "300", "")}, []string{
			"| bert-base-full-len128-bs16 (1) | 400 | - | 2,500 | - | - | 2,000 | - | 5.00 | - | 0.80 |"}},
		"a graph that was not captured": {[]map[string]string{made("1a", "2.11.0", speed("2000"), "400", "2500"), made("1a", "2.11.0", unrecorded, "300", "")}, []string{
			"| bert-base-full-len128-bs16 (2) | 300 | ", "at least 5.0 times PyTorch's eager | Thaw's graph was not captured | FAIL |"}},
		"a graph that was recorded later": {[]map[string]string{made("1a", "2.11.0", unrecorded, "400", ""), made("1a", "2.11.0", speed("1500"), "300", "")}, []string{
			"| bert-base-full-len128-bs16 (2) | 300 | - | - | - | - | 1,500 | - | 5.00 | - | - |"}},
		"one side": {[]map[string]string{made("1a", "2.11.0", "", "400", ""), made("1a", "2.11.0", "", "", "")}, []string{
			"| bert-base-full-len128-bs16 (1) | 400 | - | - | - | - | - | - | - | - | - |"}},
	} {
		t.Run(name, func(t *testing.T) {
			table := joined(t, c.calls...)
			for _, want := range c.want {
				if !strings.Contains(table, want) {
					t.Errorf("the table lacks %q:\n%s", want, table)
				}
			}
		})
	}
	one := joined(t, made("1a", "2.11.0", speed("2000"), "400", ""))
	if strings.Contains(one, "calls") || strings.Contains(one, "Errors") {
		t.Errorf("of one call, several are told of:\n%s", one)
	}
}
