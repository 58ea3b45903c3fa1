package transform

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
)

// Mix is how the samples of one batch are mixed: every sample with the one before it, the first with the last (roll by
// one, as torchvision's v2.MixUp and v2.CutMix), so that batches have to be shuffled.
type Mix struct {
	Lambda float64         // a sample's own share, 0 to 1, of its picture and its target
	Box    image.Rectangle // CutMix: the part that comes from the other sample. Empty for MixUp
}

// MixUp draws weighted means of pictures (Zhang et al. 2017, https://arxiv.org/abs/1710.09412).
type MixUp struct {
	Alpha float64 // of the Beta(Alpha, Alpha) that Lambda is drawn from; above 0
}

// Draw draws a batch's mixture of floating-point pictures x: Lambda x + (1-Lambda) roll(x, 1).
func (m MixUp) Draw(rng *rand.Rand) (Mix, error) {
	lambda, err := drawBeta("MixUp", rng, m.Alpha)
	return Mix{Lambda: lambda}, err
}

// CutMix draws boxes that are pasted from one picture to another (Yun et al. 2019, https://arxiv.org/abs/1905.04899).
type CutMix struct {
	Alpha float64 // of the Beta(Alpha, Alpha) that the box's area is drawn from; above 0
}

// Draw draws the mixture of a batch of width x height pixels. Lambda is adjusted to the area of the box within the
// picture. Apply it with [Mix.Paste].
func (c CutMix) Draw(rng *rand.Rand, width, height int) (Mix, error) {
	if err := checkSize("CutMix", width, height); err != nil {
		return Mix{}, err
	}
	lambda, err := drawBeta("CutMix", rng, c.Alpha)
	if err != nil {
		return Mix{}, err
	}
	x, y := rng.IntN(width), rng.IntN(height)
	half := 0.5 * math.Sqrt(1-lambda)
	return cutAt(x, y, int(half*float64(width)), int(half*float64(height)), width, height), nil
}

func cutAt(x, y, halfWidth, halfHeight, width, height int) Mix {
	box := image.Rect(x-halfWidth, y-halfHeight, x+halfWidth, y+halfHeight).Intersect(image.Rect(0, 0, width, height))
	return Mix{Lambda: 1 - float64(box.Dx()*box.Dy())/float64(width*height), Box: box}
}

// Paste applies CutMix's mixture to the pixels of a batch, [N, height, width, 3], in place. With an empty Box nothing
// changes.
func (m Mix) Paste(batch []byte, width, height int) error {
	if err := checkSize("CutMix", width, height); err != nil {
		return err
	}
	size := 3 * width * height
	if len(batch)%size != 0 {
		return fmt.Errorf("CutMix: %d bytes are no whole number of pictures of %d x %d pixels", len(batch), width, height)
	}
	if !m.Box.In(image.Rect(0, 0, width, height)) {
		return fmt.Errorf("CutMix: the box %v does not lie within pictures of %d x %d pixels", m.Box, width, height)
	}
	n := len(batch) / size
	for y := m.Box.Min.Y; y < m.Box.Max.Y && n > 1; y++ {
		low, high := 3*(y*width+m.Box.Min.X), 3*(y*width+m.Box.Max.X)
		// From the last down, so that each still has its own pixels when it is copied from; the last one's are set
		// aside.
		aside := append([]byte(nil), batch[(n-1)*size+low:(n-1)*size+high]...)
		for i := n - 1; i > 0; i-- {
			copy(batch[i*size+low:i*size+high], batch[(i-1)*size+low:])
		}
		copy(batch[low:high], aside)
	}
	return nil
}

// Targets are the mixed one-hot targets, [N, classes] row by row, for the samples' classes.
func (m Mix) Targets(labels []int, classes int) ([]float32, error) {
	if classes <= 0 || len(labels) > math.MaxInt32/classes {
		return nil, fmt.Errorf("Mix: targets for %d samples of %d classes", len(labels), classes)
	}
	targets := make([]float32, len(labels)*classes)
	for i, label := range labels {
		if label < 0 || label >= classes {
			return nil, fmt.Errorf("Mix: sample %d is of class %d, and there are %d classes, counted from 0", i, label, classes)
		}
		other := labels[(i+len(labels)-1)%len(labels)]
		if other < 0 || other >= classes {
			continue // reported in its own turn
		}
		targets[i*classes+other] = float32(1 - m.Lambda)
		targets[i*classes+label] += float32(m.Lambda)
	}
	return targets, nil
}

// drawBeta draws from Beta(alpha, alpha) as a ratio of gammas, by their logarithms: both gammas of a small alpha may be
// too small for a float64.
func drawBeta(name string, rng *rand.Rand, alpha float64) (float64, error) {
	if !(alpha > 0 && alpha <= math.MaxFloat32) {
		return 0, fmt.Errorf("%s: Alpha %v: it needs a finite number above 0", name, alpha)
	}
	return 1 / (1 + math.Exp(logGamma(rng, alpha)-logGamma(rng, alpha))), nil
}

// logGamma draws the logarithm of a Gamma(shape, 1) (Marsaglia and Tsang 2000, section 8 for shapes below 1).
func logGamma(rng *rand.Rand, shape float64) float64 {
	boost := 0.0
	if shape < 1 {
		boost = math.Log(1-rng.Float64()) / shape
		shape++
	}
	d := shape - 1./3
	c := 1 / math.Sqrt(9*d)
	for {
		x := rng.NormFloat64()
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v = v * v * v
		if math.Log(1-rng.Float64()) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return math.Log(d*v) + boost
		}
	}
}
