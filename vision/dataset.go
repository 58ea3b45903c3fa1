package vision

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// Dataset makes batches of an album's pictures. Pictures are read, decoded and transformed on goroutines, so many at a
// time as there are workers whatever the number of batches under way; what is random depends on the seed, the epoch and
// the picture alone.
type Dataset struct {
	album                *album.Album
	input                Input
	options              Options
	evaluation, training transform.Pipeline
	workers              chan struct{} // a place for each picture that is worked on

	mutex   sync.Mutex
	skipped map[int]error // pictures that could not be read
}

// Options say how a data set makes training batches.
type Options struct {
	Pictures finetune.Pictures // resolved
	Seed     uint64
}

// NewDataset makes a data set of pictures for a network with the given input.
func NewDataset(a *album.Album, input Input, o Options) (*Dataset, error) {
	if err := input.check(); err != nil {
		return nil, err
	}
	training, err := input.training(&o.Pictures)
	if err != nil {
		return nil, err
	}
	workers := o.Pictures.Workers
	if workers == 0 {
		workers = min(runtime.GOMAXPROCS(0), runtime.NumCPU())
	}
	return &Dataset{
		album: a, input: input, options: o, evaluation: input.evaluation(), training: training,
		workers: make(chan struct{}, workers), skipped: map[int]error{},
	}, nil
}

// Len is the number of pictures.
func (d *Dataset) Len() int { return d.album.Len() }

// Length is 1: pictures are not padded.
func (d *Dataset) Length(int) int { return 1 }

// Classes are the labels by class number.
func (d *Dataset) Classes() []string { return d.album.Classes }

// Varies reports whether training pictures are changed at random.
func (d *Dataset) Varies() bool {
	p := d.options.Pictures
	return p.Augment != "none" || p.Erase > 0 || p.MixUp > 0 || p.CutMix > 0
}

// Concurrency lets the next batch be begun while the last pictures of one are still worked on.
func (d *Dataset) Concurrency() int { return 3 }

// Skipped tells which pictures could not be read so far, by their positions.
func (d *Dataset) Skipped() map[int]error {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	out := make(map[int]error, len(d.skipped))
	for i, err := range d.skipped {
		out[i] = err
	}
	return out
}

// Batch reads pictures. One that cannot be read is an error that names it, or left out, as the options say; a batch may
// come out empty then, but it is an error when none of all pictures can be read.
func (d *Dataset) Batch(r finetune.Request) (*Batch, error) {
	b := &Batch{Side: d.input.Crop, Mean: single(d.input.Mean), Std: single(d.input.Std)}
	if r.From == 0 {
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
	case r.Epoch > 0 && r.From == 0:
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
func (d *Dataset) fill(all []byte, r finetune.Request) error {
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
		if d.options.Pictures.Unreadable != "skip" {
			return fmt.Errorf("%w (pictures.unreadable=skip leaves such pictures out)", err)
		}
		d.mutex.Lock()
		d.skipped[r.Indices[k]] = err
		d.mutex.Unlock()
	}
	return nil
}

// decoded are pictures as they were stored, for their memory.
var decoded = sync.Pool{New: func() any { return new(picture.Image) }}

// plans are for their memory.
var plans = sync.Pool{New: func() any { return new(transform.Plan) }}

// picture reads and transforms one picture into memory of the right size. What is random is drawn before a training picture
// is decoded, so that a JPEG of which few pixels are wanted is decoded at a part of its size.
func (d *Dataset) picture(into *picture.Image, i, epoch int) (err error) {
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
	}
	picture, err := d.album.Picture(i, options)
	if err != nil {
		return err
	}
	if epoch == 0 {
		draw(picture.Width, picture.Height)
	}
	if err = failure; err == nil {
		err = plan.Decoded(picture.Width, picture.Height)
	}
	if err == nil {
		failure = torch.Try(func() { err = plan.Apply(into, picture) })
		err = errors.Join(failure, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.album.Name(i), err)
	}
	if into.Width != d.input.Crop || into.Height != d.input.Crop {
		return fmt.Errorf("%s: the transforms give %d x %d pixels, not %d x %d", d.album.Name(i), into.Width, into.Height, d.input.Crop, d.input.Crop)
	}
	return nil
}

// list notes which pictures the batch has, and moves their pixels together.
func (d *Dataset) list(b *Batch, asked []int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	size := d.pixels()
	for k, i := range asked {
		if d.skipped[i] != nil {
			continue
		}
		if at := len(b.Index); b.Pixels != nil && at < k {
			copy(b.Pixels[at*size:(at+1)*size], b.Pixels[k*size:])
		}
		b.Index = append(b.Index, i)
		b.Class = append(b.Class, d.album.Class(i))
	}
	if b.Pixels != nil {
		b.Pixels = b.Pixels[:len(b.Index)*size]
	}
}

// mix mixes the samples of a training batch, where the options ask for it.
func (d *Dataset) mix(b *Batch, r finetune.Request) (err error) {
	p := d.options.Pictures
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
	b.Targets, err = m.Targets(b.Class, len(d.album.Classes))
	return err
}
