package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// stepCases are measured on the CPU, where all layers are trained, in each of the precisions.
var (
	stepCases  = []string{"resnet50-full-bs32", "bert-base-full-len128-bs16"}
	precisions = []string{"float32", "bfloat16"}
)

// stepSeconds is the least that a side's steps take in a round.
const stepSeconds = "8"

// measuredSteps is a line of peers/gpu_steps.py, and what thaw bench writes of a case.
type measuredSteps struct {
	Case      string    `json:"case"`
	Mode      string    `json:"mode"`
	Rate      float64   `json:"samples_per_second"`
	Rounds    []float64 `json:"rounds,omitempty"`  // samples per second of each
	PeakBytes int64     `json:"peak_memory_bytes"` // of the process
	Precision string    `json:"precision,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// runSteps times training steps on random samples, of the same networks by the same rules, in a process of each side a round.
func runSteps(o options) error {
	if err := need(program); err != nil {
		return err
	}
	interpreter, err := python()
	if err != nil {
		return err
	}
	r, err := newReport("steps", 2) // as many as there are cores here
	if err != nil {
		return err
	}
	var runs []map[string]measuredSteps
	var trials []trial
	for _, precision := range precisions {
		for _, name := range stepCases {
			side := func(who string, measure func(name, precision string) (measuredSteps, error)) side {
				return func() (float64, error) {
					m, err := measure(name, precision)
					if err != nil {
						return 0, err
					}
					m.Precision = precision
					runs = append(runs, map[string]measuredSteps{who: m})
					fmt.Printf("%-7s %s %s  %.1f samples/s  peak %.2f GB\n", who, name, precision, m.Rate, float64(m.PeakBytes)/1e9)
					return 1e3 / m.Rate, nil
				}
			}
			trials = append(trials, trial{
				name: name + " " + precision, peerName: "PyTorch eager", unit: "ms a sample",
				thaw: side("thaw", thawSteps),
				peer: side("peer", func(name, precision string) (measuredSteps, error) { return peerSteps(interpreter, name, precision) }),
			})
		}
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 3), 0, trials); err != nil {
		return err
	}
	r.Details = map[string]any{"runs": runs}
	return r.finish(o.results)
}

// thawSteps measures a case in a process of its own.
func thawSteps(name, precision string) (m measuredSteps, err error) {
	return thawStepsIn(name, precision, "--rounds", "1", "--seconds", stepSeconds)
}

// thawStepsIn is thawSteps in rounds as flags say.
func thawStepsIn(name, precision string, rounds ...string) (m measuredSteps, err error) {
	folder, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "steps.json")
	var said bytes.Buffer
	args := append([]string{"bench", "^" + name + "$", "--device", "cpu", "--precision", precision, "--mode", "eager", "--json", path}, rounds...)
	if _, err := runProcess(&said, program, args...); err != nil {
		return m, fmt.Errorf("%w: %s", err, said.Bytes())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	var report struct {
		Results []measuredSteps `json:"results"`
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return m, err
	}
	return only(name, report.Results)
}

// peerSteps measures a case with PyTorch, in a process of its own.
func peerSteps(interpreter, name, precision string) (m measuredSteps, err error) {
	var said bytes.Buffer
	if _, err := runProcess(&said, interpreter, "peers/gpu_steps.py", "--cases", "^"+name+"$", "--device", "cpu", "--precision", precision,
		"--modes", "eager", "--rounds", "1", "--seconds", stepSeconds); err != nil {
		return m, fmt.Errorf("%w: %s", err, said.Bytes())
	}
	var lines []measuredSteps
	for line := range bytes.Lines(said.Bytes()) {
		var l measuredSteps
		if err := json.Unmarshal(line, &l); err != nil {
			return m, fmt.Errorf("gpu_steps.py printed %q: %w", line, err)
		}
		if l.Case != "" { // the first line tells the versions
			lines = append(lines, l)
		}
	}
	return only(name, lines)
}

// only gives the one result that is expected.
func only(name string, results []measuredSteps) (measuredSteps, error) {
	if len(results) != 1 || results[0].Case != name || !(results[0].Rate > 0) && results[0].Error == "" {
		return measuredSteps{}, fmt.Errorf("%s was asked for, got %+v", name, results)
	}
	if results[0].Error != "" {
		return measuredSteps{}, errors.New(results[0].Error)
	}
	return results[0], nil
}
