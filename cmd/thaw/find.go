package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/vision/detection"
)

// finder is the detector in a model, nil where it is none.
func finder(model recipe.Model) recipe.Finder {
	if run, ok := model.(*recipe.Run); ok {
		model = run.Model
	}
	f, _ := model.(recipe.Finder)
	return f
}

// find prints what a detector finds in pictures, and draws it where that is asked for.
func (c *predictCmd) find(ctx context.Context, s streams, f recipe.Finder, given []string) error {
	if c.JSONL {
		return usageError{"predict: --jsonl is for texts; a detector takes the paths of pictures"}
	}
	if c.MinScore < 0 || c.MinScore >= 1 {
		return usageError{fmt.Sprintf("predict: --min-score %v: give 0 or more, below 1", c.MinScore)}
	}
	drawn, err := newDrawings(c.Draw)
	if err != nil {
		return err
	}
	size := c.batch(detection.DefaultPredictBatch)
	return inputs(ctx, s, given, size, func(ctx context.Context, paths []string, _ string) error {
		found, failure := f.Find(ctx, paths, finetune.PredictOptions{BatchSize: size})
		for _, p := range found {
			p.Detections = slices.DeleteFunc(p.Detections, func(d detection.Detection) bool { return float64(d.Score) < c.MinScore })
			line, err := c.found(f, p)
			if err == nil {
				_, err = s.out.Write(line)
			}
			if err == nil {
				err = drawn.draw(f, p)
			}
			if err != nil {
				return err
			}
		}
		return failure
	})
}

// foundBox is a detection as --json prints it.
type foundBox struct {
	Class string     `json:"class"`
	Label int        `json:"label"`
	Score float32    `json:"score"`
	Box   [4]float32 `json:"box"` // x1, y1, x2, y2 in pixels
}

// found is the lines of a picture: one for each detection, the best first, or one that says that there is none.
func (c *predictCmd) found(f recipe.Finder, p detection.Prediction) ([]byte, error) {
	boxes := make([]foundBox, 0, len(p.Detections))
	width := 1
	for _, d := range p.Detections {
		class := f.ClassOf(d.Label)
		boxes = append(boxes, foundBox{class, d.Label, d.Score, [4]float32{d.X1, d.Y1, d.X2, d.Y2}})
		width = max(width, min(len([]rune(class)), 32))
	}
	if c.JSON {
		return jsonLine(struct {
			Input  string     `json:"input"`
			Width  int        `json:"width"`
			Height int        `json:"height"`
			Boxes  []foundBox `json:"boxes"`
		}{p.Input, p.Width, p.Height, boxes})
	}
	if len(boxes) == 0 {
		return []byte(plain(nil, "-", "", p.Input)), nil
	}
	var out []byte
	for _, b := range boxes {
		place := fmt.Sprintf("%.3f  %7.1f %7.1f %7.1f %7.1f", b.Score, b.Box[0], b.Box[1], b.Box[2], b.Box[3])
		out = append(out, plain([]string{fmt.Sprintf("%*s", width, "")}, b.Class, place, p.Input)...)
	}
	return out, nil
}
