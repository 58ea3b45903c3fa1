package main

import (
	"errors"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/cgroup"
)

// TestCPU: of two processors the first counts, and of its instructions those that kernels are chosen by.
func TestCPU(t *testing.T) {
	const text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n" +
		"flags\t\t: fpu avx avx2 avx512fx avx512_bf16 sse\n\nprocessor\t: 1\ncpu family\t: 6\nmodel name\t: other\nflags\t: amx_bf16\n"
	if got := parseCPU(text).String(); got != "AMD EPYC (family 25, model 1; avx2 avx512_bf16)" {
		t.Error(got)
	}
	if got := parseCPU("").Name; got != "unknown" {
		t.Error(got)
	}
	for flags, want := range map[string]bool{"avx2 avx512f": false, "amx_bf16": true, "avx512_bf16": true} {
		if got := parseCPU("flags\t: " + flags + "\n").multipliesBfloat16(); got != want {
			t.Errorf("%s multiplies bfloat16: %v", flags, got)
		}
	}
}

// TestRunCases: names are unlike, so that -only can pick each, and what the two sides are given is the same.
func TestRunCases(t *testing.T) {
	m := &runMaterial{folder: "f", weights: "w", pictures: map[int]string{loaderPictures: "few", 1000: "many"}}
	names := map[string]bool{}
	for _, c := range runCases {
		if names[c.name] {
			t.Errorf("%s stands twice", c.name)
		}
		names[c.name] = true
		peer := c.peerArguments(m)
		if (c.network == "") != (peer[0] == "peers/runs_text.py") || slices.Contains(peer, "--augment") != c.augment {
			t.Errorf("%s: %q", c.name, peer)
		}
	}
	thaw := func(pattern string) string {
		o := options{only: regexp.MustCompile(pattern)}
		found := o.wantedRuns(runCases)
		if len(found) != 1 {
			t.Fatalf("%s: %d cases", pattern, len(found))
		}
		return strings.Join(found[0].thawArguments(m, "out", 0, found[0].seedsOf(1)), " ")
	}
	for pattern, want := range map[string]string{
		"texts head, 3 epochs$": "phases=[{train: head, epochs: 3, lr: 2e-3, head_lr: 2e-3, ",
		"texts full":            "phases=[{train: all, epochs: 1, lr: 5e-5, head_lr: 0.0005, ",
		"sweep":                 " lr=5e-5,1e-4,2e-4,4e-4,8e-4 ",
		"3 seeds":               " seed=4,5,6 threads=",
		"ResNet-18":             "train f/resnet18.yaml out=out ",
	} {
		if got := thaw(pattern); !strings.Contains(got, want) {
			t.Errorf("%s: %q has no %q", pattern, got, want)
		}
	}
	if all := (options{}).wantedRuns(runCases); len(all) != len(runCases) {
		t.Errorf("%d cases of %d", len(all), len(runCases))
	}
}

// TestCompareRuns: medians of the rounds of one case, each peer beside the same runs of Thaw.
func TestCompareRuns(t *testing.T) {
	c := runCase{name: "x", peers: both}
	run := func(name, side string, seconds float64, gb int64) wholeRun {
		return wholeRun{Case: name, Side: side, Seconds: seconds, PeakBytes: gb * 1e9}
	}
	got := compareRuns(c, []wholeRun{
		run("x", thawSide, 1, 2), run("x", defaultSide, 10, 4), run("x", bestSide, 4, 1), run("other", thawSide, 100, 100),
		run("x", thawSide, 3, 2), run("x", defaultSide, 30, 4), run("x", bestSide, 6, 1),
	})
	want := []float64{2. / 20, 2. / 5, 2. / 4, 2. / 1}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, c := range got {
		if math.Abs(c.Ratio-want[i]) > 1e-12 || len(c.Thaw.Rounds) != 2 {
			t.Errorf("%+v, want a ratio of %v", c, want[i])
		}
	}
	if got[0].PeerName != sideNames[defaultSide] || got[0].Unit != "s" || got[3].PeerName != sideNames[bestSide] || got[3].Unit != "GB at most" {
		t.Errorf("%+v", got)
	}
	if a, b := turned(c.sides(), 1), turned(c.sides(), 3); !slices.Equal(a, []string{"D", "B", "thaw"}) || !slices.Equal(b, c.sides()) {
		t.Errorf("%v, %v", a, b)
	}
}

