package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
)

// forecast is what thaw plan predicted of a run's seconds.
type forecast struct {
	Prefix   float64 `json:"prefix"`
	Train    float64 `json:"train"`
	Evaluate float64 `json:"evaluate"`
	Total    float64 `json:"seconds"` // of all three
	Took     float64 `json:"took"`    // seconds, of the measurement
}

// askPlan has thaw plan predict what the program would take with these arguments of thaw train.
func askPlan(train []string) (*forecast, error) {
	var out bytes.Buffer
	if _, err := runProcess(&out, program, slices.Concat([]string{"plan", "--json"}, train[1:])...); err != nil {
		return nil, err
	}
	return parseForecast(out.Bytes())
}

func parseForecast(out []byte) (*forecast, error) {
	var f forecast
	if err := json.Unmarshal(out, &f); err != nil {
		return nil, fmt.Errorf("thaw plan printed no forecast: %q: %w", out, err)
	}
	if !(f.Train > 0) || !(f.Total > 0) {
		return nil, errors.New("thaw plan's forecast has no time")
	}
	return &f, nil
}

// beside is a line of the forecast as a multiple of what a run took, phase of work by phase of work.
func (f *forecast) beside(name string, took finetune.Seconds) string {
	ratio := func(predicted, took float64) string {
		if took == 0 {
			return fmt.Sprintf("%.1f of 0 s", predicted)
		}
		return fmt.Sprintf("%.1f of %.1f s, %.2f", predicted, took, predicted/took)
	}
	return fmt.Sprintf("plan %s: frozen stages %s; training %s; evaluation %s; in all %s", name, ratio(f.Prefix, took.Prefix),
		ratio(f.Train, took.Train), ratio(f.Evaluate, took.Evaluate), ratio(f.Total, took.Prefix+took.Train+took.Evaluate))
}
