package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
)

// spinnerKey is set in the environment of a process of this program that keeps a core busy.
const spinnerKey = "THAW_BENCH_SPINNER"

// sharedRounds are the rounds of Thaw's steps, of which the second half counts: in the first it finds out how to share.
const sharedRounds = "8"

// runShared times training steps beside busy processes: alone, beside one that keeps to the last core, and beside one more, which
// keeps to the first. The cases are those of steps, but that bfloat16 is left out where the CPU does not multiply it. What
// the sides are given is equal.
func runShared(o options) error {
	if err := need(program); err != nil {
		return err
	}
	interpreter, err := python()
	if err != nil {
		return err
	}
	r, err := newReport("shared", runtime.NumCPU())
	if err != nil {
		return err
	}
	var trials []trial
	for _, precision := range precisions {
		if precision == "bfloat16" && !r.Machine.multipliesBfloat16() {
			continue // emulated, which nobody trains in
		}
		for _, name := range stepCases {
			for neighbours := range 3 {
				beside := func(who string, measure func() (measuredSteps, error)) side {
					return func() (float64, error) {
						stop, err := startSpinners(neighbours)
						if err != nil {
							return 0, err
						}
						defer stop()
						m, err := measure()
						if err != nil {
							return 0, err
						}
						fmt.Printf("%-7s %s %s beside %d  %.2f samples/s\n", who, name, precision, neighbours, m.Rate)
						return 1e3 / m.Rate, nil
					}
				}
				trials = append(trials, trial{
					name: fmt.Sprintf("%s %s beside %d", name, precision, neighbours), peerName: "PyTorch eager", unit: "ms a sample",
					thaw: beside("thaw", func() (measuredSteps, error) { return thawSharing(name, precision) }),
					peer: beside("peer", func() (measuredSteps, error) { return peerSteps(interpreter, name, precision) }),
				})
			}
		}
	}
	if r.Comparisons, err = compare(cmp.Or(o.rounds, 1), 0, o.wanted(trials)); err != nil {
		return err
	}
	alone := map[string]comparison{} // by the case, without " beside N"
	slower := map[string][2]float64{}
	for _, c := range r.Comparisons {
		name := c.Name[:len(c.Name)-len(" beside 0")]
		if c.Name[len(c.Name)-1] == '0' {
			alone[name] = c
		} else if a, ok := alone[name]; ok {
			slower[c.Name] = [2]float64{c.Thaw.Median / a.Thaw.Median, c.Peer.Median / a.Peer.Median}
			fmt.Printf("%s: %.2f times the time alone, PyTorch %.2f\n", c.Name, slower[c.Name][0], slower[c.Name][1])
		}
	}
	r.Details = map[string]any{"times_alone": slower}
	return r.finish(o.results)
}

// thawSharing measures a case in a process of its own, once it has found out how to share.
func thawSharing(name, precision string) (measuredSteps, error) {
	m, err := thawStepsIn(name, precision, "--share-cpus", "--rounds", sharedRounds, "--seconds", "4")
	if err != nil {
		return m, err
	}
	m.Rate = median(m.Rounds[len(m.Rounds)/2:])
	return m, nil
}

// startSpinners starts up to two processes that each keep a core busy, the last core first.
func startSpinners(n int) (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var running []*exec.Cmd
	stop = func() {
		for _, c := range running {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed
		}
	}
	for _, core := range []int{runtime.NumCPU() - 1, 0}[:n] {
		c := exec.Command("taskset", "-c", strconv.Itoa(core), self)
		c.Env = append(os.Environ(), spinnerKey+"=1", "GOMAXPROCS=1")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			stop()
			return nil, err
		}
		running = append(running, c)
	}
	return stop, nil
}

// spin keeps a core busy until the process is killed.
func spin() {
	signal.Ignore(os.Interrupt) // it ends with what started it
	for {
	}
}
