package transform_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"image"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

// result is what torchvision made: a hash of all bytes, and a sample of them.
type result struct {
	Source        string
	Width, Height int
	SHA256        string
	Step          int
	Sample        string
}

type golden struct {
	Sources []struct {
		Name, SHA256  string
		Width, Height int
		RGB           [2]int
	}
	Evaluation []struct {
		result
		Resize, Crop int
	}
	Resized []struct {
		result
		Filter string
	}
	Orders []struct {
		result
		Filter string
		From   [2]int
	}
	Crops []struct {
		result
		Filter string
		Box    [4]int
	}
	Centered   []result
	Operations []struct {
		result
		Operation string
		Arguments []float64
	}
	Magnitudes []struct {
		Wide                bool
		Bins, Width, Height int
		Names               []string
		Signed              []bool
		Magnitudes          [][]float64
	}
	Fallbacks []struct {
		Width, Height int
		Box           [4]int
	}
	Cuts []struct {
		Lambda, Adjusted    float64
		X, Y, Width, Height int
		Box                 [4]int
	}
	Mixed struct {
		Batch, Labels, Pasted []int
		Box                   [4]int
		Lambda                float64
		Targets               []float32
	}
}

func rectangle(box [4]int) image.Rectangle { return image.Rect(box[0], box[1], box[2], box[3]) }

// load reads the golden file and its source pictures, once.
var load = sync.OnceValues(func() (func(t testing.TB) *golden, map[string]*picture.Image) {
	var content golden
	var failure string
	sources := map[string]*picture.Image{}
	func() {
		f, err := os.Open("testdata/sources.rgb.gz")
		if err != nil {
			failure = err.Error()
			return
		}
		defer f.Close()
		r, err := gzip.NewReader(f)
		if err != nil {
			failure = err.Error()
			return
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			failure = err.Error()
			return
		}
		content = torchtest.Golden[golden](quiet{}, "transform.json.gz")
		for _, s := range content.Sources {
			p := &picture.Image{Width: s.Width, Height: s.Height}
			switch {
			case s.SHA256 == "":
				p.Pix = raw[s.RGB[0]:s.RGB[1]]
			case s.Name == "cube":
				for i := range 64 * 64 * 64 {
					p.Pix = append(p.Pix, byte(i%64*4), byte(i/64%64*4), byte(i/4096*4+3))
				}
			case s.Name == "flat":
				for range s.Width * s.Height {
					p.Pix = append(p.Pix, 10, 200, 77)
				}
			default:
				p = synthetic(s.Width, s.Height)
			}
			if hash := sha256.Sum256(p.Pix); s.SHA256 != "" && hex.EncodeToString(hash[:]) != s.SHA256 {
				failure = "the picture " + s.Name + " is another than the generator's"
			}
			sources[s.Name] = p
		}
	}()
	return func(t testing.TB) *golden {
		t.Helper()
		require.Empty(t, failure)
		return &content
	}, sources
})

// quiet lets the golden file be read outside a test.
type quiet struct{ testing.TB }

func (quiet) Helper()                   {}
func (quiet) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (quiet) FailNow()                  { panic("no golden file") }

func goldens(t testing.TB) (*golden, map[string]*picture.Image) {
	t.Helper()
	content, sources := load()
	return content(t), sources
}

// synthetic is the generator's picture of slopes, edges and noise.
func synthetic(width, height int) *picture.Image {
	p := &picture.Image{Width: width, Height: height}
	for y := range uint32(height) {
		for x := range uint32(width) {
			for c := range uint32(3) {
				switch (x + y) / 32 % 3 {
				case 0:
					slope := int((x*(3+c)+y*(5-c))/4%511) - 255
					p.Pix = append(p.Pix, byte(max(slope, -slope)))
				case 1:
					p.Pix = append(p.Pix, byte(255*((x/8+y/5+c)&1)))
				default:
					p.Pix = append(p.Pix, byte((x*73856093^y*19349663^c*83492791)*2654435761>>13))
				}
			}
		}
	}
	return p
}

// same fails when a picture is not, byte for byte, what torchvision made.
func (r result) same(t *testing.T, got *picture.Image) bool {
	t.Helper()
	hash := sha256.Sum256(got.Pix)
	if got.Width == r.Width && got.Height == r.Height && hex.EncodeToString(hash[:]) == r.SHA256 {
		return true
	}
	want, err := base64.StdEncoding.DecodeString(r.Sample)
	require.NoError(t, err)
	var worst, n, total int
	for i, v := range want {
		if i*r.Step < len(got.Pix) {
			d := int(v) - int(got.Pix[i*r.Step])
			worst, total = max(worst, d, -d), total+max(d, -d)
			if d != 0 {
				n++
			}
		}
	}
	return assert.Fail(t, "not torchvision's bytes", "%d x %d, want %d x %d; of %d samples %d differ, by up to %d, by %d in all",
		got.Width, got.Height, r.Width, r.Height, len(want), n, worst, total)
}

func apply(t *testing.T, p transform.Pipeline, src *picture.Image) *picture.Image {
	t.Helper()
	dst := new(picture.Image)
	require.NoError(t, p.Apply(dst, src, rand.New(rand.NewPCG(1, 2))))
	return dst
}

func TestEvaluationGivesTorchvisionsBytes(t *testing.T) {
	g, sources := goldens(t)
	require.GreaterOrEqual(t, len(sources), 50)
	for _, c := range g.Evaluation {
		t.Run(fmt.Sprintf("%s/%d", c.Source, c.Resize), func(t *testing.T) {
			c.same(t, apply(t, transform.Evaluation(c.Resize, c.Crop), sources[c.Source]))
		})
	}
}

var filters = map[string]transform.Filter{"bilinear": transform.Bilinear, "bicubic": transform.Bicubic, "nearest": transform.Nearest}

