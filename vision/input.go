package vision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/vision/transform"
)

// Input is what a network sees of a picture in evaluation: its shorter side made Resize pixels (antialiased, as Pillow
// does it), Crop x Crop pixels of the middle, scaled to 0..1 and normalised with Mean and Std.
type Input struct {
	Resize        int        `json:"resize"`
	Crop          int        `json:"crop"`
	Interpolation string     `json:"interpolation,omitempty"` // "bilinear", also "", "bicubic" or "nearest"
	Mean          [3]float64 `json:"mean"`
	Std           [3]float64 `json:"std"`
}

// interpolations are the filters' names, by transform.Filter.
var interpolations = []string{transform.Bilinear: "bilinear", transform.Bicubic: "bicubic", transform.Nearest: "nearest"}

// filter is how pictures are resized.
func (in Input) filter() transform.Filter {
	return transform.Filter(max(slices.Index(interpolations, in.Interpolation), 0))
}

// Filter is its name: "bilinear", "bicubic" or "nearest".
func (in Input) Filter() string { return interpolations[in.filter()] }

// imageNet is the input of torchvision's first checkpoints, and of most networks trained on ImageNet.
func imageNet() Input {
	return Input{Resize: 256, Crop: 224, Mean: [3]float64{0.485, 0.456, 0.406}, Std: [3]float64{0.229, 0.224, 0.225}}
}

// inputOf is what a checkpoint of the registry was trained for.
func inputOf(m hub.Model) Input {
	in := Input{Resize: m.Input.Resize, Crop: m.Input.Crop, Mean: m.Input.Mean, Std: m.Input.Std}
	in.interpolate(m.Input.Interpolation, func(string) {}) // the registry has no other
	return in
}

// Sized is the input with another crop of so many pixels a side, and another length of the shorter side before; 0
// leaves one as it is, but the shorter side becomes 8/7 of a crop that is given alone (256 for 224, as Krizhevsky et
// al. 2012).
func (in Input) Sized(crop, resize int) Input {
	switch {
	case crop != 0 && resize != 0:
		in.Crop, in.Resize = crop, resize
	case crop != 0:
		in.Crop, in.Resize = crop, (crop*8+3)/7
	case resize != 0:
		in.Resize = resize
	}
	return in
}

func (in Input) check() error {
	if in.Crop < 1 || in.Resize < 1 || in.Crop > 1<<14 || in.Resize > 1<<14 {
		return fmt.Errorf("an input of %d pixels cut out of %d", in.Crop, in.Resize)
	}
	for c := range in.Std {
		if !(in.Std[c] > 0) {
			return fmt.Errorf("an input with the standard deviation %v", in.Std)
		}
	}
	if in.Interpolation != "" && !slices.Contains(interpolations, in.Interpolation) {
		return fmt.Errorf("an input with the interpolation %q: there are %s", in.Interpolation, strings.Join(interpolations, ", "))
	}
	return nil
}

// evaluation is what is done to every picture that is measured or predicted.
func (in Input) evaluation() transform.Pipeline {
	return transform.Pipeline{
		transform.Resize{Short: in.Resize, Filter: in.filter(), Exact: true},
		transform.CenterCrop{Width: in.Crop, Height: in.Crop},
	}
}

// training is what is done to pictures that are trained on.
func (in Input) training(p DatasetOptions) (transform.Pipeline, error) {
	t := transform.DefaultTraining(in.Crop)
	t.Scale, t.Erase, t.Filter = p.Scale, p.Erase, in.filter()
	switch p.Augment {
	case "none", "flip":
		pipeline := in.evaluation()
		if p.Augment == "flip" {
			pipeline = append(pipeline, transform.RandomHorizontalFlip{Probability: 0.5})
		}
		if p.Erase > 0 {
			pipeline = append(pipeline, transform.RandomErasing{Probability: p.Erase, Color: transform.MeanColor})
		}
		return pipeline, nil
	case "randaugment":
		t.Policy = transform.RandPolicy
	case "trivialaugment":
		t.Policy = transform.TrivialPolicy
	}
	return t.Pipeline()
}
