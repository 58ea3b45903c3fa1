package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/torch"
)

// machine is what a benchmark ran on.
type machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Kernel string  `json:"kernel"`
	Busy   float64 `json:"busy_cores"` // cores that other programs used in the second before
}

func thisMachine() (machine, error) {
	m := machine{Cores: runtime.NumCPU(), CPU: "unknown"}
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(cpus)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return m, err
	}
	m.Kernel = strings.TrimSpace(string(release))
	m.Busy, err = busyCores(time.Second)
	return m, err
}

// busyCores is how many cores are in use while this process sleeps.
func busyCores(d time.Duration) (float64, error) {
	busy, total, err := ticks()
	if err != nil {
		return 0, err
	}
	time.Sleep(d)
	busyThen, totalThen, err := ticks()
	if err != nil {
		return 0, err
	}
	return float64(busyThen-busy) / float64(max(1, totalThen-total)) * float64(runtime.NumCPU()), nil
}

// ticks reads the first line of /proc/stat (man 5 proc): user, nice, system, idle, iowait, irq, softirq, steal.
func ticks() (busy, total int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	var t [8]int64
	if _, err := fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d %d", &t[0], &t[1], &t[2], &t[3], &t[4], &t[5], &t[6], &t[7]); err != nil {
		return 0, 0, fmt.Errorf("/proc/stat: %w", err)
	}
	for i, n := range t {
		total += n
		if i != 3 && i != 4 {
			busy += n
		}
	}
	return busy, total, nil
}

const pythonVersions = `import importlib.metadata as m, json, platform
print(json.dumps({"python": platform.python_version()} | {n: m.version(n) for n in ("torch", "torchvision", "pillow", "tokenizers", "transformers")}))`

// findVersions gives the versions of everything that takes part.
func findVersions() (map[string]string, error) {
	interpreter, err := python()
	if err != nil {
		return nil, err
	}
	text, err := exec.Command(interpreter, "-c", pythonVersions).Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its packages: %w; make peers brings them", interpreter, err)
	}
	versions := map[string]string{
		"thaw":           revision(),
		"go":             runtime.Version(),
		"libtorch":       torch.Version(),
		"cpu_capability": torch.CPUCapability(),
	}
	return versions, json.Unmarshal(text, &versions)
}

// revision is the checkout's commit, with "+changes" where tracked files differ from it.
func revision() string {
	commit, err := exec.Command("git", "-C", root, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return thaw.Version // not a git checkout
	}
	out := strings.TrimSpace(string(commit))
	if changes, err := exec.Command("git", "-C", root, "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(changes) > 0 {
		out += "+changes"
	}
	return out
}
