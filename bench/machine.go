package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/torch"
)

// machine is what a benchmark ran on.
type machine struct {
	cpu
	Cores  int     `json:"cores"`
	Kernel string  `json:"kernel"`
	Busy   float64 `json:"busy_cores"` // cores that other programs used in the second before
}

// cpu is a processor as /proc/cpuinfo tells it. The name alone may tell nothing: a virtual machine's is often "AMD EPYC"
// whatever it is, and then family and model tell Zen 3 (25, 1) from Zen 5 (26, 2).
type cpu struct {
	Name         string   `json:"cpu"`
	Family       int      `json:"cpu_family,omitempty"`
	Model        int      `json:"cpu_model,omitempty"`
	Instructions []string `json:"cpu_instructions,omitempty"` // those of cpuInstructions that it has
}

// cpuInstructions are the sets of instructions that kernels of the benchmarks are chosen by.
var cpuInstructions = []string{"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"}

// parseCPU reads the first processor of /proc/cpuinfo.
func parseCPU(text string) cpu {
	c := cpu{Name: "unknown"}
	first, _, _ := strings.Cut(text, "\n\n")
	for line := range strings.Lines(first) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "model name":
			c.Name = value
		case "cpu family":
			c.Family, _ = strconv.Atoi(value) // 0 where it is no number
		case "model":
			c.Model, _ = strconv.Atoi(value)
		case "flags":
			flags := strings.Fields(value)
			for _, name := range cpuInstructions {
				if slices.Contains(flags, name) {
					c.Instructions = append(c.Instructions, name)
				}
			}
		}
	}
	return c
}

// multipliesBfloat16 tells whether the processor has instructions for products of bfloat16.
func (c cpu) multipliesBfloat16() bool {
	return slices.Contains(c.Instructions, "avx512_bf16") || slices.Contains(c.Instructions, "amx_bf16")
}

// String tells the processor in a line.
func (c cpu) String() string {
	return fmt.Sprintf("%s (family %d, model %d; %s)", c.Name, c.Family, c.Model, strings.Join(c.Instructions, " "))
}

func thisMachine() (machine, error) {
	m := machine{Cores: runtime.NumCPU()}
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, err
	}
	m.cpu = parseCPU(string(cpus))
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
