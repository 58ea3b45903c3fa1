package transform

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"

	"github.com/thaw-ml/thaw/vision/picture"
)

// Crop keeps a box of the picture. What lies outside the picture is black.
type Crop struct{ Box image.Rectangle }

// Size implements Operation.
func (c Crop) Size(int, int) (int, int) { return c.Box.Dx(), c.Box.Dy() }

// Apply implements Operation.
func (c Crop) Apply(dst, src *picture.Image) error {
	if err := begin("Crop", dst, src, c.Box.Dx(), c.Box.Dy()); err != nil {
		return err
	}
	inner := c.Box.Intersect(image.Rect(0, 0, src.Width, src.Height))
	if inner != c.Box {
		clear(dst.Pix)
	}
	for y := inner.Min.Y; y < inner.Max.Y; y++ {
		copy(dst.Pix[3*((y-c.Box.Min.Y)*dst.Width+inner.Min.X-c.Box.Min.X):],
			src.Pix[3*(y*src.Width+inner.Min.X):3*(y*src.Width+inner.Max.X)])
	}
	return nil
}

// Resize resizes the picture as torchvision's Resize does on Pillow's pictures, always with antialiasing.
type Resize struct {
	Short         int // the shorter side becomes Short pixels, the longer keeps its proportion, rounded down; or, where 0,
	Width, Height int // the picture becomes Width x Height pixels
	Filter        Filter
	Exact         bool // see Resample
}

// Draw implements Transform.
func (r Resize) Draw(plan *Plan, _ *rand.Rand) error {
	w, h := plan.Size()
	width, height := r.Width, r.Height
	switch {
	case r.Short < 0 || r.Short > 0 && (width != 0 || height != 0):
		return fmt.Errorf("Resize: Short %d with Width %d and Height %d: set Short alone, or the other two", r.Short, width, height)
	case r.Short > 0 && w <= h:
		width, height = r.Short, longer(r.Short, h, w)
	case r.Short > 0:
		width, height = longer(r.Short, w, h), r.Short
	case width <= 0 || height <= 0:
		return fmt.Errorf("Resize: %d x %d pixels: set Short, or both Width and Height", width, height)
	}
	if width == w && height == h {
		return nil
	}
	plan.Add(Resample{Box: image.Rect(0, 0, w, h), Width: width, Height: height, Window: image.Rect(0, 0, width, height),
		Filter: r.Filter, Exact: r.Exact})
	return nil
}

// longer is the longer side of a picture resized so that its shorter side is size.
func longer(size, long, short int) int { return int(float64(size) * float64(long) / float64(short)) }

// CenterCrop keeps Width x Height pixels from the picture's middle. A picture that is smaller gets black margins, as
// with torchvision.
type CenterCrop struct{ Width, Height int }

// Draw implements Transform.
func (c CenterCrop) Draw(plan *Plan, _ *rand.Rand) error {
	if err := checkSize("CenterCrop", c.Width, c.Height); err != nil {
		return err
	}
	w, h := plan.Size()
	if w == c.Width && h == c.Height {
		return nil
	}
	x, y := centered(w, c.Width), centered(h, c.Height)
	plan.Add(Crop{image.Rect(x, y, x+c.Width, y+c.Height)})
	return nil
}

// centered is where a crop of a side starts. Python rounds half to even.
func centered(side, crop int) int {
	if crop > side {
		return -((crop - side) / 2)
	}
	return int(math.RoundToEven(float64(side-crop) / 2))
}

// RandomResizedCrop cuts out a random part and resizes it to Width x Height pixels (torchvision's RandomResizedCrop;
// the crop of Szegedy et al. 2015, https://arxiv.org/abs/1409.4842).
type RandomResizedCrop struct {
	Width, Height int
	Scale         [2]float64 // bounds of the part's share of the picture's area; 0, 0 stands for 0.08, 1
	Ratio         [2]float64 // bounds of the part's width / height, drawn on a log scale; 0, 0 stands for 3/4, 4/3
	Filter        Filter
	Exact         bool // see Resample
}

// Draw implements Transform.
func (r RandomResizedCrop) Draw(plan *Plan, rng *rand.Rand) error {
	if err := checkSize("RandomResizedCrop", r.Width, r.Height); err != nil {
		return err
	}
	w, h := plan.Size()
	box, err := r.Box(rng, w, h)
	if err != nil {
		return err
	}
	plan.Add(Resample{Box: box, Width: r.Width, Height: r.Height, Window: image.Rect(0, 0, r.Width, r.Height), Filter: r.Filter,
		Exact: r.Exact})
	return nil
}

// Box draws the part of a picture of width x height pixels: ten tries, then the largest part in the middle whose ratio
// is within bounds.
func (r RandomResizedCrop) Box(rng *rand.Rand, width, height int) (image.Rectangle, error) {
	if width <= 0 || height <= 0 {
		return image.Rectangle{}, fmt.Errorf("RandomResizedCrop: a picture of %d x %d pixels: it needs one at least", width, height)
	}
	scale, ratio := r.Scale, r.Ratio
	if scale == [2]float64{} {
		scale = [2]float64{0.08, 1}
	}
	if ratio == [2]float64{} {
		ratio = [2]float64{3. / 4, 4. / 3}
	}
	if err := checkAreas("RandomResizedCrop", scale, ratio); err != nil {
		return image.Rectangle{}, err
	}
	for range 10 {
		w, h := drawArea(rng, width, height, scale, ratio)
		if 0 < w && w <= width && 0 < h && h <= height {
			y, x := rng.IntN(height-h+1), rng.IntN(width-w+1)
			return image.Rect(x, y, x+w, y+h), nil
		}
	}
	w, h := width, height
	switch in := float64(width) / float64(height); {
	case in < ratio[0]:
		h = int(math.RoundToEven(float64(w) / ratio[0]))
	case in > ratio[1]:
		w = int(math.RoundToEven(float64(h) * ratio[1]))
	}
	w, h = max(w, 1), max(h, 1)
	x, y := (width-w)/2, (height-h)/2
	return image.Rect(x, y, x+w, y+h), nil
}

// checkAreas checks the bounds of a random part.
func checkAreas(name string, scale, ratio [2]float64) error {
	if !(0 < scale[0] && scale[0] <= scale[1] && scale[1] <= 1) {
		return fmt.Errorf("%s: Scale %v: it needs 0 < low <= high <= 1", name, scale)
	}
	if !(0 < ratio[0] && ratio[0] <= ratio[1] && ratio[1] <= math.MaxFloat32) {
		return fmt.Errorf("%s: Ratio %v: it needs 0 < low <= high", name, ratio)
	}
	return nil
}

// drawArea draws the size of a part: its area uniformly, its ratio uniformly on a log scale. It may be too large.
func drawArea(rng *rand.Rand, width, height int, scale, ratio [2]float64) (w, h int) {
	area := float64(width) * float64(height) * uniform(rng, scale[0], scale[1])
	aspect := math.Exp(uniform(rng, math.Log(ratio[0]), math.Log(ratio[1])))
	return int(math.RoundToEven(math.Sqrt(area * aspect))), int(math.RoundToEven(math.Sqrt(area / aspect)))
}
