package vision

import (
	"cmp"
	"errors"
	"fmt"
	"image"
	"strconv"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
)

// Image is a picture in a file, in memory as a file's bytes, or in memory as pixels. It is decoded when it is needed.
type Image struct {
	name string
	file bool // which the errors of read name
	read func(o picture.Options) (*picture.Image, error)
}

// File is the picture in a file: JPEG, PNG, GIF, BMP, WebP, TIFF or netpbm, see package picture.
func File(path string) Image {
	return Image{path, true, func(o picture.Options) (*picture.Image, error) { return picture.Read(path, o) }}
}

// Encoded is a picture as the bytes of a file, such as an upload. name is what errors and predictions call it.
func Encoded(name string, data []byte) Image {
	return Image{name, false, func(o picture.Options) (*picture.Image, error) { return picture.Decode(data, o) }}
}

// Pixels is a picture in memory. Alpha is dropped, as Pillow's convert("RGB") does. The picture must not change while
// it is used. name is what errors and predictions call it.
func Pixels(name string, m image.Image) Image {
	return Image{name, false, func(o picture.Options) (*picture.Image, error) {
		if m == nil {
			return nil, errors.New("the image is nil")
		}
		if o.MinSize != nil { // which draws a training picture's transforms; pixels in memory are at full size
			o.MinSize(m.Bounds().Dx(), m.Bounds().Dy())
		}
		return picture.FromImage(m)
	}}
}

// decode gives the pixels. Errors call an image without a name as other says.
func (m Image) decode(o picture.Options, other string) (decoded *picture.Image, err error) {
	if m.read == nil {
		err = errors.New("there is no image: make one with File, Encoded or Pixels")
	} else {
		decoded, err = m.read(o)
	}
	if err != nil && !m.file {
		err = fmt.Errorf("reading picture %s: %w", cmp.Or(m.name, other), err)
	}
	return decoded, err
}

// Item is an image with what it should give: Class of a classification, Labels where several may hold, Value of a
// regression.
type Item struct {
	Image Image

	Class  int   // the number of the class, from 0
	Labels []int // the numbers of the labels that hold
	Value  float64
}

// pictures are what a data set reads. An album is one.
type pictures interface {
	Len() int
	Name(i int) string
	Picture(i int, o picture.Options) (*picture.Image, error)
}

var _ pictures = (*album.Album)(nil)

// itemPictures are the images of a source of items.
type itemPictures struct{ items data.Source[Item] }

func (p itemPictures) Len() int { return p.items.Len() }

func (p itemPictures) Name(i int) string {
	if item, err := p.items.At(i); err == nil && item.Image.name != "" {
		return item.Image.name
	}
	return fmt.Sprint("image ", i)
}

func (p itemPictures) Picture(i int, o picture.Options) (*picture.Image, error) {
	item, err := p.items.At(i)
	if err != nil {
		return nil, fmt.Errorf("reading image %d: %w", i, err)
	}
	return item.Image.decode(o, strconv.Itoa(i))
}

// NewDataset makes a data set of items for the network: to train on, with random crops unless o says otherwise, and to
// evaluate. What items give besides their image is read now, the images when they are needed.
func (c *Classifier) NewDataset(items data.Source[Item], o DatasetOptions) (*Dataset, error) {
	if items == nil {
		return nil, errors.New("making a data set of images: the source of items is nil")
	}
	targets := make([]objective.Target, items.Len())
	for i := range targets {
		item, err := items.At(i)
		if err != nil {
			return nil, fmt.Errorf("reading image %d: %w", i, err)
		}
		targets[i] = objective.Target{Class: item.Class, Labels: item.Labels, Value: item.Value}
	}
	pictures := itemPictures{items}
	wanted, err := objective.NewTargets(c.ProblemType, len(c.Classes), targets, pictures.Name)
	if err != nil {
		return nil, err
	}
	return newDataset(pictures, wanted, len(c.Classes), c.Input, o)
}

// Name is what errors and predictions call the picture: its path, where it is a file.
func (m Image) Name() string { return m.name }

// Decode gives the pixels.
func (m Image) Decode(o picture.Options) (*picture.Image, error) {
	return m.decode(o, "without a name")
}
