package vision

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision/picture"
)

// Prediction is what a classifier says of a picture.
type Prediction = objective.Prediction

// Use moves the network to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, its
// convolutions in a precision ("float32", "bfloat16", "auto"), see [finetune.NewInference]. Without it, Predict runs on
// the CPU in float32.
func (c *Classifier) Use(device, precision string) error {
	c.running.Lock()
	defer c.running.Unlock()
	if c.inference != nil {
		return c.inference.Move(device, precision)
	}
	var err error
	c.inference, err = finetune.NewInference(c, device, precision)
	return err
}

// Inference is where the network predicts, see Use.
func (c *Classifier) Inference() (_ *finetune.Inference[*Batch], err error) {
	c.running.Lock()
	defer c.running.Unlock()
	if c.inference == nil {
		c.inference, err = finetune.NewInference(c, "cpu", "float32")
	}
	return c.inference, err
}

// Predict classifies images. One that cannot be read is an error; the predictions of those before it are given too, as
// they are when ctx ends.
//
// Any number of goroutines may call Predict at once; the network runs for one of them at a time. Package serve puts the
// requests of many goroutines together.
func (c *Classifier) Predict(ctx context.Context, images []Image, o finetune.PredictOptions) ([]Prediction, error) {
	n, err := c.Inference()
	if err != nil {
		return nil, err
	}
	size, err := o.Size()
	if err != nil {
		return nil, err
	}
	set := &unlabelled{model: c, images: images, failed: map[int]error{}}
	var asked []data.Request
	for first := 0; first < len(images); first += size {
		r := data.Request{}
		for i := first; i < min(first+size, len(images)); i++ {
			r.Indices = append(r.Indices, i)
		}
		asked = append(asked, r)
	}
	var out []Prediction
	err = n.Outputs(ctx, set, asked, func(b *Batch, output nn.Values) error {
		found, err := c.judge(output[0])
		for i := range found {
			found[i].Input = images[len(out)+i].name
		}
		out = append(out, found...)
		if err != nil {
			return fmt.Errorf("%s: %w", cmp.Or(images[len(out)].name, fmt.Sprint("image ", len(out))), err)
		}
		return set.failure(len(out))
	})
	return out, err
}

// PredictFiles is Predict of files.
func (c *Classifier) PredictFiles(ctx context.Context, paths ...string) ([]Prediction, error) {
	images := make([]Image, len(paths))
	for i, path := range paths {
		images[i] = File(path)
	}
	return c.Predict(ctx, images, finetune.PredictOptions{})
}

// unlabelled are pictures without labels, as a data set. A batch ends before a picture that cannot be read.
type unlabelled struct {
	model  *Classifier
	images []Image

	mu     sync.Mutex
	failed map[int]error // of the pictures that batches ended before
}

// failure says why a batch ended before picture i, nil where none did.
func (u *unlabelled) failure(i int) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.failed[i]
}

func (u *unlabelled) Len() int         { return len(u.images) }
func (u *unlabelled) Length(int) int   { return 1 }
func (u *unlabelled) Augmented() bool  { return false }
func (u *unlabelled) Concurrency() int { return 3 }

// Batch reads pictures.
func (u *unlabelled) Batch(r data.Request) (*Batch, error) {
	var samples []Sample
	for _, i := range r.Indices {
		sample, err := u.model.encode(u.images[i], strconv.Itoa(i))
		if err != nil && len(samples) == 0 {
			return nil, err
		} else if err != nil {
			u.mu.Lock()
			u.failed[i] = err
			u.mu.Unlock()
			break
		}
		samples = append(samples, sample)
	}
	b := u.model.batch(samples)
	b.Index = r.Indices[:len(samples)]
	return b, nil
}

// Sample is a picture as the network sees it in evaluation.
type Sample struct{ pixels []byte } // [Crop, Crop, 3]

// Encode decodes a picture and makes it the network's input. Many goroutines may call it at once.
func (c *Classifier) Encode(m Image) (Sample, error) { return c.encode(m, "without a name") }

// encode is Encode; errors call an image without a name as other says.
func (c *Classifier) encode(m Image, other string) (Sample, error) {
	stored := decoded.Get().(*picture.Image)
	defer decoded.Put(stored)
	full, err := m.decode(picture.Options{Into: stored}, other)
	if err != nil {
		return Sample{}, err
	}
	var small picture.Image
	if err := c.Input.evaluation().Apply(&small, full, nil); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", cmp.Or(m.name, "picture "+other), err)
	}
	return Sample{small.Pix}, nil
}

// Cost of every picture in a batch is the same.
func (c *Classifier) Cost(Sample) int { return 1 }

// PredictEncoded classifies pictures as one batch.
func (c *Classifier) PredictEncoded(ctx context.Context, samples []Sample) (out []Prediction, err error) {
	n, err := c.Inference()
	if err != nil {
		return nil, err
	}
	err = n.Batch(ctx, c.batch(samples), func(_ *Batch, output nn.Values) (err error) {
		out, err = c.judge(output[0])
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// batch puts samples together.
func (c *Classifier) batch(samples []Sample) *Batch {
	b := &Batch{Side: c.Input.Crop, Mean: single(c.Input.Mean), Std: single(c.Input.Std)}
	for i, s := range samples {
		b.Index, b.Pixels = append(b.Index, i), append(b.Pixels, s.pixels...)
	}
	return b
}

// judge makes predictions of logits [N, classes]. Scores that are no finite numbers are an error, beside the
// predictions before.
func (c *Classifier) judge(logits torch.Tensor) ([]Prediction, error) {
	values := torch.ToSlice[float32](logits)
	n, o := logits.Size(1), c.objective()
	out := make([]Prediction, 0, len(values)/n)
	for row := range slices.Chunk(values, n) {
		if slices.ContainsFunc(row, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }) {
			return out, fmt.Errorf("the network gives scores that are no finite numbers: the weights, %s, are damaged", c.Source)
		}
		out = append(out, o.Predict(row))
	}
	return out, nil
}
