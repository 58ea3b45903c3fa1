package gpu

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

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
