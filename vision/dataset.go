package vision

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/cgroup"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// Dataset makes batches of pictures. They are read, decoded and transformed on goroutines, so many at a time as there
// are workers whatever the number of batches under way; what is random depends on the seed, the epoch and the picture
// alone.
type Dataset struct {
	pictures             pictures
	targets              objective.Targets
	outputs              int // classes or labels
	input                Input
	options              DatasetOptions
	evaluation, training transform.Pipeline
	workers              chan struct{} // a place for each picture that is worked on

	skipped data.Skipped // pictures that could not be read
}

// DatasetOptions say how pictures become samples. The zero value of a field stands for its default.
type DatasetOptions struct {
	// Augment is what happens to training pictures: "crop", the default, is a random part of the picture, flipped in
	// one of two cases (Szegedy et al. 2014); "randaugment" (Cubuk et al. 2019) and "trivialaugment" (Müller and Hutter
	// 2021) change colours and geometry after that; "flip" only flips; "none" shows them as in evaluation, so that the
	// output of frozen stages can be kept.
	Augment string
	Scale   [2]float64 // the share of the picture's area that a random part has, from and to; the default is 0.08 and 1
	Erase   float64    // the probability of covering a random box (Zhong et al. 2017)
	// MixUp and CutMix are the alpha of Zhang et al. 2017 and of Yun et al. 2019: each batch of a classification is
	// mixed by one of those that are above 0.
	MixUp, CutMix float64
	// SkipUnreadable goes on without pictures that cannot be read, see Skipped; otherwise one is an error.
	SkipUnreadable bool
	Workers        int // pictures that are read at a time; the default is one for each core that may be used
	Seed           uint64
}

// NewDataset makes a data set of an album for a network with the given input.
func NewDataset(a *album.Album, input Input, o DatasetOptions) (*Dataset, error) {
	targets := objective.Targets{Classes: make([]int, a.Len())}
	for i := range targets.Classes {
		targets.Classes[i] = a.Class(i)
	}
	return newDataset(a, targets, len(a.Classes), input, o)
}

func newDataset(p pictures, targets objective.Targets, outputs int, input Input, o DatasetOptions) (*Dataset, error) {
	if err := input.check(); err != nil {
		return nil, err
	}
	if (o.MixUp > 0 || o.CutMix > 0) && targets.Classes == nil {
		return nil, errors.New("MixUp and CutMix mix the classes of a classification, and these pictures have none")
	}
	if err := o.resolve(); err != nil {
		return nil, err
	}
	training, err := input.training(o)
	if err != nil {
		return nil, err
	}
	workers := o.Workers
	if workers == 0 {
		workers = cgroup.Workers()
	}
	return &Dataset{
		pictures: p, targets: targets, outputs: outputs, input: input, options: o, evaluation: input.evaluation(),
		training: training, workers: make(chan struct{}, workers),
	}, nil
}

// augmentations are the values of DatasetOptions.Augment.
var augmentations = []string{"crop", "randaugment", "trivialaugment", "flip", "none"}

// resolve fills in the defaults and checks all values.
func (o *DatasetOptions) resolve() error {
	o.Augment = cmp.Or(o.Augment, "crop")
	if o.Scale == [2]float64{} {
		o.Scale = [2]float64{0.08, 1}
	}
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	check(slices.Contains(augmentations, o.Augment), "Augment must be one of %s, found %q", strings.Join(augmentations, ", "), o.Augment)
	check(0 < o.Scale[0] && o.Scale[0] <= o.Scale[1] && o.Scale[1] <= 1, "Scale must be two shares of the area, above 0, rising, at most 1, found %v", o.Scale)
	check(0 <= o.Erase && o.Erase <= 1, "Erase must be a probability from 0 to 1, found %v", o.Erase)
	check(o.MixUp >= 0 && o.CutMix >= 0, "MixUp and CutMix must be 0 (off) or above, found %v and %v", o.MixUp, o.CutMix)
	check(o.Workers >= 0, "Workers must be 0 (one for each core) or above, found %d", o.Workers)
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("vision: DatasetOptions: %w", err)
	}
	return nil
}

