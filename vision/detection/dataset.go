package detection

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/thaw-ml/thaw/internal/cgroup"
	"github.com/thaw-ml/thaw/internal/filestamp"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// Pictures are what a data set reads: pictures with what is annotated on them. The methods may be called from several
// goroutines at once.
type Pictures interface {
	Len() int
	// At gives a picture's size and boxes, whose classes count from 0, and its path, which is what errors call it.
	At(i int) annotation.Picture
	// Read decodes a picture.
	Read(i int, o picture.Options) (*picture.Image, error)
}

// Files are the pictures of an annotation.Set.
type Files struct{ *annotation.Set }

// At is the picture's annotation.
func (f Files) At(i int) annotation.Picture { return f.Set.Pictures[i] }

// Read decodes the picture's file.
func (f Files) Read(i int, o picture.Options) (*picture.Image, error) {
	return picture.Read(f.Set.Pictures[i].Path, o)
}

// Dataset makes batches of pictures with boxes. They are read, decoded and resized on goroutines; what is random depends
// on the seed, the epoch and the picture alone.
type Dataset struct {
	pictures Pictures
	first    int // the label of class 0
	input    Input
	options  DatasetOptions
	workers  int

	skipped data.Skipped // pictures that could not be read
}

// DatasetOptions say how pictures become samples. The zero value of a field stands for its default.
type DatasetOptions struct {
	// Augment is what happens to training pictures, one of Augmentations, as in torchvision's references:
	//
	//   - "flip", the default, turns them left to right in one of two cases, as all others do but "none" (torchvision's hflip).
	//   - "multiscale" has MinSizes be 0.6 to 1 of the input's size, in eleven steps, where they are not given.
	//   - "lsj" shows them at a random scale, Scale, and of what is larger then than without a part (large-scale jitter).
	//   - "ssdlite" shows parts of them that keep an object at least, see augment.IoUCrop.
	//   - "ssd" is "ssdlite" with Distort, and pictures that lie on a larger ground in one of two cases, see augment.ZoomOut.
	//   - "none" shows them as in evaluation, so that the output of frozen stages can be kept.
	Augment string
	// Scale are the bounds of lsj's scale, 1 being that of evaluation; 0, 0 stands for 0.1, 2.
	Scale [2]float64
	// Distort changes the colours of training pictures, see augment.PhotometricDistort.
	Distort bool
	// MinSizes are what the shorter side of a training picture is made, one of them at random; the default is the input's.
	MinSizes []int
	// AspectGroups puts pictures of like shape into one batch, so that they are padded less: so many groups of widths up to
	// the height, and as many of larger ones, see Group. 0 stands for 3, as in torchvision's references
	// (aspect_ratio_group_factor); -1 is one group.
	AspectGroups int
	// SkipUnreadable goes on without pictures that cannot be read, see Skipped; otherwise one is an error.
	SkipUnreadable bool
	Workers        int // pictures that are read at a time; the default is one for each core
	Seed           uint64
}

func (o *DatasetOptions) resolve(in Input) error {
	names := Augmentations()
	o.Augment = cmp.Or(o.Augment, names[0])
	if len(o.MinSizes) == 0 {
		o.MinSizes = []int{in.MinSize}
		if o.augmentation().sizes {
			o.MinSizes = multiscaleSizes(in.MinSize)
		}
	}
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	check(slices.Contains(names, o.Augment), "Augment must be one of %s, found %q", strings.Join(names, ", "), o.Augment)
	lowest, highest := o.Scale[0], o.Scale[1]
	check(o.Scale == [2]float64{} || 0 < lowest && lowest <= highest && highest <= 16, "Scale must be two numbers, rising, above 0 and at most 16, found %v", o.Scale)
	for _, size := range o.MinSizes {
		check(1 <= size && size <= in.MaxSize, "MinSizes must be from 1 to the input's largest size, %d, found %d", in.MaxSize, size)
	}
	o.AspectGroups = cmp.Or(o.AspectGroups, 3)
	check(-1 <= o.AspectGroups && o.AspectGroups <= 100, "AspectGroups must be from 1 to 100, or -1 for one group, found %d", o.AspectGroups)
	check(o.Workers >= 0, "Workers must be 0 (one for each core) or above, found %d", o.Workers)
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("detection: DatasetOptions: %w", err)
	}
	return nil
}

