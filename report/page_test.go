package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
)

// hostile is what tries to be more than text.
const hostile = `<script>alert("x")</script><img src=http://example.org/x onerror=alert(1)>&amp;'`

// runFolder writes the records of a run of classes, which change may change.
type runFolder struct {
	classes  []string
	epochs   int
	steps    int // of an epoch
	loss     func(step int) float64
	test     bool
	summary  bool
	mistakes []Mistake
	spec     string
	reason   string
}

func (f runFolder) write(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "a <run>")
	require.NoError(t, os.Mkdir(folder, 0o755))
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644))
	}
	steps := strings.Join(stepHeader, ",") + "\n"
	metrics := "epoch,phase,train_loss,test_loss,accuracy,macro_f1,seconds\n"
	if !f.test {
		metrics = "epoch,phase,train_loss,test_loss,seconds\n"
	}
	for e := range f.epochs {
		for s := range f.steps {
			step := e*f.steps + s + 1
			steps += strings.Join(Step{Step: step, Phase: 1, Epoch: e + 1, Samples: 8 * s, Loss: f.loss(step), EpochLoss: 1, LR: 1e-4, Rate: 5, Memory: 1e9}.fields(), ",") + "\n"
		}
		if f.test {
			metrics += fmt.Sprintf("%d,1,%v,0.5,0.75,,1.5\n", e+1, f.loss(1))
		} else {
			metrics += fmt.Sprintf("%d,1,%v,,1.5\n", e+1, f.loss(1))
		}
	}
	put(finetune.StepsFile, strings.ReplaceAll(steps, "0001-01-01", "2026-01-01"))
	put(finetune.MetricsFile, metrics)
	put(finetune.PlanFile, "phase 1\n"+hostile+"\n")
	if f.spec != "" {
		put(finetune.SpecFile, f.spec)
	}
	if f.reason != "" {
		put(finetune.ErrorFile, f.reason)
	}
	classes := &metric.Classes{}
	var counts []Cell
	for i, name := range f.classes {
		classes.PerClass = append(classes.PerClass, metric.ClassScore{Name: name, Precision: 0.5, Recall: 0.5, F1: 0.5, Support: 4})
		counts = append(counts, Cell{i, i, 3}, Cell{i, (i + 1) % len(f.classes), 1})
	}
	score := metric.Score{Loss: 0.5, Rows: 4 * len(f.classes), Classes: classes, Values: []metric.Value{
		{Name: "accuracy", Value: 0.75}, {Name: "macro_f1", Value: math.NaN()},
	}}
	if f.test {
		require.NoError(t, writeJSON(filepath.Join(folder, finetune.EvaluationFile), Evaluation{
			Epoch: f.epochs, Problem: objective.SingleLabel, Classes: f.classes, Rows: score.Rows, Score: score, Counts: counts,
			Calibration: &Calibration{Error: math.NaN(), Bins: append(make([]Bin, 14), Bin{Count: 4, Right: 2, Mean: 0.99})}, Mistakes: f.mistakes,
		}))
	}
	if f.summary {
		result := finetune.Result{BestEpoch: f.epochs, Seed: 1}
		if f.test {
			result.Best, result.Before = score, score
		}
		require.NoError(t, writeJSON(filepath.Join(folder, finetune.SummaryFile), result))
	}
	return folder
}

func classesOf(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s %d", hostile, i))
	}
	return names
}

func one(int) float64 { return 1 }

// external is what would load something, or run something.
var external = regexp.MustCompile(`(?i)<script|<img src="?http|<link|<iframe|<object|\son[a-z]+=|url\([^#]|@import|javascript:|href=`)

// checkPage makes a report and looks for what no page may have.
func checkPage(t *testing.T, folder string) string {
	t.Helper()
	path, err := Write(folder)
	require.NoError(t, err)
	page := content(t, path)
	withoutText := strings.ReplaceAll(page, "onerror=alert", "") // as text it may be there
	assert.Empty(t, external.FindString(withoutText))
	assert.NotContains(t, page, "ZgotmplZ", "a value that the template refuses")
	assert.NotRegexp(t, `NaN|[+-]Inf`, regexp.MustCompile(`(?s)<h2>(Plan|Spec)</h2>.*?</section>`).ReplaceAllString(page, ""))
	for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1) {
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, svg)
		}
	}
	for _, name := range []string{finetune.CurvesFile, finetune.ConfusionFile} {
		if text, err := os.ReadFile(filepath.Join(folder, name)); err == nil {
			m, err := png.Decode(bytes.NewReader(text))
			require.NoError(t, err, name)
			assert.LessOrEqual(t, max(m.Bounds().Dx(), m.Bounds().Dy()), 4000)
		}
	}
	return page
}

