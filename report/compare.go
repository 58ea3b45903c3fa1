package report

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/columns"
)

// Comparison puts runs side by side.
type Comparison struct {
	Runs []Compared `json:"runs"`
	// Keys are those of the specs that are not the same in all runs. Where a run goes to (out) and how it goes on
	// (checkpoint, stop_after) is left out.
	Keys []Difference `json:"spec"`
	// Warnings say what makes numbers incomparable: test data that is not the same, a run that did not come to its end.
	Warnings []string `json:"warnings,omitempty"`
}

// Compared is a run in a comparison.
type Compared struct {
	Run     string              `json:"run"`
	Status  Status              `json:"status"`
	Epoch   int                 `json:"best_epoch,omitempty"`
	Rows    int                 `json:"test_rows,omitempty"`
	Metrics map[string]*float64 `json:"metrics,omitempty"` // of the best epoch, the loss too; null is not defined
	Seconds float64             `json:"seconds"`
	Rate    *float64            `json:"samples_per_second"` // null is not known
	Memory  int64               `json:"peak_memory_bytes"`
	OnGPU   bool                `json:"memory_of_gpu,omitempty"`
	names   []string            // of Metrics, in order
	test    DataSet
	train   DataSet
}

// Difference is a key of the specs with its value in each run; "" where a spec does not have it.
type Difference struct {
	Key    string   `json:"key"`
	Values []string `json:"values"`
}

// Compare compares runs.
func Compare(runs []*Run) *Comparison {
	c := &Comparison{}
	for _, r := range runs {
		epoch, score := r.best()
		of := Compared{Run: r.Folder, Status: r.Status, Epoch: epoch, Rows: score.Rows, Seconds: r.seconds()}
		of.Rate = finite(r.throughput())
		if of.Rate != nil && *of.Rate == 0 {
			of.Rate = nil
		}
		of.Memory, of.OnGPU = r.memory()
		if score.Rows > 0 {
			of.Metrics = map[string]*float64{}
			for _, name := range append(score.Names()[1:], "loss") {
				of.Metrics[name] = finite(score.Value(name))
				of.names = append(of.names, name)
			}
		}
		if r.Machine != nil {
			of.test, of.train = r.Machine.Test, r.Machine.Train
		}
		c.Runs = append(c.Runs, of)
	}
	c.compareKeys(runs)
	c.warn(runs)
	return c
}

// place is that of a value in a list, at the end of its key.
var place = regexp.MustCompile(`\[\d+\]$`)

// compareKeys finds the keys that differ.
func (c *Comparison) compareKeys(runs []*Run) {
	var names []string
	values := make([]map[string]string, len(runs))
	for i, r := range runs {
		values[i] = map[string]string{}
		for _, k := range r.Keys {
			first, _, _ := strings.Cut(k.Name, ".")
			if slices.Contains([]string{"out", "checkpoint", "stop_after"}, first) {
				continue
			}
			name, value := k.Name, k.Value
			if list := place.ReplaceAllString(name, ""); list != name { // of a list of values one key
				if before, ok := values[i][list]; ok {
					value = before + ", " + value
				}
				name = list
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
			values[i][name] = value
		}
	}
	for _, name := range names {
		d := Difference{Key: name}
		for i := range runs {
			d.Values = append(d.Values, values[i][name])
		}
		if slices.ContainsFunc(d.Values, func(v string) bool { return v != d.Values[0] }) {
			c.Keys = append(c.Keys, d)
		}
	}
}

// warn says what makes the runs incomparable.
func (c *Comparison) warn(runs []*Run) {
	for i, r := range runs {
		switch {
		case r.Status != Finished:
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s is %s", r.Folder, r.Status))
		case c.Runs[i].Rows == 0:
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s was not evaluated", r.Folder))
		}
	}
	differ := func(of func(Compared) DataSet) (others []string, unknown bool) {
		first := of(c.Runs[0])
		for _, r := range c.Runs {
			switch set := of(r); {
			case set.Hash == "" || first.Hash == "":
				unknown = unknown || set.Rows != first.Rows || set.Hash != first.Hash || len(c.Keys) > 0
			case set.Hash != first.Hash:
				others = append(others, r.Run)
			}
		}
		return others, unknown
	}
	if others, unknown := differ(func(r Compared) DataSet { return r.test }); others != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the test data of %s is not that of %s: "+
			"their metrics are not of the same samples", strings.Join(others, ", "), c.Runs[0].Run))
	} else if unknown && len(c.Runs) > 1 {
		c.Warnings = append(c.Warnings, "whether the runs have the same test data is not known: "+
			"not every folder tells which it was")
	}
	if others, _ := differ(func(r Compared) DataSet { return r.train }); others != nil {
		c.Warnings = append(c.Warnings, fmt.Sprintf("the training data of %s is not that of %s",
			strings.Join(others, ", "), c.Runs[0].Run))
	}
}

