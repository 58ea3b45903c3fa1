package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/text"
)

type predictCmd struct {
	Run_    string   `arg:"" optional:"" name:"run" help:"A run folder; leave it out with --model."`
	Texts   []string `arg:"" optional:"" help:"Texts; without any, lines are read from the standard input."`
	Model   string   `help:"A model's folder (config.json, tokenizer) in place of a run." type:"existingdir"`
	Weights string   `help:"A weights file to read with --model." type:"existingfile"`
	JSON    bool     `name:"json" help:"One JSON object a line: input, label, scores, logits."`
	Batch   int      `help:"Texts that go through the model together." default:"32"`
}

func (c *predictCmd) Run(ctx context.Context, s streams) error {
	texts := c.Texts
	if c.Model != "" && c.Run_ != "" {
		texts = append([]string{c.Run_}, texts...) // no run is named, so the first argument is a text
	}
	if c.Model == "" && c.Run_ == "" {
		return usageError{"predict: give a run folder, or --model FOLDER"}
	}
	if c.Weights != "" && c.Model == "" {
		return usageError{"predict: --weights goes with --model"}
	}
	if c.Batch < 1 {
		return usageError{fmt.Sprintf("predict: --batch %d: give 1 or more", c.Batch)}
	}
	folder := c.Model
	if folder == "" {
		folder = text.RunWeights(c.Run_)
	}
	model, err := text.OpenClassifier(folder, c.Weights)
	if err != nil {
		return err
	}
	defer model.Close()
	p := &printer{s: s, json: c.JSON}
	if len(texts) > 0 {
		return p.predict(model, texts, c.Batch)
	}
	return p.predictLines(ctx, model, c.Batch)
}

// printer writes predictions.
type printer struct {
	s    streams
	json bool
}

// predictLines classifies the lines of the standard input, a batch at a time.
func (p *printer) predictLines(ctx context.Context, model *text.Classifier, size int) error {
	lines := bufio.NewReader(p.s.in)
	for ctx.Err() == nil {
		var batch []string
		for len(batch) < size {
			line, err := lines.ReadString('\n')
			if line != "" {
				batch = append(batch, strings.TrimRight(line, "\r\n"))
			}
			if err != nil {
				return p.predict(model, batch, size)
			}
		}
		if err := p.predict(model, batch, size); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (p *printer) predict(model *text.Classifier, texts []string, size int) error {
	predictions, err := model.Predict(texts, size)
	if err != nil {
		return err
	}
	for _, r := range predictions {
		if !p.json {
			fmt.Fprintf(p.s.out, "%s  %.3f  %s\n", r.Label, r.Scores[r.Label], r.Input)
			continue
		}
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.s.out, "%s\n", line)
	}
	return nil
}
