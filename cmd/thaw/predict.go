package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/recipe"
)

type predictCmd struct {
	Run_    *string  `arg:"" optional:"" name:"run" help:"A run folder; leave it out with --model."`
	Inputs  []string `arg:"" optional:"" help:"Texts, or image files; without any, texts or paths are read from the standard input, one a line."`
	Model   string   `help:"In place of a run: a text classifier's folder (config.json, tokenizer, weights); or for images a checkpoint file, a folder, or the name of a model that was downloaded." placeholder:"MODEL"`
	Weights string   `help:"A weights file in place of the one of --model." type:"path" placeholder:"FILE"`
	JSONL   bool     `name:"jsonl" help:"Inputs are JSON objects, one a line, with the keys text and, for pairs, pair; for images text is the path."`
	JSON    bool     `name:"json" help:"Print one JSON object a line: input, label, class, score, top (the five best), scores (of at most 50 classes) and logits; labels where several may hold, value of a regression."`
	Batch   *int     `help:"Inputs that go through the model together (64); 4 of a detector's, unless given." placeholder:"64"`
	Draw    string   `help:"Of a detector: the folder to leave the pictures in, with the boxes that were found." type:"path" placeholder:"FOLDER"`

	MinScore float64 `help:"Of a detector: leave out boxes with a lower score." placeholder:"SCORE"`
	where    `embed:""`
}

func (*predictCmd) Help() string {
	return `Each input gives a line: the label, its score, the input. A detector gives a line for each box: the class, the score, the left, upper, right and lower edge in pixels, the picture; with --json a line for each picture with its boxes. A model of pairs takes two texts with a tab between them, or --jsonl. A text that begins with a dash goes behind --, as in thaw predict RUN -- "-1 out of 10".`
}

func (c *predictCmd) Run(ctx context.Context, s streams) error {
	given := c.Inputs
	switch {
	case c.Model != "" && c.Run_ != nil:
		given = append([]string{*c.Run_}, given...) // no run is named, so the first argument is an input
	case c.Model == "" && c.Weights != "":
		return usageError{"predict: --weights goes with --model"}
	case c.Model == "" && c.Run_ == nil:
		return usageError{"predict: give a run folder, or --model MODEL"}
	}
	if c.Batch != nil && *c.Batch < 1 {
		return usageError{fmt.Sprintf("predict: --batch %d: give 1 or more", *c.Batch)}
	}
	if c.Weights != "" {
		if info, err := os.Stat(c.Weights); err != nil {
			return usageError{"predict: --weights: " + unreadable("file", c.Weights, err)}
		} else if info.IsDir() {
			return usageError{fmt.Sprintf("predict: --weights: %s is a folder; expected a file", c.Weights)}
		}
	}
	model, err := c.open()
	if err != nil {
		return err
	}
	defer model.Close()
	if err := model.Use(c.Device, c.Precision); err != nil {
		return c.wrong("predict", err)
	}
	s.warnOfCPU(c.Device)
	if f := finder(model); f != nil {
		return c.find(ctx, s, f, given)
	}
	if c.Draw != "" || c.MinScore != 0 {
		return usageError{"predict: --draw and --min-score are for detectors, which find boxes"}
	}
	p := predicting{model: model, cmd: c, out: s}
	together := model.Together() * min(c.batch(finetune.DefaultPredictBatch), 1024)
	return inputs(ctx, s, given, together, p.print)
}

// batch is how many inputs go through the model together, where --batch does not say so many.
func (c *predictCmd) batch(otherwise int) int {
	if c.Batch == nil {
		return otherwise
	}
	return *c.Batch
}

