package vision

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/thaw-ml/thaw/finetune"
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

// Use moves the network to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, its convolutions in
// a precision ("float32", "bfloat16", "auto"), see [finetune.NewInference]. Without it, Predict runs on the CPU in float32.
func (c *Classifier) Use(device, precision string) (err error) {
	if c.inference != nil {
		return c.inference.Move(device, precision)
	}
	c.inference, err = finetune.NewInference(c, device, precision)
	return err
}

// Predict classifies picture files, size at a time. A picture that cannot be read is an error; the predictions of those
// before it are given too, as they are when ctx ends.
func (c *Classifier) Predict(ctx context.Context, paths []string, size int) ([]Prediction, error) {
	if c.inference == nil {
		if err := c.Use("cpu", "float32"); err != nil {
			return nil, err
		}
	}
	files := &files{model: c, paths: paths, failed: map[int]error{}}
	var asked []finetune.Request
	for first := range files.Len() {
		if n := len(asked); n > 0 && len(asked[n-1].Indices) < size {
			asked[n-1].Indices = append(asked[n-1].Indices, first)
		} else {
			asked = append(asked, finetune.Request{Indices: []int{first}})
		}
	}
	var out []Prediction
	err := c.inference.Outputs(ctx, files, asked, func(b *Batch, output torch.Tensor) error {
		logits := torch.ToSlice[float32](output)
		if i := slices.IndexFunc(logits, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }); i >= 0 {
			good := i / len(c.Classes)
			out = append(out, c.judge(paths[len(out):len(out)+good], logits)...)
			return fmt.Errorf("%s: the network gives scores that are no finite numbers: the weights, %s, are damaged", paths[len(out)], c.Source)
		}
		out = append(out, c.judge(paths[len(out):len(out)+b.Size()], logits)...)
		return files.failure(len(out))
	})
	return out, err
}

// files are pictures without labels, as a data set. A batch ends before a picture that cannot be read.
type files struct {
	model *Classifier
	paths []string

	mu     sync.Mutex
	failed map[int]error // of the pictures that batches ended before
}

// failure says why a batch ended before picture i, nil where none did.
func (f *files) failure(i int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed[i]
}

func (f *files) Len() int          { return len(f.paths) }
func (f *files) Length(int) int    { return 1 }
func (f *files) Classes() []string { return f.model.Classes }
func (f *files) Varies() bool      { return false }
func (f *files) Concurrency() int  { return 3 }

// Batch reads pictures.
func (f *files) Batch(r finetune.Request) (*Batch, error) {
	in := f.model.Input
	b := &Batch{Side: in.Crop, Mean: single(in.Mean), Std: single(in.Std)}
	var stored, small picture.Image
	pipeline := transform.Pipeline(in.evaluation())
	for _, i := range r.Indices {
		m, err := picture.Read(f.paths[i], picture.Options{Into: &stored})
		if err == nil {
			if err = pipeline.Apply(&small, m, nil); err != nil {
				err = fmt.Errorf("%s: %w", f.paths[i], err)
			}
		}
		if err != nil && b.Size() == 0 {
			return nil, err
		} else if err != nil {
			f.mu.Lock()
			f.failed[i] = err
			f.mu.Unlock()
			return b, nil
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
