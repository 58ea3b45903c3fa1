package main

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/report"
)

type reportCmd struct {
	Run_ string `arg:"" name:"run" help:"A run folder."`
}

func (*reportCmd) Help() string {
	return `report.html, curves.png and confusion.png are made anew of the records in the run folder, also of a run that still goes on, failed or was killed; the path of report.html is printed. A run that ends makes them by itself.

docs/guide/report.md explains them, and how TensorBoard shows a run.`
}

func (c *reportCmd) Run(s streams) error {
	path, err := report.Write(c.Run_)
	if no, ok := errors.AsType[*report.NoRunError](err); ok {
		return usageError{"report: " + no.Error()}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, path)
	return err
}
