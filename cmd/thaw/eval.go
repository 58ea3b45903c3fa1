package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
)

type evalCmd struct {
	Run_ string `arg:"" name:"run" help:"A run folder." type:"existingdir"`
	Data string `help:"A file of labelled texts with the run's columns, in place of the run's own test rows." type:"path"`
	JSON bool   `name:"json" help:"Print one JSON object."`
}

func (c *evalCmd) Run(ctx context.Context, s streams) error {
	model, data, err := text.OpenRun(c.Run_, c.Data)
	if err != nil {
		return err
	}
	defer model.Close()
	m, err := finetune.Evaluate(ctx, model, data, 64, nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(s.out).Encode(m)
	}
	fmt.Fprintf(s.out, "rows      %d\naccuracy  %.4f\nmacro F1  %.4f\nloss      %.4f\n\n", m.Rows, m.Accuracy, m.MacroF1, m.Loss)
	fmt.Fprint(s.out, m.Table(data.Classes()))
	return nil
}
