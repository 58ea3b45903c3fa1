package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/vision"
)

type evalCmd struct {
	Run_ string `arg:"" name:"run" help:"A run folder."`
	Data string `help:"Labelled texts with the run's columns, or pictures, in place of the run's own test data." type:"path" placeholder:"PATH"`
	JSON bool   `name:"json" help:"Print one JSON object: loss, accuracy, macro_f1, rows, confusion."`
}

func (c *evalCmd) Run(ctx context.Context, s streams) error {
	if err := checkRun("eval", c.Run_); err != nil {
		return err
	}
	if c.Data != "" {
		if _, err := os.Stat(c.Data); err != nil {
			return usageError{fmt.Sprintf("eval: --data: %v", err)}
		}
	}
	m, classes, err := c.measure(ctx)
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
func (c *evalCmd) measure(ctx context.Context) (finetune.Metrics, []string, error) {
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
		m, err := finetune.Evaluate(ctx, model, data, 64, nil)
		return m, data.Classes(), err
	}
	model, data, err := text.OpenRun(c.Run_, c.Data)
	if err != nil {
		return finetune.Metrics{}, nil, err
	}
	defer model.Close()
	m, err := finetune.Evaluate(ctx, model, data, 64, nil)
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
