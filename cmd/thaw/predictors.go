package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/vision"
)

// texts and pictures are the predictors.
type (
	texts    struct{ *text.Classifier }
	pictures struct{ *vision.Classifier }
)

func openTexts(folder, weights string) (predictor, error) {
	m, err := text.OpenClassifier(folder, weights)
	if err != nil {
		return nil, err
	}
	return texts{m}, nil
}

func openPictures(model, weights string) (predictor, error) {
	m, err := vision.OpenPretrained(model, weights)
	if err != nil {
		return nil, err
	}
	return pictures{m}, nil
}

func openPictureRun(folder string) (predictor, error) {
	m, err := vision.OpenClassifier(folder, "")
	if err != nil {
		return nil, err
	}
	return pictures{m}, nil
}

// Predict implements predictor.
func (p texts) Predict(ctx context.Context, inputs []string, asJSON bool, batch int) ([]byte, error) {
	found, failure := p.Classifier.Predict(ctx, inputs, batch)
	lines, err := render(found, asJSON, func(r text.Prediction) string { return plain(p.Classes, r.Label, r.Scores[r.Label], r.Input) })
	return lines, cmp.Or(failure, err)
}

// Predict implements predictor.
func (p pictures) Predict(ctx context.Context, inputs []string, asJSON bool, batch int) ([]byte, error) {
	found, failure := p.Classifier.Predict(ctx, inputs, batch)
	lines, err := render(found, asJSON, func(r vision.Prediction) string { return plain(p.Classes, r.Label, r.Score, r.Input) })
	return lines, cmp.Or(failure, err)
}

// render writes a line for each prediction.
func render[P any](found []P, asJSON bool, plain func(P) string) (out []byte, err error) {
	for _, r := range found {
		line := []byte(plain(r))
		if asJSON {
			if line, err = jsonLine(r); err != nil {
				return nil, err
			}
		}
		out = append(out, line...)
	}
	return out, nil
}

// plain is a prediction for people, on one line whatever the input holds.
func plain(classes []string, label string, score float64, input string) string {
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
	return fmt.Sprintf("%-*s  %.3f  %s\n", width, label, score, input)
}
