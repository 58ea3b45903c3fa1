package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// report is a benchmark's outcome, as it is kept in results.
type report struct {
	Benchmark   string            `json:"benchmark"`
	Date        time.Time         `json:"date"`
	Machine     machine           `json:"machine"`
	Versions    map[string]string `json:"versions"`
	Threads     int               `json:"threads"` // of each side
	Comparisons []comparison      `json:"comparisons"`
	Details     any               `json:"details,omitempty"`
}

// newReport notes what a benchmark is about to run on. It warns where others keep the machine busy.
func newReport(benchmark string, threads int) (*report, error) {
	versions, err := findVersions()
	if err != nil {
		return nil, err
	}
	m, err := thisMachine()
	if err != nil {
		return nil, err
	}
	if m.Busy > 0.1 {
		fmt.Fprintf(os.Stderr, "bench: other programs use %.2f of %d cores: what follows is noise\n", m.Busy, m.Cores)
	}
	return &report{Benchmark: benchmark, Date: time.Now().UTC().Truncate(time.Second), Machine: m, Versions: versions, Threads: threads}, nil
}

// head is a line about the machine and the versions.
func (r *report) head() string {
	v := r.Versions
	return fmt.Sprintf("%s: thaw %s, %s, libtorch %s; Python %s, torch %s, tokenizers %s, transformers %s\n%v, %d cores, Linux %s; threads a side: %d",
		r.Benchmark, v["thaw"], v["go"], v["libtorch"], v["python"], v["torch"], v["tokenizers"], v["transformers"],
		r.Machine.cpu, r.Machine.Cores, r.Machine.Kernel, r.Threads)
}

// file names a file of results; the date tells runs apart.
func (r *report) file(folder, kind string) string {
	return filepath.Join(folder, r.Benchmark+"-"+r.Date.Format("20060102-150405")+kind)
}

// finish prints the table and keeps the report.
func (r *report) finish(folder string) error {
	fmt.Println(r.head())
	if err := printTable(os.Stdout, r.Comparisons); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return keep(r.file(folder, ".json"), append(text, '\n'))
}

// keep writes a file of results and says so.
func keep(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	fmt.Printf("kept in %s\n\n", path)
	return nil
}
