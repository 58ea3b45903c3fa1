package report

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// What a report shows at most.
const (
	mostMistakes = 24
	mostPairs    = 20_000 // of true and predicted classes
	mostPoints   = 2000   // of numbers
	mostText     = 4000   // bytes of a text
)

// Evaluation is evaluation.json: what the model of the best epoch says of the test samples.
type Evaluation struct {
	Epoch   int                   `json:"epoch"`
	Problem objective.ProblemType `json:"problem_type"`
	Classes []string              `json:"classes,omitempty"`
	// Rows were looked at: all, but of several labels in very large test sets.
	Rows        int          `json:"rows"`
	Score       metric.Score `json:"score"`            // of all test samples
	Counts      []Cell       `json:"counts,omitempty"` // of classes
	Calibration *Calibration `json:"calibration,omitempty"`
	Points      [][2]float64 `json:"points,omitempty"` // of numbers: true and predicted
	Mistakes    []Mistake    `json:"mistakes,omitempty"`
	Detection   *Detection   `json:"detection,omitempty"` // of a detector
}

// Cell counts samples of one class that were taken for another, or for what they are.
type Cell struct {
	True      int `json:"true"` // number of the class
	Predicted int `json:"predicted"`
	Count     int `json:"count"`
}

// Calibration tells how far probabilities can be trusted.
type Calibration struct {
	Error float64 `json:"error"` // the expected calibration error, see metric.CalibrationError
	Bins  []Bin   `json:"bins"`  // of equal width
}

// Bin holds predictions of about the same probability.
type Bin struct {
	Count int     `json:"count"`
	Right int     `json:"right"`
	Mean  float64 `json:"mean"` // of the probabilities
}

// Mistake is a sample about which the model is wrong.
type Mistake struct {
	Sample
	Number      int      `json:"number"` // in the test data, from 0
	True        []string `json:"true,omitempty"`
	Predicted   []string `json:"predicted,omitempty"`
	Probability *float64 `json:"probability,omitempty"` // of the predicted class
	Likelihood  *float64 `json:"likelihood,omitempty"`  // of the true class
	Wanted      *float64 `json:"wanted,omitempty"`      // the true number
	Value       *float64 `json:"value,omitempty"`       // the predicted one
}

// Sample is what a report shows of a test sample.
type Sample struct {
	Name    string      `json:"name,omitempty"` // where it is from, as in reviews.tsv:12
	Text    string      `json:"text,omitempty"`
	Pair    string      `json:"pair,omitempty"` // the second text
	Picture image.Image `json:"-"`
	Encoded string      `json:"picture,omitempty"` // Picture, small, as a data URI; a Recorder makes it
}

// writeEvaluation writes evaluation.json of the outputs that were seen last.
func (r *Recorder) writeEvaluation(epoch int) (err error) {
	host := &r.seen.host
	e := Evaluation{Epoch: epoch, Problem: r.options.Problem, Classes: r.options.Classes, Rows: len(host.samples)}
	if r.score != nil {
		e.Score = *r.score
		if e.Classes == nil && e.Score.Classes != nil {
			for _, c := range e.Score.Classes.PerClass {
				e.Classes = append(e.Classes, c.Name)
			}
		}
	}
	switch e.Problem {
	case objective.SingleLabel:
		e.Counts, e.Calibration = host.confusion(mostPairs), host.calibration()
	case objective.MultiLabel:
		e.Calibration = host.calibration()
	case objective.Regression:
		e.Points = host.points(mostPoints)
	}
	for _, i := range host.worst(mostMistakes) {
		m := host.mistake(i, e.Classes)
		if r.options.Sample != nil {
			// A sample that cannot be shown is no reason to leave out the others.
			if s, err := r.options.Sample(m.Number); err == nil {
				m.Sample = s.bounded()
			}
		}
		e.Mistakes = append(e.Mistakes, m)
	}
	if r.options.Detection != nil {
		if e.Detection, err = r.options.Detection(); err != nil {
			return err
		}
		e.Detection.bounded()
		e.Rows = e.Score.Rows
	}
	return writeJSON(filepath.Join(r.options.Folder, finetune.EvaluationFile), e)
}

// mistake says what is wrong with a row.
func (r *rows) mistake(i int, classes []string) Mistake {
	name := func(class int) string {
		if class < len(classes) {
			return classes[class]
		}
		return strconv.Itoa(class)
	}
	m := Mistake{Number: r.samples[i]}
	switch {
	case r.labels > 0:
		for j := range r.labels {
			at := i*r.labels + j
			if r.targets[at] > 0.5 {
				m.True = append(m.True, name(j))
			}
			if r.logits[at] > 0 {
				m.Predicted = append(m.Predicted, name(j))
			}
		}
	case r.value != nil:
		m.Wanted, m.Value = finite(r.wanted[i]), finite(r.value[i])
	default:
		m.True, m.Predicted = []string{name(int(r.truth[i]))}, []string{name(int(r.predicted[i]))}
		m.Probability, m.Likelihood = finite(r.sure[i]), finite(r.likely[i])
	}
	return m
}

// finite is x, or nil where JSON has no number for it.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// bounded makes a sample small enough for a page.
func (s Sample) bounded() Sample {
	s.Name, s.Text, s.Pair = cut(s.Name, 400), cut(s.Text, mostText), cut(s.Pair, mostText)
	if s.Picture != nil {
		s.Encoded, s.Picture = thumbnail(s.Picture), nil
	}
	return s
}

// cut shortens a text to so many bytes, at a whole character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && s[end]&0xc0 == 0x80 {
		end--
	}
	return s[:end] + "…"
}

// dataURI is a picture within a page.
func dataURI(kind string, data []byte) string {
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// MarshalJSON writes null for an error that is not defined.
func (c Calibration) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Error *float64 `json:"error"`
		Bins  []Bin    `json:"bins"`
	}{finite(c.Error), c.Bins})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Calibration) UnmarshalJSON(text []byte) error {
	var read struct {
		Error *float64 `json:"error"`
		Bins  []Bin    `json:"bins"`
	}
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	*c = Calibration{math.NaN(), read.Bins}
	if read.Error != nil {
		c.Error = *read.Error
	}
	return nil
}

func writeJSON(path string, v any) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(v)
	})
}

// readJSON reads a file; found is false where it is not there.
func readJSON(path string, into any) (found bool, err error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}