// TestWholeRun: what each side leaves behind is read, and what is no result is an error.
func TestWholeRun(t *testing.T) {
	peer := wholeRun{Case: "x", Side: bestSide}
	out := `{"train_seconds": 10, "evaluate_seconds": 3, "accuracies": [0.8], "threads": 2, "precision": "float32", "peak_memory_bytes": 5, "share": 1}`
	if err := peer.parse([]byte("a warning\n" + out + "\n")); err != nil {
		t.Fatal(err)
	}
	peer.count(1, 1)
	if peer.Seconds != 13 || peer.Share != 0 || peer.Threads != 2 || peer.PeakBytes != 5 || peer.Accuracies[0] != 0.8 || peer.Side != bestSide {
		t.Errorf("%+v", peer)
	}
	peer.count(0.1, 0.5) // a fifth of the steps, one rate of two
	if peer.Seconds != 106 || peer.Share != 0.1 || peer.Train != 10 {
		t.Errorf("%+v", peer)
	}
	for _, wrong := range []string{"", "Traceback", "{}", `{"train_seconds": 1}`} {
		if new(wholeRun).parse([]byte(wrong)) == nil {
			t.Errorf("%q is taken for a result", wrong)
		}
	}

	var thaw wholeRun
	const summary = `{"test_data": "t", "seconds": {"prefix": 1, "train": 2, "evaluate": 3, "total": 7},
		"precision": "float32", "versions": {"threads": 2}}`
	for range 2 { // as of a sweep
		if err := thaw.add([]byte(summary)); err != nil {
			t.Fatal(err)
		}
	}
	if thaw.Seconds != 14 || thaw.Prefix != 2 || thaw.Train != 4 || thaw.Evaluate != 6 || len(thaw.Accuracies) != 2 || thaw.Threads != 2 {
		t.Errorf("%+v", thaw)
	}
	if thaw.add([]byte("{}")) == nil {
		t.Error("an empty summary is taken for a run")
	}
}

// TestCompareAccuracies: means over all runs of a case; what was trained for less, or not at all, is left out.
func TestCompareAccuracies(t *testing.T) {
	c := runCase{name: "x", peers: both}
	got := compareAccuracies([]runCase{c, {name: "nothing", peers: both}}, []wholeRun{
		{Case: "x", Side: thawSide, Accuracies: []float64{0.75, 0.25}}, {Case: "x", Side: thawSide, Accuracies: []float64{1, 1}},
		{Case: "x", Side: defaultSide, Accuracies: []float64{0.5, 0.25}}, {Case: "x", Side: defaultSide, Accuracies: []float64{0.5, 0.75}},
		{Case: "x", Side: bestSide, Accuracies: []float64{1, 1, 1, 1}, Share: 0.5},
		{Case: "nothing", Side: thawSide}, {Case: "nothing", Side: defaultSide},
	})
	want := accuracies{Case: "x", Peer: defaultSide, Thaw: 0.75, Theirs: 0.5, Difference: 0.25, Runs: 4}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v alone", got, want)
	}
}

// TestQuotaArguments: under a quota Thaw chooses its threads, and the peer's user sets as many as the quota keeps busy.
func TestQuotaArguments(t *testing.T) {
	m := &runMaterial{folder: "f", weights: "w"}
	if got := strings.Join(runCases[0].thawArguments(m, "out", 1.5, []int{1}), " "); strings.Contains(got, "threads=") {
		t.Errorf("%q sets the threads", got)
	}
	if got := quotaThreads(0.5); got != 1 {
		t.Errorf("%d threads under half a CPU", got)
	}
	if _, err := enterGroup(t.TempDir(), 1); err == nil {
		t.Error("a folder that is none of control groups is taken for one")
	}
}

// TestUnderQuota: this process is in a group with the quota until it leaves, and the group is gone then.
func TestUnderQuota(t *testing.T) {
	before := cgroup.Read().CPUs
	leave, err := underQuota(0.75)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	got := cgroup.Read().CPUs
	leave()
	if got != 0.75 || cgroup.Read().CPUs != before {
		t.Errorf("%v CPUs inside, %v after", got, cgroup.Read().CPUs)
	}
}

// TestForecast: what thaw plan prints is set beside what a run took.
func TestForecast(t *testing.T) {
	f, err := parseForecast([]byte(`{"phases": [], "prefix": 6, "train": 9, "evaluate": 1, "seconds": 16, "took": 3}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "plan x: frozen stages 6.0 of 5.0 s, 1.20; training 9.0 of 10.0 s, 0.90; evaluation 1.0 of 0 s; in all 16.0 of 15.0 s, 1.07"
	if got := f.beside("x", finetune.Seconds{Prefix: 5, Train: 10}); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, wrong := range []string{"", "{}", "panic"} {
		if _, err := parseForecast([]byte(wrong)); err == nil {
			t.Errorf("%q is taken for a forecast", wrong)
		}
	}
}