func TestPage(t *testing.T) {
	long := strings.Repeat("word ", 1000)
	mistake := Mistake{Sample: Sample{Name: hostile, Text: hostile + long, Pair: hostile}, True: []string{hostile}, Predicted: []string{"b"}}
	for name, c := range map[string]struct {
		folder runFolder
		has    []string
		not    []string
	}{
		"two classes": {runFolder{classes: []string{"a", "b"}, epochs: 3, steps: 30, loss: one, test: true, summary: true},
			[]string{"<title>a &lt;run&gt; · Thaw</title>", "0.7500", "at epoch 3 of 3 · before training 0.7500", "Confusion matrix", "Calibration"}, []string{"Confused most often", "Worst mistakes"}},
		"hostile names": {runFolder{classes: classesOf(5), epochs: 1, steps: 1, loss: one, test: true, summary: true, mistakes: []Mistake{mistake}, spec: "model: " + hostile + "\n"},
			[]string{"&lt;script&gt;", "Worst mistakes", "Confused most often"}, nil},
		"a hundred classes": {runFolder{classes: classesOf(100), epochs: 2, steps: 5, loss: one, test: true, summary: true},
			[]string{`aria-label="Confusion matrix of 100 classes"`, "70 more classes", "lowest F1 first"}, []string{"of 100 classes the"}},
		"a thousand classes": {runFolder{classes: classesOf(1000), epochs: 2, steps: 5, loss: one, test: true, summary: true},
			[]string{"Of 1000 classes the 40", "970 more classes"}, nil},
		"no test rows": {runFolder{epochs: 2, steps: 5, loss: one, summary: true},
			[]string{"training loss", "nothing was evaluated"}, []string{"Confusion matrix", "Calibration", "test loss"}},
		"NaN losses": {runFolder{classes: []string{"a", "b"}, epochs: 2, steps: 40, loss: func(s int) float64 {
			if s%3 == 0 {
				return math.NaN()
			}
			return math.Inf(s%3 - 2)
		}, test: true, summary: true}, []string{"0.7500"}, nil},
		"killed": {runFolder{classes: []string{"a", "b"}, epochs: 2, steps: 5, loss: one, test: true},
			[]string{"The run is not finished", "0.7500"}, nil},
		"failed": {runFolder{classes: []string{"a", "b"}, epochs: 2, steps: 5, loss: one, test: true, reason: hostile},
			[]string{"The run failed: &lt;script&gt;"}, nil},
		"one step": {runFolder{classes: []string{"a", "b"}, epochs: 1, steps: 1, loss: func(int) float64 { return 0 }, test: true, summary: true}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			page := checkPage(t, c.folder.write(t))
			for _, part := range c.has {
				assert.Contains(t, page, part)
			}
			for _, part := range c.not {
				assert.NotContains(t, page, part)
			}
			assert.Less(t, len(page), 2<<20)
		})
	}
}

// Pictures are taken from evaluation.json only where they are what a Recorder writes.
func TestPicturesOfThePage(t *testing.T) {
	good := Mistake{Sample: Sample{Encoded: "data:image/png;base64,AAAA"}, True: []string{"a"}, Predicted: []string{"b"}}
	bad := Mistake{Sample: Sample{Encoded: "javascript:alert(1)"}, True: []string{"a"}, Predicted: []string{"b"}}
	f := runFolder{classes: []string{"a", "b"}, epochs: 1, steps: 1, loss: one, test: true, summary: true, mistakes: []Mistake{good, bad}}
	page := checkPage(t, f.write(t))
	assert.Equal(t, 1, strings.Count(page, "<img "))
}

// A folder in which there is no confusion any more has no picture of it.
func TestStalePicturesGo(t *testing.T) {
	f := runFolder{epochs: 1, steps: 3, loss: one, summary: true}
	folder := f.write(t)
	stale := filepath.Join(folder, finetune.ConfusionFile)
	require.NoError(t, os.WriteFile(stale, []byte("of another run"), 0o644))
	_, err := Write(folder)
	require.NoError(t, err)
	assert.NoFileExists(t, stale)
}

func TestFoldersThatAreNone(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	for folder, reason := range map[string]string{
		filepath.Join(empty, "nowhere"): "it is not there", file: "it is no folder", empty: "nothing was trained there",
	} {
		_, err := Write(folder)
		require.ErrorAs(t, err, new(*NoRunError))
		require.ErrorIs(t, err, fs.ErrNotExist)
		assert.ErrorContains(t, err, reason)
	}
	broken := runFolder{epochs: 1, steps: 3, loss: one, summary: true}.write(t)
	require.NoError(t, os.WriteFile(filepath.Join(broken, finetune.EvaluationFile), []byte("{"), 0o644))
	_, err := Write(broken)
	assert.ErrorContains(t, err, finetune.EvaluationFile)
}

// A row that a process was killed in the middle of is left out.
func TestStepsThatWereCutShort(t *testing.T) {
	folder := runFolder{epochs: 1, steps: 3, loss: one, summary: true}.write(t)
	path := filepath.Join(folder, finetune.StepsFile)
	whole := content(t, path)
	for cut := len(whole); cut > 0; cut-- {
		require.NoError(t, os.WriteFile(path, []byte(whole[:cut]), 0o644))
		rows, err := readSteps(path)
		if cut > len(strings.Join(stepHeader, ",")) {
			require.NoError(t, err, "%q", whole[:cut])
			assert.LessOrEqual(t, len(rows), 3)
		}
	}
}
