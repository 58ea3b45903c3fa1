package vision

import (
	"context"
	"errors"
	"fmt"
	"image"
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
	Input  string    `json:"input"` // the file, or the source's name
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

// Source is a picture to predict: a file, what a file holds, or an image. The zero Source is an error.
type Source struct {
	name string
	data []byte
	img  image.Image
}

// File is a picture in a file.
func File(path string) Source { return Source{name: path} }

// Encoded is a picture in memory as a file holds it, in any format that package picture reads, such as the body of a
// request. data is not to be changed before the prediction is there.
func Encoded(data []byte) Source {
	if data == nil {
		data = []byte{} // which is no picture, and no file
	}
	return Source{name: "encoded picture", data: data}
}

// Named is the source with another name, which errors and [Prediction] call it by. A file's is its path and stays.
func (s Source) Named(name string) Source {
	if s.data != nil || s.img != nil {
		s.name = name
	}
	return s
}

// FromImage is an image that is decoded already, see [picture.FromImage]. Name says what errors and [Prediction] call it.
func FromImage(name string, img image.Image) Source { return Source{name: name, img: img} }

// Name is what the picture is called: a file's path.
func (s Source) Name() string { return s.name }

// read decodes the picture.
func (s Source) read(into *picture.Image) (m *picture.Image, err error) {
	switch {
	case s.img != nil:
		m, err = picture.FromImage(s.img)
	case s.data != nil:
		m, err = picture.Decode(s.data, picture.Options{Into: into})
	case s.name == "":
		return nil, errors.New("a source that is no picture: make it with File, Encoded or FromImage")
	default:
		return picture.Read(s.name, picture.Options{Into: into})
	}
	if err != nil {
		return nil, fmt.Errorf("reading picture %s: %w", s.name, err)
	}
	return m, nil
}

// Use moves the network to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, its convolutions in
// a precision ("float32", "bfloat16", "auto"), see [finetune.NewInference]. Without it, Predict runs on the CPU in float32.
func (c *Classifier) Use(device, precision string) error {
	c.busy.Lock()
	defer c.busy.Unlock()
	return c.use(device, precision)
}

func (c *Classifier) use(device, precision string) (err error) {
	if c.inference != nil {
		return c.inference.Move(device, precision)
	}
	c.inference, err = finetune.NewInference(c, device, precision)
	return err
}

// Predict classifies picture files, as PredictSources does.
func (c *Classifier) Predict(ctx context.Context, paths []string, size int) ([]Prediction, error) {
	sources := make([]Source, len(paths))
	for i, path := range paths {
		sources[i] = File(path)
	}
	return c.PredictSources(ctx, sources, size)
}

// PredictSources classifies pictures, size at a time. A picture that cannot be read is an error; the predictions of those
// before it are given too, as they are when ctx ends. It may be called from many goroutines: they take turns, one call
// after another, whatever order they come in.
func (c *Classifier) PredictSources(ctx context.Context, sources []Source, size int) ([]Prediction, error) {
	c.busy.Lock()
	defer c.busy.Unlock()
	if c.inference == nil {
		if err := c.use("cpu", "float32"); err != nil {
			return nil, err
		}
	}
	files := &files{model: c, sources: sources, failed: map[int]error{}}
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
			out = append(out, c.judge(sources[len(out):len(out)+good], logits)...)
			return fmt.Errorf("%s: the network gives scores that are no finite numbers: the weights, %s, are damaged", sources[len(out)].name, c.Source)
		}
		out = append(out, c.judge(sources[len(out):len(out)+b.Size()], logits)...)
		return files.failure(len(out))
	})
	return out, err
}

// files are pictures without labels, as a data set. A batch ends before a picture that cannot be read.
type files struct {
	model   *Classifier
	sources []Source

	mu     sync.Mutex
	failed map[int]error // of the pictures that batches ended before
}

// failure says why a batch ended before picture i, nil where none did.
func (f *files) failure(i int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed[i]
}

func (f *files) Len() int          { return len(f.sources) }
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
		m, err := f.sources[i].read(&stored)
		if err == nil {
			if err = pipeline.Apply(&small, m, nil); err != nil {
				err = fmt.Errorf("%s: %w", f.sources[i].name, err)
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
func (c *Classifier) judge(sources []Source, logits []float32) []Prediction {
	n := len(c.Classes)
	out := make([]Prediction, len(sources))
	for k, source := range sources {
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
		out[k] = Prediction{source.name, best.Label, best.Class, best.Score, guesses[:min(5, n)], row}
	}
	return out
}