func TestResizeGivesPillowsBytes(t *testing.T) {
	g, sources := goldens(t)
	for _, c := range g.Resized {
		t.Run(fmt.Sprintf("%s to %d x %d %s", c.Source, c.Width, c.Height, c.Filter), func(t *testing.T) {
			resize := transform.Resize{Width: c.Width, Height: c.Height, Filter: filters[c.Filter], Exact: true}
			c.same(t, apply(t, transform.Pipeline{resize}, sources[c.Source]))
		})
	}
}

func TestPassesRunInPillowsOrder(t *testing.T) {
	g, _ := goldens(t)
	for _, c := range g.Orders {
		t.Run(fmt.Sprintf("%v to %d x %d %s", c.From, c.Width, c.Height, c.Filter), func(t *testing.T) {
			resize := transform.Resize{Width: c.Width, Height: c.Height, Filter: filters[c.Filter], Exact: true}
			c.same(t, apply(t, transform.Pipeline{resize}, synthetic(c.From[0], c.From[1])))
		})
	}
}

func TestCroppingThenResizingGivesPillowsBytes(t *testing.T) {
	g, sources := goldens(t)
	for _, c := range g.Crops {
		t.Run(fmt.Sprintf("%s %v %s", c.Source, c.Box, c.Filter), func(t *testing.T) {
			op := transform.Resample{Box: rectangle(c.Box), Width: c.Width, Height: c.Height,
				Window: image.Rect(0, 0, c.Width, c.Height), Filter: filters[c.Filter], Exact: true}
			dst := new(picture.Image)
			require.NoError(t, op.Apply(dst, sources[c.Source]))
			c.same(t, dst)
		})
	}
}

func TestCenterCropGivesTorchvisionsBytes(t *testing.T) {
	g, sources := goldens(t)
	for _, c := range g.Centered {
		t.Run(fmt.Sprintf("%s %d x %d", c.Source, c.Width, c.Height), func(t *testing.T) {
			c.same(t, apply(t, transform.Pipeline{transform.CenterCrop{Width: c.Width, Height: c.Height}}, sources[c.Source]))
		})
	}
}

// operation is the operation for a golden's name and arguments, on a picture.
func operation(t *testing.T, name string, a []float64, src *picture.Image) transform.Operation {
	switch name {
	case "Brightness":
		return transform.Brightness{Factor: a[0]}
	case "Contrast":
		return transform.Contrast{Factor: a[0]}
	case "Saturation":
		return transform.Saturation{Factor: a[0]}
	case "Sharpness":
		return transform.Sharpness{Factor: a[0]}
	case "Hue":
		return transform.Hue{Shift: a[0]}
	case "Posterize":
		return transform.Posterize{Bits: int(a[0])}
	case "Solarize":
		return transform.Solarize{Threshold: a[0]}
	case "AutoContrast":
		return transform.AutoContrast{}
	case "Equalize":
		return transform.Equalize{}
	case "Invert":
		return transform.Invert{}
	case "FlipHorizontal":
		return transform.FlipHorizontal{}
	case "FlipVertical":
		return transform.FlipVertical{}
	case "ShearX":
		return transform.Shear(a[0], 0)
	case "ShearY":
		return transform.Shear(0, a[0])
	case "TranslateX":
		return transform.Translate(int(a[0]), 0)
	case "TranslateY":
		return transform.Translate(0, int(a[0]))
	case "Rotate":
		return transform.Rotate(a[0], src.Width, src.Height)
	}
	require.Fail(t, "no operation "+name)
	return nil
}

func TestOperationsGiveTorchvisionsBytes(t *testing.T) {
	g, sources := goldens(t)
	dst := new(picture.Image)
	for _, c := range g.Operations {
		t.Run(fmt.Sprintf("%s%v/%s", c.Operation, c.Arguments, c.Source), func(t *testing.T) {
			src := sources[c.Source]
			require.NoError(t, operation(t, c.Operation, c.Arguments, src).Apply(dst, src))
			c.same(t, dst)
		})
	}
}

func TestMagnitudesAreTorchvisions(t *testing.T) {
	g, _ := goldens(t)
	for _, c := range g.Magnitudes {
		for i, want := range c.Magnitudes {
			assert.Equal(t, c.Signed[i], transform.Signed(i), c.Names[i])
			for bin, v := range want {
				got := transform.Magnitude(c.Wide, c.Width, c.Height, i, bin, c.Bins)
				assert.Equal(t, v, got, "%s, wide %v, bin %d of %d, %d x %d", c.Names[i], c.Wide, bin, c.Bins, c.Width, c.Height)
			}
		}
	}
}

func TestCropFallsBackAsTorchvision(t *testing.T) {
	g, _ := goldens(t)
	for _, c := range g.Fallbacks {
		box, err := transform.RandomResizedCrop{Scale: [2]float64{1, 1}}.Box(rand.New(rand.NewPCG(1, 1)), c.Width, c.Height)
		require.NoError(t, err)
		assert.Equal(t, rectangle(c.Box), box, "%d x %d", c.Width, c.Height)
	}
}

func TestCutMixBoxesAreTorchvisions(t *testing.T) {
	g, _ := goldens(t)
	for _, c := range g.Cuts {
		half := 0.5 * math.Sqrt(1-c.Lambda)
		mix := transform.CutAt(c.X, c.Y, int(half*float64(c.Width)), int(half*float64(c.Height)), c.Width, c.Height)
		want := rectangle(c.Box)
		assert.Equal(t, want.Empty(), mix.Box.Empty())
		if !want.Empty() {
			assert.Equal(t, want, mix.Box)
		}
		assert.InDelta(t, c.Adjusted, mix.Lambda, 1e-15)
	}
}
