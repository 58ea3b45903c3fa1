package main

import "fmt"

// accuracies sets the mean accuracy of all of Thaw's runs of a case beside that of a peer's.
type accuracies struct {
	Case       string  `json:"case"`
	Peer       string  `json:"peer"`
	Thaw       float64 `json:"thaw"`       // the mean of all rounds, rates and seeds
	Theirs     float64 `json:"theirs"`     // the same of the peer
	Difference float64 `json:"difference"` // Thaw's less the peer's
	Runs       int     `json:"runs"`       // of each side
}

// String is a line for people.
func (a accuracies) String() string {
	return fmt.Sprintf("%s: mean accuracy of %d runs %.4f, of %s %.4f: %+.4f", a.Case, a.Runs, a.Thaw, sideNames[a.Peer], a.Theirs, a.Difference)
}

// compareAccuracies compares the cases where something was evaluated. A peer that trained a share of the steps is left out, as
// its network was trained for less.
func compareAccuracies(cases []runCase, runs []wholeRun) (out []accuracies) {
	for _, c := range cases {
		of := func(side string) (sum float64, n int) {
			for _, r := range runs {
				if r.Case != c.name || r.Side != side || r.Share > 0 {
					continue
				}
				for _, a := range r.Accuracies {
					sum, n = sum+a, n+1
				}
			}
			return sum, n
		}
		thaw, n := of(thawSide)
		for _, side := range c.peers {
			if theirs, m := of(side); n > 0 && m == n {
				a := accuracies{Case: c.name, Peer: side, Thaw: thaw / float64(n), Theirs: theirs / float64(n), Runs: n}
				a.Difference = a.Thaw - a.Theirs
				out = append(out, a)
			}
		}
	}
	return out
}
