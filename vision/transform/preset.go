package transform

import "fmt"

// Mean and Std are ImageNet's, of samples scaled to 0..1, red, green and blue: networks trained on it take
// (v/255 - Mean) / Std.
var (
	Mean = [3]float32{0.485, 0.456, 0.406}
	Std  = [3]float32{0.229, 0.224, 0.225}
)

// MeanColor is Mean as a colour.
var MeanColor = [3]byte{124, 116, 104}

// Evaluation is torchvision's preset for evaluation: the shorter side made resize pixels, and crop x crop pixels of the
// middle. It gives Pillow's bytes.
func Evaluation(resize, crop int) Pipeline {
	return Pipeline{Resize{Short: resize, Exact: true}, CenterCrop{crop, crop}}
}

// Policy names an automatic augmentation, as torchvision's references do.
type Policy string

// The policies.
const (
	NoPolicy      Policy = ""
	RandPolicy    Policy = "ra"
	TrivialPolicy Policy = "ta_wide"
)

// Training are the settings of torchvision's preset for training (references/classification/presets.py).
type Training struct {
	Size      int         // the result is Size x Size pixels
	Scale     [2]float64  // see RandomResizedCrop; 0, 0 stands for 0.08, 1
	Flip      float64     // probability of swapping left and right
	Jitter    ColorJitter // not in torchvision's preset; before Policy
	Policy    Policy
	Magnitude int     // of RandAugment
	Erase     float64 // probability of erasing a box
	Filter    Filter
}

// DefaultTraining are torchvision's defaults: a random crop, swapped in one of two cases, RandAugment of magnitude 9 if
// it is chosen.
func DefaultTraining(size int) Training { return Training{Size: size, Flip: 0.5, Magnitude: 9} }

// Pipeline are the transforms of the settings.
func (t Training) Pipeline() (Pipeline, error) {
	p := Pipeline{RandomResizedCrop{Width: t.Size, Height: t.Size, Scale: t.Scale, Filter: t.Filter}}
	if t.Flip != 0 {
		p = append(p, RandomHorizontalFlip{t.Flip})
	}
	if t.Jitter != (ColorJitter{}) {
		p = append(p, t.Jitter)
	}
	switch t.Policy {
	case NoPolicy:
	case RandPolicy:
		p = append(p, RandAugment{Magnitude: t.Magnitude})
	case TrivialPolicy:
		p = append(p, TrivialAugmentWide{})
	default:
		return nil, fmt.Errorf("Training: there is no policy %q: it is empty, %q or %q", t.Policy, RandPolicy, TrivialPolicy)
	}
	if t.Erase != 0 {
		p = append(p, RandomErasing{Probability: t.Erase, Color: MeanColor})
	}
	return p, nil
}
