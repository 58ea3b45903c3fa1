package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/text"
)

type predictCmd struct {
	Run_    *string  `arg:"" optional:"" name:"run" help:"A run folder; leave it out with --model."`
	Texts   []string `arg:"" optional:"" help:"Texts; without any, lines are read from the standard input."`
	Model   string   `help:"A classifier's folder (config.json, tokenizer, weights) in place of a run." type:"existingdir" placeholder:"FOLDER"`
	Weights string   `help:"A weights file in place of the one in --model." type:"existingfile" placeholder:"FILE"`
	JSON    bool     `name:"json" help:"Print one JSON object a line: input, label, scores, logits."`
	Batch   int      `help:"Texts that go through the model together (${default})." default:"32"`
}

func (*predictCmd) Help() string {
	return `Each text gives a line: the label, its score, the text. A text that begins with a dash goes behind --, as in thaw predict RUN -- "-1 out of 10".`
}

func (c *predictCmd) Run(ctx context.Context, s streams) error {
	texts := c.Texts
	switch {
	case c.Model != "" && c.Run_ != nil:
		texts = append([]string{*c.Run_}, texts...) // no run is named, so the first argument is a text
	case c.Model == "" && c.Weights != "":
		return usageError{"predict: --weights goes with --model"}
	case c.Model == "" && c.Run_ == nil:
		return usageError{"predict: give a run folder, or --model FOLDER"}
	}
	if c.Batch < 1 {
		return usageError{fmt.Sprintf("predict: --batch %d: give 1 or more", c.Batch)}
	}
	folder := c.Model
	if folder != "" && checkRun("predict", folder) == nil {
		return usageError{fmt.Sprintf("predict: --model %s is a run folder: thaw predict %[1]s", folder)}
	}
	if folder == "" {
		if err := checkRun("predict", *c.Run_); err != nil {
			return err
		}
		folder = text.RunWeights(*c.Run_)
	}
	model, err := text.OpenClassifier(folder, c.Weights)
	if err != nil {
		return err
	}
	defer model.Close()
	p := &printer{s: s, model: model, json: c.JSON}
	if len(texts) > 0 {
		return p.predict(texts, c.Batch)
	}
	for batch, err := range lines(ctx, s, c.Batch) {
		if err == nil {
			err = p.predict(batch, c.Batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printer writes predictions.
type printer struct {
	s     streams
	model *text.Classifier
	json  bool
}

func (p *printer) predict(texts []string, size int) error {
	predictions, err := p.model.Predict(texts, size)
	if err != nil {
		return err
	}
	for _, r := range predictions {
		line := []byte(p.plain(r))
		if p.json {
			if line, err = jsonLine(r); err != nil {
				return err
			}
		}
		if _, err := p.s.out.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// plain is a prediction for people, on one line whatever the text holds.
func (p *printer) plain(r text.Prediction) string {
	width := 0
	for _, c := range p.model.Classes {
		width = max(width, utf8.RuneCountInString(c))
	}
	input := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, r.Input)
	return fmt.Sprintf("%-*s  %.3f  %s\n", width, r.Label, r.Scores[r.Label], input)
}

// jsonLine writes v as JSON, with <, > and & as they are.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
