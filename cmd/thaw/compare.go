package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/report"
)

type compareCmd struct {
	Runs []string `arg:"" name:"run" help:"Run folders, two or more."`
	JSON bool     `name:"json" help:"Print one JSON object: runs with their metrics, the keys of the specs that differ, warnings."`
}

func (*compareCmd) Help() string {
	return `Shown are the metrics of each run's best epoch, with a star at the best of them, time and memory, and the keys of the specs that are not the same. Runs that were measured on other test data than the first are named in a warning.`
}

func (c *compareCmd) Run(s streams) error {
	if len(c.Runs) < 2 {
		return usageError{"compare: name two run folders or more"}
	}
	var runs []*report.Run
	for _, folder := range c.Runs {
		r, err := report.Read(folder)
		if no, ok := errors.AsType[*report.NoRunError](err); ok {
			return usageError{"compare: " + no.Error()}
		}
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	comparison := report.Compare(runs)
	if c.JSON {
		return json.NewEncoder(s.out).Encode(comparison)
	}
	_, err := fmt.Fprint(s.out, comparison)
	return err
}
