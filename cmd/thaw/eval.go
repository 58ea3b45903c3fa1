package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/vision"
)

type evalCmd struct {
	Run_  string `arg:"" name:"run" help:"A run folder."`
	Data  string `help:"Labelled texts with the run's columns, or pictures, in place of the run's own test data." type:"path" placeholder:"PATH"`
	JSON  bool   `name:"json" help:"Print one JSON object: loss, accuracy, macro_f1, rows, confusion."`
	where `embed:""`
}

// where are the flags for where a trained model runs.
type where struct {
	Device    string `help:"cpu, cuda or cuda:N; by default the first GPU where there is one." default:"auto"`
	Precision string `help:"float32 or bfloat16; by default bfloat16 on a GPU that has it." default:"auto"`
}

// wrong is an error of usage where a flag says what it cannot.
func (where) wrong(verb string, err error) error {
	if errors.As(err, new(*finetune.SpecError)) {
		return usageError{verb + ": --" + err.Error()}
	}
	return err
}

func (c *evalCmd) Run(ctx context.Context, s streams) error {
	if err := checkRun("eval", c.Run_); err != nil {
		return err
	}
	if c.Data != "" {
		if _, err := os.Stat(c.Data); err != nil {
			return usageError{"eval: --data: " + unreadable("file or folder", c.Data, err)}
		}
	}
	m, classes, err := c.measure(ctx, s)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(m)
	}
	_, err = fmt.Fprintf(s.out, "rows      %d\naccuracy  %.4f\nmacro F1  %.4f\nloss      %.4f\n\n%s",
		m.Rows, m.Accuracy, m.MacroF1, m.Loss, m.Table(classes))
	return err
}

// measure gives the metrics, and the names of the classes.
func (c *evalCmd) measure(ctx context.Context, s streams) (finetune.Metrics, []string, error) {
	spec, err := finetune.ReadSpec(filepath.Join(c.Run_, "spec.yaml"))
	if err != nil {
		return finetune.Metrics{}, nil, fmt.Errorf("%s is no run folder: %w", c.Run_, err)
	}
	if spec.OfPictures() {
		model, data, err := vision.OpenRun(c.Run_, &spec, c.Data)
		if err != nil {
			return finetune.Metrics{}, nil, err
		}
		defer model.Close()
		return evaluate(ctx, s, c.where, model, data)
	}
	model, data, err := text.OpenRun(c.Run_, c.Data)
	if err != nil {
		return finetune.Metrics{}, nil, err
	}
	defer model.Close()
	return evaluate(ctx, s, c.where, model, data)
}

func evaluate[B finetune.Samples[B]](ctx context.Context, s streams, w where, model finetune.Model[B], data finetune.Dataset[B]) (m finetune.Metrics, classes []string, err error) {
	n, err := finetune.NewInference(model, w.Device, w.Precision)
	if err != nil {
		return m, nil, w.wrong("eval", err)
	}
	defer n.Close()
	s.warnOfCPU(w.Device)
	m, err = n.Evaluate(ctx, data, 64, nil)
	return m, data.Classes(), err
}

// checkRun refuses what is no run folder.
func checkRun(verb, folder string) error {
	if _, err := os.Stat(folder); err != nil {
		return usageError{fmt.Sprintf("%s: there is no run folder %q", verb, folder)}
	}
	for _, name := range []string{"spec.yaml", filepath.Base(text.RunWeights(folder))} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			return usageError{fmt.Sprintf("%s: %q is no run folder: it has no %s", verb, folder, name)}
		}
	}
	return nil
}
