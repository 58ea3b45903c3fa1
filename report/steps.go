package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// Step is a row of steps.csv: the steps since the row before.
type Step struct {
	Step      int     // the last of them, counted from 1 over all phases
	Phase     int     // counted from 1
	Epoch     int     // counted from 1 over all phases
	Samples   int     // of the epoch so far, as far as their loss is known
	Loss      float64 // the mean over the samples since the row before
	EpochLoss float64 // the mean over Samples
	LR        float64 // of the head, at the last step
	Rate      float64 // samples a second; 0 where it was not measured
	Memory    int64   // bytes that the process holds, or that it takes of the GPU; 0 where it was not measured
	Time      time.Time
}

var stepHeader = []string{
	"step", "phase", "epoch", "samples", "loss", "epoch_loss", "lr", "samples_per_second", "memory_bytes", "time",
}

func (s Step) fields() []string {
	number := func(x float64) string {
		if math.IsNaN(x) || x == 0 {
			return ""
		}
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	memory := ""
	if s.Memory > 0 {
		memory = strconv.FormatInt(s.Memory, 10)
	}
	return []string{
		strconv.Itoa(s.Step), strconv.Itoa(s.Phase), strconv.Itoa(s.Epoch), strconv.Itoa(s.Samples), exact(s.Loss), exact(s.EpochLoss),
		exact(s.LR), number(math.Round(s.Rate*10) / 10), memory, s.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
	}
}

// exact writes a number so that it reads back the same.
func exact(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }

// stepLog writes steps.csv, each row at once: a process that is killed loses none.
type stepLog struct {
	file *os.File
	last Step
}

// openSteps makes the file anew with the rows that are kept, and writes behind them from then on.
func openSteps(path string, rows []Step) (*stepLog, error) {
	err := atomicfile.Write(path, func(w io.Writer) error {
		c := csv.NewWriter(w)
		c.Write(stepHeader)
		for _, row := range rows {
			c.Write(row.fields())
		}
		c.Flush()
		return c.Error()
	})
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	l := &stepLog{file: file}
	if len(rows) > 0 {
		l.last = rows[len(rows)-1]
	}
	return l, nil
}

// measure fills in Loss: the part of the epoch's loss that is not in earlier rows. It reports whether there is any.
func (l *stepLog) measure(row *Step) bool {
	samples, sum := row.Samples, float64(row.Samples)*row.EpochLoss
	if l.last.Epoch == row.Epoch {
		samples, sum = samples-l.last.Samples, sum-float64(l.last.Samples)*l.last.EpochLoss
	}
	if samples <= 0 {
		return false
	}
	row.Loss = sum / float64(samples)
	return true
}

func (l *stepLog) write(row Step) error {
	l.last = row
	line := ""
	for i, field := range row.fields() { // none needs quotes
		if i > 0 {
			line += ","
		}
		line += field
	}
	_, err := l.file.WriteString(line + "\n")
	return err
}

func (l *stepLog) close() { l.file.Close() }

// readSteps reads steps.csv; none where it is not there. A last row that was cut short is left out.
func readSteps(path string) ([]Step, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	table, err := readTable(file, path)
	if err != nil {
		return nil, err
	}
	if table.header == nil {
		return nil, nil
	}
	for _, name := range []string{"step", "epoch", "loss", "lr"} {
		if !table.has(name) {
			return nil, fmt.Errorf("%s has no column %q", path, name)
		}
	}
	var rows []Step
	for i := range table.rows {
		row := Step{
			Step: int(table.number(i, "step")), Phase: int(table.number(i, "phase")), Epoch: int(table.number(i, "epoch")),
			Samples: int(table.number(i, "samples")), Loss: table.number(i, "loss"), EpochLoss: table.number(i, "epoch_loss"),
			LR: table.number(i, "lr"), Rate: orZero(table.number(i, "samples_per_second")),
			Memory: int64(orZero(table.number(i, "memory_bytes"))),
		}
		row.Time, _ = time.Parse(time.RFC3339, table.cell(i, "time"))
		if row.Step <= 0 || row.Time.IsZero() || len(rows) > 0 && row.Step <= rows[len(rows)-1].Step {
			continue
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func orZero(x float64) float64 {
	if math.IsNaN(x) {
		return 0
	}
	return x
}

// table is a CSV file with a header.
type table struct {
	header []string
	rows   [][]string
	column map[string]int
}

func readTable(r io.Reader, path string) (*table, error) {
	c := csv.NewReader(r)
	c.FieldsPerRecord = -1
	t := &table{column: map[string]int{}}
	header, err := c.Read()
	if errors.Is(err, io.EOF) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.header = header
	for i, name := range header {
		t.column[name] = i
	}
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(row) == len(header) {
			t.rows = append(t.rows, row)
		}
	}
}

func (t *table) has(name string) bool {
	_, ok := t.column[name]
	return ok
}

func (t *table) cell(row int, name string) string {
	if i, ok := t.column[name]; ok {
		return t.rows[row][i]
	}
	return ""
}

// number is a cell as a number; NaN where it is empty or none.
func (t *table) number(row int, name string) float64 {
	x, err := strconv.ParseFloat(t.cell(row, name), 64)
	if err != nil {
		return math.NaN()
	}
	return x
}
