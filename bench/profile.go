package main

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// topSymbols is how many functions a profile names beside the groups.
const topSymbols = 25

// profile is where one case's time went.
type profile struct {
	opCase
	ns      float64 // a call, while it was profiled
	samples map[symbol]int
	total   int
}

// symbol is a function and the file it is in; file is "bench" for this program.
type symbol struct{ file, name string }

// profileOpcall shows where the time of operator calls goes, by sampling this process with perf.
func profileOpcall(o options, cases []opCase) error {
	perf, err := exec.LookPath("perf")
	if err != nil {
		return errors.New("perf is not there: install it (apt-get install linux-perf, or linux-tools-generic on Ubuntu)")
	}
	if stripped, err := isStripped(); err != nil {
		return err
	} else if stripped { // go run leaves the symbols out
		return runUnstripped()
	}
	folder, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	r, err := newReport("opcall-profile", 1)
	if err != nil {
		return err
	}
	var profiles []profile
	for _, c := range cases {
		p, err := sample(perf, filepath.Join(folder, "perf.data"), c, o.seconds)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		profiles = append(profiles, p)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s\n%s\n\n", r.head(), r.Date.Format(time.RFC3339))
	if err := writeGroups(&text, profiles); err != nil {
		return err
	}
	os.Stdout.Write(text.Bytes())
	for _, p := range profiles {
		writeSymbols(&text, p)
	}
	return keep(r.file(o.results, ".txt"), text.Bytes())
}

// sample runs a case for some seconds under perf, user mode only.
func sample(perf, file string, c opCase, seconds float64) (profile, error) {
	p := profile{opCase: c}
	c.loop(100 * perScope) // warm
	record := exec.Command(perf, "record", "--quiet", "--all-user", "--freq=5000", "--output="+file,
		"--pid="+strconv.Itoa(os.Getpid()), "--", "sleep", fmt.Sprint(seconds))
	var said bytes.Buffer
	record.Stdout, record.Stderr = &said, &said
	if err := record.Start(); err != nil {
		return p, err
	}
	var done atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- record.Wait()
		done.Store(true)
	}()
	const turns = 100 * perScope
	calls, start := 0, time.Now()
	for !done.Load() {
		c.loop(turns)
		calls += turns
	}
	p.ns = float64(time.Since(start).Nanoseconds()) / float64(calls)
	if err := <-ended; err != nil {
		return p, fmt.Errorf("perf record: %w: %s", err, strings.TrimSpace(said.String()))
	}
	return p, p.read(perf, file)
}

// read takes the samples by function from perf's file.
func (p *profile) read(perf, file string) error {
	out, err := exec.Command(perf, "report", "--input="+file, "--stdio", "--quiet", "--fields=sample,dso,symbol",
		"--percent-limit=0", "--field-separator=\t").Output()
	if err != nil {
		return fmt.Errorf("perf report: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.samples = map[symbol]int{}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		if len(fields) != 3 {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(fields[0]))
		if err != nil {
			return fmt.Errorf("perf report: %q", line)
		}
		s := symbol{strings.TrimSpace(fields[1]), strings.TrimPrefix(strings.TrimSpace(fields[2]), "[.] ")}
		if s.file == filepath.Base(self) {
			s.file = "bench"
		}
		p.samples[s] += n
		p.total += n
	}
	if p.total == 0 {
		return errors.New("perf took no samples: does /proc/sys/kernel/perf_event_paranoid allow it (2 or less)?")
	}
	return nil
}

// share is a group's part of a profile.
func (p *profile) share(group string) float64 {
	n := 0
	for s, samples := range p.samples {
		if groupOf(s) == group {
			n += samples
		}
	}
	return float64(n) / float64(p.total)
}

// writeGroups writes a line a group, a column a case.
func writeGroups(to *bytes.Buffer, profiles []profile) error {
	t := tabwriter.NewWriter(to, 0, 0, 3, ' ', 0)
	fmt.Fprint(t, "where the time goes (share, ns a call)")
	for _, p := range profiles {
		fmt.Fprintf(t, "\t%s", p.name)
	}
	for _, g := range groups {
		fmt.Fprintf(t, "\n%s", g)
		for _, p := range profiles {
			fmt.Fprintf(t, "\t%4.1f %%  %.0f", 100*p.share(g), p.share(g)*p.ns)
		}
	}
	fmt.Fprint(t, "\nall")
	for _, p := range profiles {
		fmt.Fprintf(t, "\t %d samples  %.0f", p.total, p.ns)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// writeSymbols lists the functions that take most.
func writeSymbols(to *bytes.Buffer, p profile) {
	symbols := slices.SortedFunc(maps.Keys(p.samples), func(a, b symbol) int {
		return cmp.Or(cmp.Compare(p.samples[b], p.samples[a]), cmp.Compare(a.name, b.name))
	})
	fmt.Fprintf(to, "\n%s\n", p.name)
	for _, s := range symbols[:min(topSymbols, len(symbols))] {
		fmt.Fprintf(to, "%5.1f %%  %-24s %.120s    (%s)\n", 100*float64(p.samples[s])/float64(p.total), s.file, s.name, groupOf(s))
	}
}

// isStripped reports whether this program has no table of symbols.
func isStripped() (bool, error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	f, err := elf.Open(self)
	if err != nil {
		return false, err
	}
	defer f.Close()
	_, err = f.Symbols()
	return errors.Is(err, elf.ErrNoSymbols), nil
}

// runUnstripped builds this program with symbols and runs it with the same arguments.
func runUnstripped() error {
	folder, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "bench")
	for _, cmd := range []*exec.Cmd{exec.Command("go", "build", "-o", path, "."), exec.Command(path, os.Args[1:]...)} {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("with symbols: %w", err)
		}
	}
	return nil
}