// bestOf marks the runs with the best value of a metric; none where all have the same, or only one has any.
func (c *Comparison) bestOf(name string) []bool {
	best := metric.Value{Value: math.NaN(), Lower: metric.LowerIsBetter(name)}
	defined, differ := 0, false
	for _, r := range c.Runs {
		if v := r.Metrics[name]; v != nil {
			now := metric.Value{Value: *v, Lower: best.Lower}
			differ = differ || defined > 0 && now.Value != best.Value
			defined++
			if now.Better(best) {
				best = now
			}
		}
	}
	marks := make([]bool, len(c.Runs))
	for i, r := range c.Runs {
		v := r.Metrics[name]
		marks[i] = differ && v != nil && *v == best.Value
	}
	return marks
}

// mostColumns is the number of runs that stand side by side; of more each has a line.
const mostColumns = 6

// String is the comparison as a table for people: a column for each run, first what it came to, then the keys that
// differ. A star stands at the best value of a metric.
func (c *Comparison) String() string {
	rows := c.table()
	if len(c.Runs) > mostColumns {
		rows = turned(rows)
	}
	var b strings.Builder
	b.WriteString(columns.Format(rows))
	for _, w := range c.Warnings {
		fmt.Fprintf(&b, "\nwarning   %s", w)
	}
	if c.Warnings != nil {
		b.WriteByte('\n')
	}
	return b.String()
}

// table has a row for each thing that is compared.
func (c *Comparison) table() (rows [][]string) {
	row := func(name string, of func(Compared) string) {
		cells := []string{name}
		for _, r := range c.Runs {
			cells = append(cells, of(r))
		}
		rows = append(rows, cells)
	}
	row("run", func(r Compared) string { return r.Run })
	if slices.ContainsFunc(c.Runs, func(r Compared) bool { return r.Status != Finished }) {
		row("status", func(r Compared) string { return string(r.Status) })
	}
	var names []string
	for _, r := range c.Runs {
		for _, name := range r.names {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		cells := []string{name}
		marks := c.bestOf(name)
		for i, r := range c.Runs {
			cell := ""
			if v, ok := r.Metrics[name]; ok && v == nil {
				cell = short(math.NaN())
			} else if ok {
				cell = short(*v)
			}
			if marks[i] {
				cell += " *"
			}
			cells = append(cells, cell)
		}
		rows = append(rows, cells)
	}
	row("best epoch", func(r Compared) string {
		if r.Epoch == 0 || r.Rows == 0 {
			return ""
		}
		return fmt.Sprint(r.Epoch)
	})
	row("time", func(r Compared) string { return duration(r.Seconds) })
	row("samples/s", func(r Compared) string {
		if r.Rate == nil {
			return ""
		}
		return short3(*r.Rate)
	})
	row("memory", func(r Compared) string {
		switch {
		case r.Memory == 0:
			return ""
		case r.OnGPU:
			return gigabytes(r.Memory) + " (GPU)"
		}
		return gigabytes(r.Memory)
	})
	if len(c.Keys) > 0 {
		rows = append(rows, nil)
	}
	for _, d := range c.Keys {
		cells := []string{d.Key}
		for _, v := range d.Values {
			if v == "" {
				v = "–"
			}
			cells = append(cells, shortened(strings.ReplaceAll(v, "\n", " "), 48))
		}
		rows = append(rows, cells)
	}
	return rows
}

// turned makes columns of rows.
func turned(rows [][]string) (out [][]string) {
	rows = slices.DeleteFunc(rows, func(row []string) bool { return row == nil })
	for i := range rows[0] {
		var line []string
		for _, row := range rows {
			line = append(line, row[i])
		}
		out = append(out, line)
	}
	return out
}
