package detection

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/picture"
)

// DefaultPredictBatch is how many pictures go through a detector together where PredictOptions do not say: they are large.
const DefaultPredictBatch = 4

// Prediction is what was found in a picture.
type Prediction struct {
	Input         string // the picture's name, its path mostly
	Width, Height int    // of the picture, pixels
	Detections    []Detection
}

// Use moves the network to a device ("cpu", "cuda", "cuda:1", "auto"), where Predict runs from then on, its convolutions in
// a precision ("float32", "bfloat16", "auto"), see [finetune.NewInference]. Without it, Predict runs on the CPU in float32.
func (d *Detector) Use(device, precision string) error {
	d.running.Lock()
	defer d.running.Unlock()
	if d.inference != nil {
		return d.inference.Move(device, precision)
	}
	var err error
	d.inference, err = finetune.NewInference(d, device, precision)
	return err
}

// Inference is where the network predicts, see Use.
func (d *Detector) Inference() (_ *finetune.Inference[*Batch], err error) {
	d.running.Lock()
	defer d.running.Unlock()
	if d.inference == nil {
		d.inference, err = finetune.NewInference(d, "cpu", "float32")
	}
	return d.inference, err
}

// ClassOf is the name of a label; its number where it has none.
func (d *Detector) ClassOf(label int) string {
	if i := label - d.FirstLabel(); i >= 0 && i < len(d.Classes) {
		return d.Classes[i]
	}
	return fmt.Sprint("label ", label)
}

// Predict finds objects in pictures. One that cannot be read is an error; the predictions of those before it are given too,
// as they are when ctx ends. Pictures go through the network in batches, each on a canvas that its largest one needs; what
// is found depends a little on the canvas, as in torchvision.
func (d *Detector) Predict(ctx context.Context, pictures []vision.Image, o finetune.PredictOptions) ([]Prediction, error) {
	n, err := d.Inference()
	if err != nil {
		return nil, err
	}
	if _, err := o.Size(); err != nil {
		return nil, err
	}
	size := cmp.Or(o.BatchSize, DefaultPredictBatch)
	var out []Prediction
	for some := range slices.Chunk(pictures, size) {
		decoded, failure := decode(some)
		if len(decoded.images) > 0 {
			found, err := d.predict(ctx, n, decoded)
			out = append(out, found...)
			if err != nil {
				return out, err
			}
		}
		if failure != nil {
			return out, failure
		}
	}
	return out, nil
}

// predict is of pictures as one batch.
func (d *Detector) predict(ctx context.Context, n *finetune.Inference[*Batch], p unannotated) (out []Prediction, err error) {
	set, err := d.NewDataset(p, DatasetOptions{Augment: "none"})
	if err != nil {
		return nil, err
	}
	r := data.Request{}
	for i := range p.Len() {
		r.Indices = append(r.Indices, i)
	}
	err = n.Outputs(ctx, set, []data.Request{r}, func(b *Batch, output nn.Values) error {
		if err := d.checkFinite(output); err != nil {
			return err
		}
		for i, found := range d.Detections(output, b.Targets()[targetSizes-targetBoxes]) {
			m := p.images[i]
			out = append(out, Prediction{p.names[i], m.Width, m.Height, found})
		}
		return nil
	})
	return out, err
}

// checkFinite makes sure that no output is NaN or infinite.
func (d *Detector) checkFinite(output nn.Values) error {
	for _, x := range output {
		if x.DType() == torch.Float32 && x.Numel() > 0 {
			if sum := x.Abs().Max().Item(); math.IsNaN(sum) || math.IsInf(sum, 0) {
				return fmt.Errorf("the network gives numbers that are not finite: the weights, %s, are damaged", d.Source)
			}
		}
	}
	return nil
}

// unannotated are pictures in memory, without boxes.
type unannotated struct {
	names  []string
	images []*picture.Image
}

// decode decodes pictures up to one that cannot be read.
func decode(pictures []vision.Image) (out unannotated, err error) {
	images, failures := make([]*picture.Image, len(pictures)), make([]error, len(pictures))
	var busy sync.WaitGroup
	for i, p := range pictures {
		busy.Go(func() { images[i], failures[i] = p.Decode(picture.Options{}) })
	}
	busy.Wait()
	for i, m := range images {
		if failures[i] != nil {
			return out, failures[i]
		}
		out.names, out.images = append(out.names, pictures[i].Name()), append(out.images, m)
	}
	return out, nil
}

// Len implements Pictures.
func (u unannotated) Len() int { return len(u.images) }

// At implements Pictures.
func (u unannotated) At(i int) annotation.Picture {
	return annotation.Picture{Path: u.names[i], Width: u.images[i].Width, Height: u.images[i].Height}
}

// Read implements Pictures.
func (u unannotated) Read(i int, _ picture.Options) (*picture.Image, error) { return u.images[i], nil }
