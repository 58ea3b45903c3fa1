package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/text"
)

type predictCmd struct {
	Run_    *string  `arg:"" optional:"" name:"run" help:"A run folder; leave it out with --model."`
	Inputs  []string `arg:"" optional:"" help:"Texts, or files of pictures; without any, texts or paths are read from the standard input, one a line."`
	Model   string   `help:"In place of a run: a text classifier's folder (config.json, tokenizer, weights); or for pictures a checkpoint file, a folder, or the name of a model that was downloaded." placeholder:"MODEL"`
	Weights string   `help:"A weights file in place of the one of --model." type:"path" placeholder:"FILE"`
	JSON    bool     `name:"json" help:"Print one JSON object a line: input, label, scores (of pictures the five best), logits."`
	Batch   int      `help:"Inputs that go through the model together (${default})." default:"32"`
	where   `embed:""`
}

func (*predictCmd) Help() string {
	return `Each input gives a line: the label, its score, the input. A text that begins with a dash goes behind --, as in thaw predict RUN -- "-1 out of 10".`
}

// predictor classifies inputs and gives a line for each; beside an error, those of the inputs before the one at fault.
type predictor interface {
	Use(device, precision string) error
	Predict(ctx context.Context, inputs []string, asJSON bool, batch int) ([]byte, error)
	Close()
}

func (c *predictCmd) Run(ctx context.Context, s streams) error {
	inputs := c.Inputs
	switch {
	case c.Model != "" && c.Run_ != nil:
		inputs = append([]string{*c.Run_}, inputs...) // no run is named, so the first argument is an input
	case c.Model == "" && c.Weights != "":
		return usageError{"predict: --weights goes with --model"}
	case c.Model == "" && c.Run_ == nil:
		return usageError{"predict: give a run folder, or --model MODEL"}
	}
	if c.Batch < 1 {
		return usageError{fmt.Sprintf("predict: --batch %d: give 1 or more", c.Batch)}
	}
	if c.Weights != "" {
		if info, err := os.Stat(c.Weights); err != nil {
			return usageError{"predict: --weights: " + unreadable("file", c.Weights, err)}
		} else if info.IsDir() {
			return usageError{fmt.Sprintf("predict: --weights: %s is a folder; expected a file", c.Weights)}
		}
	}
	p, err := c.open()
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Use(c.Device, c.Precision); err != nil {
		return c.wrong("predict", err)
	}
	s.warnOfCPU(c.Device)
	predict := func(inputs []string) error {
		for some := range slices.Chunk(inputs, 8*min(c.Batch, 1024)) { // what is known is printed, whatever comes
			lines, failure := p.Predict(ctx, some, c.JSON, c.Batch)
			if len(lines) > 0 {
				if _, err := s.out.Write(lines); err != nil {
					return err
				}
			}
			if failure != nil {
				return failure
			}
		}
		return nil
	}
	if len(inputs) > 0 {
		return predict(inputs)
	}
	for batch, err := range lines(ctx, s, c.Batch) {
		if err == nil {
			err = predict(batch)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open loads the model that is asked for.
func (c *predictCmd) open() (predictor, error) {
	if c.Model == "" {
		if err := checkRun("predict", *c.Run_); err != nil {
			return nil, err
		}
		spec, err := finetune.ReadSpec(filepath.Join(*c.Run_, "spec.yaml"))
		if err != nil {
			return nil, fmt.Errorf("%s is no run folder: %w", *c.Run_, err)
		}
		folder := text.RunWeights(*c.Run_)
		if spec.OfPictures() {
			return openPictureRun(folder)
		}
		return openTexts(folder, "")
	}
	if checkRun("predict", c.Model) == nil {
		return nil, usageError{fmt.Sprintf("predict: --model %s is a run folder: thaw predict %[1]s", c.Model)}
	}
	info, err := os.Stat(c.Model)
	if err == nil && info.IsDir() {
		if _, err := text.ReadConfig(filepath.Join(c.Model, "config.json")); err == nil {
			return openTexts(c.Model, c.Weights)
		} else if !isPictureConfig(c.Model) {
			return nil, err
		}
	}
	if errors.Is(err, os.ErrNotExist) && c.Weights == "" {
		m, err := hub.Find(c.Model)
		if err == nil && m.FineTunable() != nil {
			return nil, usageError{fmt.Sprintf("predict: --model: %v", m.FineTunable())}
		}
		if err == nil && m.Kind == hub.TextEncoder {
			return nil, usageError{fmt.Sprintf("predict: %s is an encoder without a head: fine-tune it first (thaw train)", c.Model)}
		}
		if _, err := hub.Local(c.Model); err != nil {
			return nil, usageError{fmt.Sprintf("predict: --model: there is no file or folder %s, and %v", c.Model, err)}
		}
	}
	return openPictures(c.Model, c.Weights)
}

// isPictureConfig reports whether a folder's config.json, if there is one, is that of a network for pictures.
func isPictureConfig(folder string) bool {
	data, err := os.ReadFile(filepath.Join(folder, "config.json"))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	var config struct {
		ModelType string `json:"model_type"`
	}
	return json.Unmarshal(data, &config) == nil && config.ModelType == "resnet"
}

// jsonLine writes v as JSON, with <, > and & as they are.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
