package vision

import (
	"fmt"
	"math"
	"slices"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// Prediction is what a classifier says of a picture.
type Prediction struct {
	Input  string    `json:"input"` // the file
	Label  string    `json:"label"`
	Class  int       `json:"class"` // its number
	Score  float64   `json:"score"` // softmax of the logits
	Top    []Guess   `json:"top"`   // the five likeliest
	Logits []float32 `json:"logits"`
}

// Guess is a class and how likely it is.
type Guess struct {
	Label string  `json:"label"`
	Class int     `json:"class"`
	Score float64 `json:"score"`
}

// Predict classifies picture files, size at a time. A picture that cannot be read is an error.
func (c *Classifier) Predict(paths []string, size int) ([]Prediction, error) {
	var out []Prediction
	for group := range slices.Chunk(paths, max(size, 1)) {
		b, err := c.read(group)
		if err != nil {
			return nil, err
		}
		var logits []float32
		err = torch.Try(func() {
			torch.Scoped(func() {
				torch.Inference(func() {
					logits = torch.ToSlice[float32](c.Forward(b, torch.Tensor{}, 0, stagePool+2))
				})
			})
		})
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(logits, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }); i >= 0 {
			return nil, fmt.Errorf("%s: the network gives scores that are no finite numbers: the weights, %s, are damaged", group[i/len(c.Classes)], c.Source)
		}
		out = append(out, c.judge(group, logits)...)
	}
	return out, nil
}

// read makes a batch of files.
func (c *Classifier) read(paths []string) (*Batch, error) {
	b := &Batch{Side: c.Input.Crop, Mean: single(c.Input.Mean), Std: single(c.Input.Std)}
	var stored, small picture.Image
	pipeline := transform.Pipeline(c.Input.evaluation())
	for i, path := range paths {
		m, err := picture.Read(path, picture.Options{Into: &stored})
		if err != nil {
			return nil, err
		}
		if err := pipeline.Apply(&small, m, nil); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		b.Index, b.Pixels = append(b.Index, i), append(b.Pixels, small.Pix...)
	}
	return b, nil
}

// judge makes predictions of logits.
func (c *Classifier) judge(paths []string, logits []float32) []Prediction {
	n := len(c.Classes)
	out := make([]Prediction, len(paths))
	for k, path := range paths {
		row := logits[k*n : (k+1)*n]
		guesses := make([]Guess, n)
		highest := float64(slices.Max(row))
		sum := 0.0
		for i, x := range row {
			guesses[i] = Guess{c.Classes[i], i, math.Exp(float64(x) - highest)}
			sum += guesses[i].Score
		}
		for i := range guesses {
			guesses[i].Score /= sum
		}
		slices.SortStableFunc(guesses, func(a, b Guess) int {
			switch {
			case row[a.Class] > row[b.Class]:
				return -1
			case row[a.Class] < row[b.Class]:
				return 1
			}
			return 0
		})
		best := guesses[0]
		out[k] = Prediction{path, best.Label, best.Class, best.Score, guesses[:min(5, n)], row}
	}
	return out
}
