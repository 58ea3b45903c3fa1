// Package report shows a person what a run came to: report.html with the curves, the confusion matrix, how far the
// probabilities can be trusted and the worst mistakes; curves.png and confusion.png; event files for TensorBoard; and a
// table that compares runs.
//
// A [Recorder] takes part in a run: it keeps in the run folder what finetune.Fit does not keep itself. [Write] makes
// page and pictures of the files that are in the folder, at the end of a run or at any time later. What is missing in
// the folder is missing on the page.
//
//	recorder := report.NewRecorder(report.RecorderOptions{Folder: folder, Problem: objective.SingleLabel, Classes: classes})
//	defer recorder.Close()
//	options.Folder, options.Observer = finetune.NewFolder(folder), recorder
//	options.OnEvent = recorder.OnEvent(nil)
//	result, err := finetune.Fit(ctx, model, train, test, options)
//	...
//	err = report.Write(folder)
//
// The record files, which other programs may read, are steps.csv (a row for each step that is shown, at most some
// thousands a phase), evaluation.json (of the best epoch) and machine.json.
package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// Write makes report.html, curves.png and confusion.png of what a run folder holds, in place of those that are there,
// and gives the page's path. A folder in which no run left anything is a *NoRunError.
func Write(folder string) (string, error) {
	run, err := Read(folder)
	if err != nil {
		return "", err
	}
	curves, err := run.curvesPNG()
	if err != nil {
		return "", fmt.Errorf("drawing %s: %w", finetune.CurvesFile, err)
	}
	confusion, err := run.confusionPNG()
	if err != nil {
		return "", fmt.Errorf("drawing %s: %w", finetune.ConfusionFile, err)
	}
	page, err := run.page()
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", finetune.ReportFile, err)
	}
	path := filepath.Join(folder, finetune.ReportFile)
	return path, cmp.Or( // a full disk is told once
		put(filepath.Join(folder, finetune.CurvesFile), curves),
		put(filepath.Join(folder, finetune.ConfusionFile), confusion),
		put(path, page))
}

// put writes a file; one without content is removed, as it would be of something that is there no more.
func put(path string, content []byte) error {
	if content == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