// NewDataset makes a data set of pictures for a network with the given input, whose label firstLabel stands for the class 0
// of the pictures' boxes.
func NewDataset(p Pictures, firstLabel int, input Input, o DatasetOptions) (*Dataset, error) {
	if err := input.check(); err != nil {
		return nil, err
	}
	if err := o.resolve(input); err != nil {
		return nil, err
	}
	workers := o.Workers
	if workers == 0 {
		workers = cgroup.Workers()
	}
	return &Dataset{pictures: p, first: firstLabel, input: input, options: o, workers: workers}, nil
}

// Len is the number of pictures.
func (d *Dataset) Len() int { return d.pictures.Len() }

// Length is 1: no dimension is counted as the tokens of a text are.
func (d *Dataset) Length(int) int { return 1 }

// Augmented reports whether what frozen stages make of a picture cannot be kept: training pictures are changed at random,
// or pictures differ in size, so that a batch's canvas depends on all of them.
func (d *Dataset) Augmented() bool {
	if d.options.random() {
		return true
	}
	if d.Len() == 0 {
		return false
	}
	first := d.evaluated(0)
	for i := 1; i < d.Len(); i++ {
		size := d.evaluated(i)
		if canvas(first.Height) != canvas(size.Height) || canvas(first.Width) != canvas(size.Width) {
			return true
		}
	}
	return false
}

// evaluated is the size of a picture without anything random.
func (d *Dataset) evaluated(i int) Size {
	p := d.pictures.At(i)
	height, width := p.Height, p.Width
	h, w := d.input.resized(height, width, d.input.MinSize)
	return Size{h, w, height, width}
}

// Concurrency is 2: the next batch is begun while one is worked on.
func (d *Dataset) Concurrency() int { return 2 }

// Skipped tells which pictures could not be read so far, by their positions.
func (d *Dataset) Skipped() map[int]error { return d.skipped.All() }

// sample is a picture that is to be read.
type sample struct {
	index int
	how   drawing
	size  Size
	boxes []Box // to be found, in pixels of the resized picture
	truth []annotation.Box

	left, top int             // of what is drawn, in the resized picture
	colour    *transform.Plan // of the stored picture; nil: its colours stay
}

// plan draws what is random of a picture.
func (d *Dataset) plan(i, epoch int) sample {
	p := d.pictures.At(i)
	height, width := p.Height, p.Width
	s := sample{index: i, size: Size{OriginalHeight: height, OriginalWidth: width}}
	var boxes []annotation.Box
	for _, b := range p.Boxes {
		b.Class += d.first
		s.truth = append(s.truth, b)
		b = b.ClippedTo(width, height)
		if b.Crowd || b.Difficult || b.X2 <= b.X1 || b.Y2 <= b.Y1 {
			continue
		}
		boxes = append(boxes, b)
	}
	least := float32(0)
	if epoch > 0 {
		boxes = d.augmented(&s, epoch, boxes)
		if does := d.options.augmentation(); does.crop || does.jitter {
			least = smallest
		}
	} else {
		h, w := d.input.resized(height, width, d.input.MinSize)
		s.place(image.Rect(0, 0, width, height), h, w)
	}
	s.seen(boxes, least)
	return s
}

