package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
)

// The sides of a whole run: Thaw, PyTorch as its documentation writes it, and PyTorch as its best user would.
const (
	thawSide    = "thaw"
	defaultSide = "D"
	bestSide    = "B"
)

var sideNames = map[string]string{defaultSide: "PyTorch, as its defaults are", bestSide: "PyTorch, as its best user writes it"}

// wholeRun is what one side took for a case, once.
type wholeRun struct {
	Case       string    `json:"case"`
	Side       string    `json:"side"`
	Seconds    float64   `json:"seconds"` // what counts: all work on the model and data that were read
	Prefix     float64   `json:"prefix_seconds,omitempty"`
	Train      float64   `json:"train_seconds"`
	Evaluate   float64   `json:"evaluate_seconds"`
	Accuracies []float64 `json:"accuracies"` // of each rate and seed, at the best epoch (Thaw) or the last (a peer)
	Seeds      []int     `json:"seeds"`      // that were run; each with every rate
	PeakBytes  int64     `json:"peak_memory_bytes"`
	Precision  string    `json:"precision"`
	Threads    int       `json:"threads"`
	Forecast   *forecast `json:"forecast,omitempty"` // of Thaw's run alone (-forecast)
	// Share is that of the steps which a peer trained, where it was not all (-share). Then Seconds are those of the whole run
	// by that, Train and Evaluate those that passed, and accuracies those of a network trained for less.
	Share float64 `json:"share,omitempty"`
}

// runRuns times whole fine-tunings beside PyTorch twice. The time of a side is that of its whole training work after model
// and data were read (pictures are decoded in training): Thaw's with its frozen prefix, the evaluations before the first
// epoch and after each, and the writing of weights; a peer's with one evaluation at the end. Thaw keeps what frozen layers
// gave in memory: nothing that an earlier run left on disk is read.
func runRuns(o options) error {
	if err := need(program, modelFolder, reviewsFile, demoRows); err != nil {
		return err
	}
	interpreter, err := python()
	if err != nil {
		return err
	}
	cases := o.wantedRuns(runCases)
	if len(cases) == 0 {
		return errors.New("-only matches no case")
	}
	material, err := newRunMaterial(interpreter, cases)
	if err != nil {
		return err
	}
	defer material.close()
	r, err := newReport("runs", runtime.NumCPU())
	if err != nil {
		return err
	}
	var runs []wholeRun
	leave, err := underQuota(o.quota)
	if err != nil {
		return err
	}
	defer leave()
	for round := range cmp.Or(o.rounds, 1) {
		for _, c := range cases {
			for _, side := range turned(c.sides(), round) {
				run, err := c.run(side, material, o, round)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c.name, side, err)
				}
				fmt.Println(run)
				runs = append(runs, run)
			}
		}
	}
	for _, c := range cases {
		r.Comparisons = append(r.Comparisons, compareRuns(c, runs)...)
	}
	accuracies := compareAccuracies(cases, runs)
	for _, a := range accuracies {
		fmt.Println(a)
	}
	r.Details = map[string]any{"runs": runs, "accuracies": accuracies, "quota": o.quota}
	return r.finish(o.results)
}

// wantedRuns are the cases that were asked for.
func (o options) wantedRuns(all []runCase) (out []runCase) {
	for _, c := range all {
		if o.only == nil || o.only.MatchString(c.name) {
			out = append(out, c)
		}
	}
	return out
}

// turned has another side begin in each round.
func turned(sides []string, round int) []string {
	at := round % len(sides)
	return slices.Concat(sides[at:], sides[:at])
}

// String is a line for people.
func (r wholeRun) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-4s %s  %.1f s", r.Side, r.Case, r.Seconds)
	if r.Share > 0 {
		fmt.Fprintf(&b, " (by %.3g of its steps)", r.Share)
	}
	fmt.Fprintf(&b, ": prefix %.1f + training %.1f + evaluation %.1f s  peak %.2f GB  %s, %d threads",
		r.Prefix, r.Train, r.Evaluate, float64(r.PeakBytes)/1e9, r.Precision, r.Threads)
	for i, a := range r.Accuracies {
		if i == 0 {
			b.WriteString("  accuracy")
		}
		fmt.Fprintf(&b, " %.4f", a)
	}
	return b.String()
}

// compareRuns sets Thaw's seconds and memory beside those of each peer of a case.
func compareRuns(c runCase, runs []wholeRun) (out []comparison) {
	of := func(side string, figure func(wholeRun) float64) (s series) {
		for _, r := range runs {
			if r.Case == c.name && r.Side == side {
				s.Rounds = append(s.Rounds, figure(r))
			}
		}
		s.Median = median(s.Rounds)
		return s
	}
	for _, unit := range []struct {
		name   string
		figure func(wholeRun) float64
	}{
		{"s", func(r wholeRun) float64 { return r.Seconds }},
		{"GB at most", func(r wholeRun) float64 { return float64(r.PeakBytes) / 1e9 }},
	} {
		thaw := of(thawSide, unit.figure)
		for _, side := range c.peers {
			peer := of(side, unit.figure)
			out = append(out, comparison{
				Name: c.name, PeerName: sideNames[side], Unit: unit.name,
				Ratio: thaw.Median / peer.Median, Thaw: thaw, Peer: peer,
			})
		}
	}
	return out
}