// inputs calls each with the arguments that were given, or else with the lines of the standard input, some at a time: what is
// known is printed, whatever comes. kind is what one of them is.
func inputs(ctx context.Context, s streams, given []string, together int, each func(ctx context.Context, some []string, kind string) error) error {
	if len(given) > 0 {
		for some := range slices.Chunk(given, together) {
			if err := each(ctx, some, "argument"); err != nil {
				return err
			}
		}
		return nil
	}
	for some, err := range lines(ctx, s, together) {
		if err == nil {
			err = each(ctx, some, "line")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// open loads the model that is asked for.
func (c *predictCmd) open() (recipe.Model, error) {
	if c.Model == "" {
		run, err := recipe.OpenRun(*c.Run_)
		if err != nil {
			return nil, c.wrong("predict", err)
		}
		return run, nil
	}
	if recipe.IsRun(c.Model) {
		return nil, usageError{fmt.Sprintf("predict: --model %s is a run folder: thaw predict %[1]s", c.Model)}
	}
	model, err := recipe.OpenModel(c.Model, c.Weights)
	if err != nil {
		return nil, c.wrong("predict: --model", err)
	}
	return model, nil
}

// predicting is a model at work on the lines, or arguments, that come in.
type predicting struct {
	model recipe.Model
	cmd   *predictCmd
	out   streams
	done  int // lines so far
}

// print predicts lines and prints a line for each. What goes wrong at one leaves those before it printed.
func (p *predicting) print(ctx context.Context, some []string, kind string) error {
	inputs := make([]recipe.Input, 0, len(some))
	var wrong error
	for i, line := range some {
		in, err := p.parse(line)
		if err != nil {
			wrong = fmt.Errorf("predict: %s %d: %w", kind, p.done+i+1, err)
			break
		}
		inputs = append(inputs, in)
	}
	p.done += len(some)
	found, failure := p.model.Predict(ctx, inputs, finetune.PredictOptions{BatchSize: p.cmd.batch(0)})
	var out []byte
	for _, r := range found {
		line, err := p.render(r)
		if err != nil {
			return err
		}
		out = append(out, line...)
	}
	if len(out) > 0 {
		if _, err := p.out.out.Write(out); err != nil {
			return err
		}
	}
	if failure != nil {
		return failure
	}
	return wrong
}

// parse reads an input.
func (p *predicting) parse(line string) (in recipe.Input, err error) {
	if p.cmd.JSONL {
		return p.parseJSON(line)
	}
	if !p.model.Pairs() {
		return recipe.Input{Text: line}, nil
	}
	parts := strings.Split(line, "\t")
	switch {
	case len(parts) == 1:
		return in, fmt.Errorf("this model takes two texts with a tab between them, found one")
	case len(parts) > 2:
		return in, fmt.Errorf("this model takes two texts with a tab between them, found %d: texts with tabs go in with --jsonl", len(parts))
	}
	return recipe.Input{Text: parts[0], Pair: parts[1]}, nil
}

// parseJSON reads an input that is a JSON object.
func (p *predicting) parseJSON(line string) (in recipe.Input, err error) {
	var object struct{ Text, Pair *string }
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		return in, fmt.Errorf("--jsonl expects a JSON object such as %s: %w", p.example(), err)
	}
	switch {
	case object.Text == nil:
		return in, fmt.Errorf("there is no key text; expected %s", p.example())
	case p.model.Pairs() && object.Pair == nil:
		return in, fmt.Errorf("there is no key pair, and this model takes two texts: expected %s", p.example())
	case !p.model.Pairs() && object.Pair != nil:
		return in, fmt.Errorf("there is a key pair, and this model takes one input: expected %s", p.example())
	}
	in.Text = *object.Text
	if object.Pair != nil {
		in.Pair = *object.Pair
	}
	return in, nil
}

func (p *predicting) example() string {
	if p.model.Pairs() {
		return `{"text": "...", "pair": "..."}`
	}
	return `{"text": "..."}`
}

// render is the line of a prediction.
func (p *predicting) render(r recipe.Prediction) ([]byte, error) {
	if p.cmd.JSON {
		return jsonLine(r)
	}
	input := recipe.Input{Text: r.Input, Pair: r.Pair}.String()
	switch {
	case r.Value != nil:
		return []byte(plain(nil, fmt.Sprintf("%.4f", *r.Value), "", input)), nil
	case r.Labels != nil:
		return []byte(plain(nil, cmp.Or(strings.Join(r.Labels, ","), "-"), "", input)), nil
	}
	return []byte(plain(p.model.Labels(), r.Label, fmt.Sprintf("%.3f", r.Score), input)), nil
}

// plain is a prediction for people, on one line whatever the input holds.
func plain(classes []string, label, score, input string) string {
	width := 0
	for _, c := range classes {
		width = max(width, min(utf8.RuneCountInString(c), 32))
	}
	input = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, input)
	if score != "" {
		score += "  "
	}
	return fmt.Sprintf("%-*s  %s%s\n", width, label, score, input)
}

// jsonLine writes v as JSON, with <, > and & as they are.
func jsonLine(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
