package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/recipe"
)

type evalCmd struct {
	Run_    string            `arg:"" name:"run" help:"A run folder."`
	Data    string            `help:"Labelled texts with the run's columns, or images, in place of the run's own test data." type:"path" placeholder:"PATH"`
	Columns map[string]string `help:"Columns of --data in place of the run's, as in text=review,label=stars; the names are text, pair, image and label." mapsep:"," placeholder:"NAME=COLUMN,..."`
	Batch   *int              `help:"Samples that go through the model together (64); 4 of a detector's, unless given." placeholder:"64"`

	Detections string `help:"Of a detector: a file to write what it finds to, in COCO's result format." type:"path" placeholder:"FILE"`

	JSON  bool `name:"json" help:"Print one JSON object: the loss, the metrics by name, rows, and for classes their counts."`
	where `embed:""`
}

func (*evalCmd) Help() string {
	return `A run that a Go program left has no spec.yaml: it needs --data and, where that is a table, --columns.`
}

// where are the flags for where a trained model runs.
type where struct {
	Device    string `help:"cpu, cuda or cuda:N; by default the first GPU where there is one." default:"auto"`
	Precision string `help:"float32, bfloat16 or float16; by default bfloat16 on a GPU that has it." default:"auto"`
}

// wrong is an error of usage where a flag says what it cannot, or names what is not there.
func (where) wrong(verb string, err error) error {
	if _, ok := errors.AsType[*recipe.OpenError](err); ok {
		return usageError{fmt.Sprintf("%s: %v", verb, err)}
	}
	fault, ok := errors.AsType[*recipe.SpecError](err)
	if ok && fault.File == "" && (fault.Key == "device" || fault.Key == "precision") {
		return usageError{fmt.Sprintf("%s: --%v", verb, err)}
	}
	return err
}

func (c *evalCmd) Run(ctx context.Context, s streams) error {
	if c.Data != "" {
		if _, err := os.Stat(c.Data); err != nil {
			return usageError{"eval: --data: " + unreadable("file or folder", c.Data, err)}
		}
	}
	o := recipe.EvalOptions{Data: c.Data, Device: c.Device, Precision: c.Precision, Detections: c.Detections}
	if c.Batch != nil {
		if o.Batch = *c.Batch; o.Batch < 1 {
			return usageError{fmt.Sprintf("eval: --batch %d: give 1 or more", o.Batch)}
		}
	}
	var err error
	if o.Columns, err = c.columns(); err != nil {
		return err
	}
	run, err := recipe.OpenRun(c.Run_)
	if err != nil {
		return c.wrong("eval", err)
	}
	defer run.Close()
	s.warnOfCPU(c.Device)
	m, err := run.Evaluate(ctx, o)
	if err != nil {
		return c.wrong("eval", err)
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(m)
	}
	fmt.Fprintf(s.out, "%-15s  %d\n", "rows", m.Rows)
	for _, v := range m.Values {
		fmt.Fprintf(s.out, "%-15s  %.4f\n", v.Name, v.Value)
	}
	_, err = fmt.Fprintf(s.out, "%-15s  %.4f\n", "loss", m.Loss)
	if len(m.ByClass) > 0 {
		_, err = fmt.Fprintf(s.out, "\n%s", byClass(m.ByClass))
	}
	if m.Classes != nil {
		_, err = fmt.Fprintf(s.out, "\n%s", m.Classes)
	}
	return err
}

// byClass is a table of the first metrics of each class.
func byClass(classes []metric.ClassValues) string {
	var b strings.Builder
	width := len("class")
	for _, c := range classes {
		width = max(width, min(utf8.RuneCountInString(c.Class), 32))
	}
	shown := classes[0].Values[:min(len(classes[0].Values), 6)]
	fmt.Fprintf(&b, "%-*s  %7s", width, "class", "count")
	for _, v := range shown {
		fmt.Fprintf(&b, "  %9s", v.Name)
	}
	b.WriteByte('\n')
	for _, c := range classes {
		fmt.Fprintf(&b, "%-*s  %7d", width, c.Class, c.Count)
		for _, v := range c.Values[:len(shown)] {
			fmt.Fprintf(&b, "  %9.4f", v.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// columns are those that --columns names.
func (c *evalCmd) columns() (columns recipe.Columns, err error) {
	if len(c.Columns) > 0 && c.Data == "" {
		return columns, usageError{"eval: --columns goes with --data"}
	}
	fields := map[string]*string{"text": &columns.Text, "pair": &columns.Pair, "image": &columns.Image, "label": &columns.Label}
	for name, column := range c.Columns {
		field, ok := fields[name]
		if !ok {
			return columns, usageError{fmt.Sprintf("eval: --columns: %q is none of text, pair, image and label", name)}
		}
		if column == "" {
			return columns, usageError{fmt.Sprintf("eval: --columns: %s is given no column", name)}
		}
		*field = column
	}
	return columns, nil
}