// Targets are what the images should give.
func (d *Dataset) Targets() objective.Targets { return d.targets }

// Len is the number of pictures.
func (d *Dataset) Len() int { return d.pictures.Len() }

// Length is 1: pictures are not padded.
func (d *Dataset) Length(int) int { return 1 }

// Augmented reports whether training pictures are changed at random.
func (d *Dataset) Augmented() bool {
	o := d.options
	return o.Augment != "none" || o.Erase > 0 || o.MixUp > 0 || o.CutMix > 0
}

// Concurrency lets the next batch be begun while the last pictures of one are still worked on.
func (d *Dataset) Concurrency() int { return 3 }

// Skipped tells which pictures could not be read so far, by their positions.
func (d *Dataset) Skipped() map[int]error { return d.skipped.All() }

// Batch reads pictures. One that cannot be read is an error that names it, or left out, as the options say; a batch may
// come out empty then, but it is an error when none of all pictures can be read.
func (d *Dataset) Batch(r data.Request) (*Batch, error) {
	b := &Batch{Side: d.input.Crop, Mean: single(d.input.Mean), Std: single(d.input.Std)}
	if r.FirstStage == 0 {
		torch.Unscoped(func() { b.memory = torch.Empty(torch.Uint8, torch.CPU, len(r.Indices), b.Side, b.Side, 3) })
		b.Pixels = b.memory.SharedBytes()
		if err := d.fill(b.Pixels, r); err != nil {
			b.Close()
			return nil, err
		}
	}
	d.list(b, r.Indices)
	var err error
	switch {
	case len(b.Index) == 0:
		if skipped := d.Skipped(); len(skipped) == d.Len() {
			err = fmt.Errorf("none of the %d pictures can be read; one of them: %w", d.Len(), skipped[r.Indices[0]])
		}
	case r.Epoch > 0 && r.FirstStage == 0:
		err = d.mix(b, r)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func single(x [3]float64) []float32 { return []float32{float32(x[0]), float32(x[1]), float32(x[2])} }

// pixels is the number of bytes of a picture.
func (d *Dataset) pixels() int { return 3 * d.input.Crop * d.input.Crop }

// fill writes the pictures into all, those that cannot be read left as they are and noted.
func (d *Dataset) fill(all []byte, r data.Request) error {
	size := d.pixels()
	failures := make([]error, len(r.Indices))
	var busy sync.WaitGroup
	var next atomic.Int64
	for range min(cap(d.workers), len(r.Indices)) {
		busy.Go(func() {
			// A place is kept for all pictures that this goroutine takes: handing it on for each would cost more.
			d.workers <- struct{}{}
			defer func() { <-d.workers }()
			for {
				k := int(next.Add(1)) - 1
				if k >= len(r.Indices) {
					return
				}
				into := &picture.Image{Pix: all[k*size : k*size : (k+1)*size]}
				failures[k] = d.picture(into, r.Indices[k], r.Epoch)
			}
		})
	}
	busy.Wait()
	for k, err := range failures {
		if err == nil {
			continue
		}
		if !d.options.SkipUnreadable {
			return &UnreadableError{err}
		}
		d.skipped.Note(r.Indices[k], err)
	}
	return nil
}

// decoded are pictures as they were stored, for their memory.
var decoded = sync.Pool{New: func() any { return new(picture.Image) }}

// plans are for their memory.
var plans = sync.Pool{New: func() any { return new(transform.Plan) }}

// picture reads and transforms one picture into memory of the right size. What is random is drawn before a training
// picture is decoded, so that of a JPEG no more is decoded than the transforms read, and at a part of its size where few
// pixels are wanted. An evaluation picture is decoded whole.
func (d *Dataset) picture(into *picture.Image, i, epoch int) (err error) {
	defer func() {
		if p := recover(); p != nil { // of an image's own methods: on this goroutine nobody else could catch it
			err = fmt.Errorf("reading picture %s: panic: %v\n%s", d.pictures.Name(i), p, debug.Stack())
		}
	}()
	stored, plan := decoded.Get().(*picture.Image), plans.Get().(*transform.Plan)
	defer func() {
		decoded.Put(stored)
		plans.Put(plan)
	}()
	pipeline, rng := d.evaluation, (*rand.Rand)(nil)
	options := picture.Options{Into: stored}
	var failure error
	draw := func(width, height int) (int, int) {
		if failure = plan.Reset(width, height); failure == nil {
			failure = pipeline.Draw(plan, rng)
		}
		_, scale := plan.Region()
		return int(math.Ceil(scale * float64(width))), int(math.Ceil(scale * float64(height)))
	}
	if epoch > 0 {
		pipeline = d.training
		rng = rand.New(rand.NewPCG(d.options.Seed, uint64(epoch)<<40|uint64(i)))
		options.MinSize = draw
		options.Box = func(int, int) image.Rectangle { box, _ := plan.Region(); return box }
	}
	picture, err := d.pictures.Picture(i, options)
	if err != nil {
		return err
	}
	if epoch == 0 {
		draw(picture.Width, picture.Height)
	}
	if err = failure; err == nil {
		err = decodedAs(plan, picture)
	}
	if err == nil {
		err = torch.TryErr(func() error { return plan.Apply(into, picture) })
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.pictures.Name(i), err)
	}
	if into.Width != d.input.Crop || into.Height != d.input.Crop {
		return fmt.Errorf("%s: the transforms give %d x %d pixels, not %d x %d", d.pictures.Name(i), into.Width, into.Height, d.input.Crop, d.input.Crop)
	}
	return nil
}

// decodedAs tells the plan what the decoder gave.
func decodedAs(plan *transform.Plan, m *picture.Image) error {
	if m.Part.Empty() {
		return plan.Decoded(m.Width, m.Height)
	}
	if err := plan.Decoded(m.Whole.X, m.Whole.Y); err != nil {
		return err
	}
	return plan.Part(m.Part)
}

// list notes which pictures the batch has, and moves their pixels together.
func (d *Dataset) list(b *Batch, asked []int) {
	size := d.pixels()
	for k, i := range asked {
		if d.skipped.Why(i) != nil {
			continue
		}
		if at := len(b.Index); b.Pixels != nil && at < k {
			copy(b.Pixels[at*size:(at+1)*size], b.Pixels[k*size:])
		}
		b.Index = append(b.Index, i)
	}
	b.Target = d.targets.Select(b.Index)
	if b.Pixels != nil {
		b.Pixels = b.Pixels[:len(b.Index)*size]
	}
}

// mix mixes the samples of a training batch, where the options ask for it.
func (d *Dataset) mix(b *Batch, r data.Request) (err error) {
	p := d.options
	if p.MixUp == 0 && p.CutMix == 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(d.options.Seed+1, uint64(r.Epoch)<<40|uint64(r.Indices[0])))
	var m transform.Mix
	b.Share = 1
	if p.CutMix > 0 && (p.MixUp == 0 || rng.IntN(2) == 0) {
		if m, err = (transform.CutMix{Alpha: p.CutMix}).Draw(rng, b.Side, b.Side); err == nil {
			err = m.Paste(b.Pixels, b.Side, b.Side)
		}
	} else if m, err = (transform.MixUp{Alpha: p.MixUp}).Draw(rng); err == nil {
		b.Share = float32(m.Lambda)
	}
	if err != nil {
		return err
	}
	b.Mixed, err = m.Targets(b.Target.Classes, d.outputs)
	return err
}

// UnreadableError is a picture that cannot be read, where SkipUnreadable was not asked for.
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string { return e.Err.Error() }

// Unwrap gives Err.
func (e *UnreadableError) Unwrap() error { return e.Err }