// sides are all that run a case.
func (c runCase) sides() []string { return append([]string{thawSide}, c.peers...) }

// run trains once.
func (c runCase) run(side string, m *runMaterial, o options, round int) (wholeRun, error) {
	if side == thawSide {
		return c.runThaw(m, o, round)
	}
	return c.runPeer(side, m, o, round)
}

// runThaw trains, or sweeps, with the program.
func (c runCase) runThaw(m *runMaterial, o options, round int) (run wholeRun, err error) {
	if err := c.writeSpec(m); err != nil {
		return run, err
	}
	folder := filepath.Join(m.folder, fmt.Sprint("run-", m.next()))
	seeds := c.seedsOf(round)
	args := c.thawArguments(m, folder, o.quota, seeds)
	var predicted *forecast
	if o.forecast && args[0] == "train" {
		if predicted, err = askPlan(args); err != nil {
			return run, err
		}
	}
	p, err := runProcess(os.Stdout, program, args...)
	if err != nil {
		return run, err
	}
	pattern := filepath.Join(folder, "summary.json")
	runs := len(c.rates) * len(seeds)
	if runs > 1 {
		pattern = filepath.Join(folder, "*", "summary.json")
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return run, err
	}
	if len(paths) != runs {
		return run, fmt.Errorf("thaw left %d summaries, not %d, at %s", len(paths), runs, pattern)
	}
	run = wholeRun{Case: c.name, Side: thawSide, PeakBytes: p.PeakBytes, Seeds: seeds}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return run, err
		}
		if err := run.add(text); err != nil {
			return run, fmt.Errorf("%s: %w", path, err)
		}
	}
	if run.Forecast = predicted; predicted != nil {
		fmt.Println(predicted.beside(c.name, finetune.Seconds{Prefix: run.Prefix, Train: run.Train, Evaluate: run.Evaluate}))
	}
	return run, nil
}

// add counts a run of Thaw's by its summary.json.
func (r *wholeRun) add(text []byte) error {
	var s finetune.Result
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if !(s.Seconds.Total > 0) || s.Versions == nil {
		return errors.New("it has no time")
	}
	r.Seconds += s.Seconds.Total
	r.Prefix += s.Seconds.Prefix
	r.Train += s.Seconds.Train
	r.Evaluate += s.Seconds.Evaluate
	if s.TestData != "" {
		r.Accuracies = append(r.Accuracies, s.Best.Value("accuracy"))
	}
	r.Precision, r.Threads = s.Precision, s.Versions.Threads
	return nil
}

// runPeer trains with PyTorch, a share of the steps, and then with one rate and one seed alone.
func (c runCase) runPeer(side string, m *runMaterial, o options, round int) (run wholeRun, err error) {
	rates, seeds := c.rates, c.seedsOf(round)
	all := len(rates) * len(seeds)
	if o.share < 1 {
		rates, seeds = rates[:1], seeds[:1]
	}
	args := append(c.peerArguments(m), "--as", side, "--train", c.peerTrain,
		"--epochs", strconv.Itoa(c.epochs), "--lr", strings.Join(rates, ","), "--share", fmt.Sprint(o.share),
		"--seed", joined(seeds), "--threads", strconv.Itoa(quotaThreads(o.quota)))
	var out bytes.Buffer
	if _, err := runProcess(&out, m.interpreter, args...); err != nil {
		return run, err
	}
	run = wholeRun{Case: c.name, Side: side, Seeds: seeds}
	if err := run.parse(out.Bytes()); err != nil {
		return run, fmt.Errorf("%s: %w", args[0], err)
	}
	ofRuns := float64(len(rates)*len(seeds)) / float64(all)
	run.count(run.Share*ofRuns, ofRuns)
	return run, nil
}

// parse reads the last line that a peer prints.
func (r *wholeRun) parse(out []byte) error {
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], r); err != nil {
		return fmt.Errorf("it printed no result: %q: %w", out, err)
	}
	if !(r.Train > 0) || r.PeakBytes <= 0 || !(r.Share > 0) {
		return fmt.Errorf("it printed no time, memory or share: %q", out)
	}
	return nil
}

// count sets the seconds of a whole run, of which these shares passed.
func (r *wholeRun) count(ofTraining, ofEvaluation float64) {
	r.Seconds = r.Train/ofTraining + r.Evaluate/ofEvaluation
	if r.Share = ofTraining; ofTraining == 1 {
		r.Share = 0 // as all others
	}
}