// Batch reads pictures. One that cannot be read is an error that names it, or left out, as the options say; a batch may
// come out empty then, but it is an error when none of all pictures can be read.
func (d *Dataset) Batch(r data.Request) (*Batch, error) {
	b := &Batch{}
	samples := make([]sample, len(r.Indices))
	for k, i := range r.Indices {
		samples[k] = d.plan(i, r.Epoch)
		b.Side.Height = max(b.Side.Height, canvas(samples[k].size.Height))
		b.Side.Width = max(b.Side.Width, canvas(samples[k].size.Width))
	}
	var pixels []float32
	if r.FirstStage == 0 {
		torch.Unscoped(func() { b.memory = torch.Zeros(torch.Float32, torch.CPU, len(samples), b.Side.Height, b.Side.Width, 3) })
		pixels = torch.SharedSlice[float32](b.memory)
	}
	if err := d.fill(b, pixels, samples); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// fill draws the samples and lists those that could be read, their pixels moved together.
func (d *Dataset) fill(b *Batch, pixels []float32, samples []sample) error {
	size := 3 * b.Side.Height * b.Side.Width
	if pixels != nil {
		failures := make([]error, len(samples))
		var busy sync.WaitGroup
		var next atomic.Int64
		for range min(d.workers, len(samples)) {
			busy.Go(func() {
				draw, stored := newDrawer(d.input), decoded.Get().(*picture.Image)
				defer decoded.Put(stored)
				for k := int(next.Add(1)) - 1; k < len(samples); k = int(next.Add(1)) - 1 {
					failures[k] = d.read(draw, stored, samples[k], pixels[k*size:(k+1)*size], 3*b.Side.Width)
				}
			})
		}
		busy.Wait()
		if err := d.note(samples, failures); err != nil {
			return err
		}
	}
	for k, s := range samples {
		if d.skipped.Why(s.index) != nil {
			continue
		}
		if at := len(b.Index); pixels != nil && at < k {
			copy(pixels[at*size:(at+1)*size], pixels[k*size:])
		}
		b.Index, b.Sizes = append(b.Index, s.index), append(b.Sizes, s.size)
		b.Boxes, b.Truth = append(b.Boxes, s.boxes), append(b.Truth, s.truth)
	}
	if len(b.Index) == 0 && len(samples) > 0 && len(d.skipped.All()) == d.Len() {
		return fmt.Errorf("none of the %d pictures can be read; one of them: %w", d.Len(), d.skipped.Why(samples[0].index))
	}
	return nil
}

// note remembers which pictures could not be read, unless the first of them is an error.
func (d *Dataset) note(samples []sample, failures []error) error {
	for k, err := range failures {
		if err == nil {
			continue
		}
		if !d.options.SkipUnreadable {
			return &vision.UnreadableError{Err: err}
		}
		d.skipped.Note(samples[k].index, err)
	}
	return nil
}

// decoded are pictures as they were stored, for their memory.
var decoded = sync.Pool{New: func() any { return new(picture.Image) }}

// read decodes a picture and draws it.
func (d *Dataset) read(draw *drawer, stored *picture.Image, s sample, into []float32, stride int) (err error) {
	defer func() {
		if p := recover(); p != nil { // of an image's own methods: on this goroutine nobody else could catch it
			err = fmt.Errorf("reading picture %s: panic: %v\n%s", d.pictures.At(s.index).Path, p, debug.Stack())
		}
	}()
	m, err := d.pictures.Read(s.index, picture.Options{Into: stored})
	if err != nil {
		return err
	}
	if m.Height != s.size.OriginalHeight || m.Width != s.size.OriginalWidth {
		return fmt.Errorf("%s has %d x %d pixels, and its boxes were drawn on %d x %d: if it carries an EXIF orientation, "+
			"the boxes may be of the picture before it is turned; correct its size and boxes in the annotations, or the file",
			d.pictures.At(s.index).Path, m.Width, m.Height, s.size.OriginalWidth, s.size.OriginalHeight)
	}
	shown, err := s.coloured(m)
	if shown != m {
		defer decoded.Put(shown)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", d.pictures.At(s.index).Path, err)
	}
	draw.draw(shown, s.how, into[s.top*stride+3*s.left:], stride)
	return nil
}

// Fingerprint tells data sets apart by their pictures' names, sizes and boxes, and by how they become samples, see
// data.Fingerprinter.
func (d *Dataset) Fingerprint() string {
	how := sha256.New()
	o := d.options
	o.Workers = 0 // changes nothing
	fmt.Fprint(how, d.first, d.input, o)
	return fmt.Sprintf("%d pictures, %s, transforms %s", d.Len(), d.ContentHash(), hex.EncodeToString(how.Sum(nil))[:16])
}

// InputKey tells data sets that are not augmented apart by their pictures' files and sizes and by how they become samples,
// see data.Keyed.
func (d *Dataset) InputKey(augmented bool) string {
	if augmented {
		return ""
	}
	h := sha256.New()
	for i := range d.Len() {
		p := d.pictures.At(i)
		stamp := filestamp.Of(p.Path)
		if _, files := d.pictures.(Files); !files || stamp == "" {
			return ""
		}
		fmt.Fprintln(h, stamp, p.Height, p.Width)
	}
	decoder, _ := picture.JPEGDecoder() // an error says that it is not there
	fmt.Fprint(h, d.input, decoder)
	return fmt.Sprintf("%d pictures with boxes, %s", d.Len(), hex.EncodeToString(h.Sum(nil)))
}

// ContentHash tells data sets apart by their pictures' names and sizes and by what is annotated, wherever the files are.
func (d *Dataset) ContentHash() string {
	h := sha256.New()
	for i := range d.Len() {
		p := d.pictures.At(i)
		fmt.Fprintln(h, filepath.Base(p.Path), p.Height, p.Width, p.Boxes)
	}
	return "sha256 " + hex.EncodeToString(h.Sum(nil))[:16]
}
