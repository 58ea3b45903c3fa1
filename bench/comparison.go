package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// side runs its part of a trial once and gives what it took.
type side func() (float64, error)

// trial is one thing that both sides do.
type trial struct {
	name, peerName string
	unit           string
	thaw, peer     side
}

// series is what one side took, round by round.
type series struct {
	Median float64   `json:"median"`
	Rounds []float64 `json:"rounds"`
}

// comparison is a trial's outcome.
type comparison struct {
	Name     string  `json:"name"`
	PeerName string  `json:"peer_name"`
	Unit     string  `json:"unit"`
	Ratio    float64 `json:"ratio"` // of the medians, Thaw's to the peer's: below 1 Thaw takes less
	Thaw     series  `json:"thaw"`
	Peer     series  `json:"peer"`
}

// compare runs all trials in every round, both sides one right after the other; which one begins changes from round to
// round. Rounds before the first, as many as warmUp says, do not count.
func compare(rounds, warmUp int, trials []trial) ([]comparison, error) {
	out := make([]comparison, len(trials))
	for round := -warmUp; round < rounds; round++ {
		for i, t := range trials {
			c := &out[i]
			turns := []struct {
				run side
				to  *series
			}{{t.thaw, &c.Thaw}, {t.peer, &c.Peer}}
			if round%2 != 0 {
				slices.Reverse(turns)
			}
			for _, turn := range turns {
				took, err := turn.run()
				if err != nil {
					return nil, fmt.Errorf("%s: %w", t.name, err)
				}
				if round >= 0 {
					turn.to.Rounds = append(turn.to.Rounds, took)
				}
			}
		}
	}
	for i, t := range trials {
		c := &out[i]
		c.Name, c.PeerName, c.Unit = t.name, t.peerName, t.unit
		c.Thaw.Median, c.Peer.Median = median(c.Thaw.Rounds), median(c.Peer.Rounds)
		c.Ratio = c.Thaw.Median / c.Peer.Median
	}
	return out, nil
}

func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// String is the median and, of several rounds, the lowest and highest.
func (s series) String() string {
	if len(s.Rounds) < 2 {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s-%s)", number(s.Median), number(slices.Min(s.Rounds)), number(slices.Max(s.Rounds)))
}

// number writes a figure with about four digits.
func number(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.3f", x)
}

// printTable writes one line a comparison.
func printTable(w io.Writer, comparisons []comparison) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "case\tunit\tThaw\tPython\tratio\tPython's is")
	for _, c := range comparisons {
		fmt.Fprintf(t, "%s\t%s\t%v\t%v\t%.3f\t%s\n", c.Name, c.Unit, c.Thaw, c.Peer, c.Ratio, c.PeerName)
	}
	return t.Flush()
}
