package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/thaw-ml/thaw/finetune"
)

// What the demo is compared with: PyTorch and transformers training all layers for an epoch, at their usual rate.
var fullEpoch = []string{"full", "1", "5e-5"}

// thawRun is one run of Thaw's demo.
type thawRun struct {
	Process process          `json:"process"`
	Summary *finetune.Result `json:"summary"`
}

// peerRun is one run of peers/cpu_text.py, which times its training alone.
type peerRun struct {
	Process    process `json:"process"`
	Line       string  `json:"line"`
	Throughput float64 `json:"samples_per_second"`
	Seconds    float64 `json:"seconds"`
	Accuracy   float64 `json:"accuracy"`
}

// process is what a whole process took.
type process struct {
	Seconds   float64 `json:"seconds"`
	PeakBytes int64   `json:"peak_memory_bytes"` // resident
}

// runDemo fine-tunes with Thaw and with PyTorch, one after the other, on all cores. Thaw's time is that of the frozen
// prefix, training and all evaluation; the peer's is that of training without evaluation.
func runDemo(o options) error {
	t := trainings{name: "demo", folder: "bench", title: "fine-tuning, make demo", peerName: "one epoch of all layers", peer: fullEpoch}
	thaws, peers, err := t.run(o, 1, func(s finetune.Seconds) float64 { return s.Prefix + s.Train + s.Evaluate })
	if err != nil {
		return err
	}
	for i := range thaws {
		t, p := thaws[i], peers[i]
		s := t.Summary.Seconds
		fmt.Printf("Thaw    accuracy %.4f  %.1f samples/s  peak %.2f GB  prefix %.1f s + training %.1f s + evaluation %.1f s; whole process %.1f s\n",
			t.Summary.Best.Value("accuracy"), t.Summary.Throughput, float64(t.Summary.PeakBytes)/1e9, s.Prefix, s.Train, s.Evaluate, t.Process.Seconds)
		fmt.Printf("Python  accuracy %.4f  %.1f samples/s  peak %.2f GB  training %.0f s; whole process %.1f s\n",
			p.Accuracy, p.Throughput, float64(p.Process.PeakBytes)/1e9, p.Seconds, p.Process.Seconds)
	}
	return nil
}

// trainings are whole runs of Thaw and of the peer, on the demo's data.
type trainings struct {
	name            string   // of the benchmark
	folder          string   // what the names of Thaw's run folders begin with
	title, peerName string   // in the table
	keys            []string // of the demo's spec, set otherwise
	peer            []string // arguments of peers/cpu_text.py
}

// run trains with both in turn, so many rounds unless o says otherwise, and keeps the report. took is Thaw's time; the
// peer's is that of its training.
func (t trainings) run(o options, rounds int, took func(finetune.Seconds) float64) (thaws []*thawRun, peers []*peerRun, err error) {
	if err := need(program, modelFolder, reviewsFile, demoRows); err != nil {
		return nil, nil, err
	}
	r, err := newReport(t.name, 2) // as cpu_text.py sets it
	if err != nil {
		return nil, nil, err
	}
	r.Comparisons, err = compare(cmp.Or(o.rounds, rounds), 0, []trial{{
		name: t.title, peerName: t.peerName, unit: "s",
		thaw: func() (float64, error) {
			run, err := runThaw(fmt.Sprintf("%s-%s-%d", t.folder, r.Date.Format("20060102-150405"), len(thaws)+1), t.keys...)
			if err != nil {
				return 0, err
			}
			thaws = append(thaws, run)
			return took(run.Summary.Seconds), nil
		},
		peer: func() (float64, error) {
			run, err := runPeer(t.peer)
			if err != nil {
				return 0, err
			}
			peers = append(peers, run)
			return run.Seconds, nil
		},
	}})
	if err != nil {
		return nil, nil, err
	}
	r.Details = map[string]any{"thaw": thaws, "peer": peers}
	return thaws, peers, r.finish(o.results)
}

// runThaw trains as `make demo` does, with other keys where some are given, into the run folder runs/name.
func runThaw(name string, keys ...string) (*thawRun, error) {
	folder, err := filepath.Abs(filepath.Join(root, "runs", name))
	if err != nil {
		return nil, err
	}
	run := &thawRun{Summary: new(finetune.Result)}
	if run.Process, err = runProcess(os.Stdout, program, append([]string{"train", demoSpec, "out=" + folder, "threads=2"}, keys...)...); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(folder, "summary.json"))
	if err != nil {
		return nil, err
	}
	return run, json.Unmarshal(text, run.Summary)
}

var peerLine = regexp.MustCompile(`(?m)^[a-z0-9]+ epochs .*: ([0-9.]+) samples/s, ([0-9.]+) s, test acc ([0-9.]+) of [0-9]+$`)

// runPeer trains with PyTorch and transformers.
func runPeer(how []string) (*peerRun, error) {
	interpreter, err := python()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	args := append([]string{"peers/cpu_text.py", modelFolder, reviewsFile}, how...)
	run := new(peerRun)
	if run.Process, err = runProcess(io.MultiWriter(os.Stdout, &out), interpreter, args...); err != nil {
		return nil, err
	}
	return run, run.parse(out.String())
}

// parse reads the last line that the peer prints.
func (r *peerRun) parse(out string) error {
	m := peerLine.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("peers/cpu_text.py printed no result: %q", out)
	}
	r.Line = m[0]
	for i, to := range []*float64{&r.Throughput, &r.Seconds, &r.Accuracy} {
		var err error
		if *to, err = strconv.ParseFloat(m[i+1], 64); err != nil {
			return err
		}
	}
	return nil
}

// runProcess runs a program to its end, its output to out.
func runProcess(out io.Writer, name string, args ...string) (process, error) {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return process{}, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	p := process{Seconds: time.Since(start).Seconds()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		p.PeakBytes = usage.Maxrss * 1024 // Linux counts in KiB: man 2 getrusage
	}
	return p, nil
}
