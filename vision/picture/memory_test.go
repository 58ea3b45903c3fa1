package picture

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whatever kind of image holds the colours, they come out, without their alpha.
func TestFromImage(t *testing.T) {
	colours := []color.NRGBA{{10, 20, 30, 255}, {200, 100, 0, 128}, {255, 255, 255, 1}, {7, 8, 9, 255}, {0, 0, 0, 255}, {90, 91, 92, 200}}
	fill := func(m interface {
		image.Image
		Set(x, y int, c color.Color)
	}) image.Image {
		for i, c := range colours {
			m.Set(5+i%3, 6+i/3, c)
		}
		return m
	}
	r := image.Rect(5, 6, 8, 8)
	exact := []byte{10, 20, 30, 200, 100, 0, 255, 255, 255, 7, 8, 9, 0, 0, 0, 90, 91, 92}
	larger := image.NewNRGBA(image.Rect(0, 0, 20, 20))
	fill(larger)
	for name, m := range map[string]image.Image{
		"NRGBA": fill(image.NewNRGBA(r)), "NRGBA64": fill(image.NewNRGBA64(r)), "a part": larger.SubImage(r), "another kind": other{larger, r},
	} {
		got, err := FromImage(m)
		require.NoError(t, err)
		assert.Equal(t, &Image{Width: 3, Height: 2, Pix: exact, FullWidth: 3, FullHeight: 2}, got, name)
	}
	for name, m := range map[string]image.Image{"RGBA": fill(image.NewRGBA(r)), "RGBA64": fill(image.NewRGBA64(r))} {
		got, err := FromImage(m)
		require.NoError(t, err)
		for i, v := range got.Pix {
			if colours[i/3].A > 100 { // with little alpha, little of the colour is kept
				assert.InDelta(t, exact[i], v, 1, "%s %d", name, i)
			}
		}
	}
	grey := image.NewGray(r)
	grey.Pix[4] = 77
	got, err := FromImage(grey)
	require.NoError(t, err)
	assert.Equal(t, []byte{77, 77, 77}, got.Pix[12:15])
	ycc := image.NewYCbCr(r, image.YCbCrSubsampleRatio420)
	for i := range ycc.Y {
		ycc.Y[i] = 50
	}
	for i := range ycc.Cb {
		ycc.Cb[i], ycc.Cr[i] = 128, 128
	}
	got, err = FromImage(ycc)
	require.NoError(t, err)
	assert.Equal(t, []byte{50, 50, 50}, got.Pix[:3])
	_, err = FromImage(image.NewGray(image.Rectangle{}))
	assert.EqualError(t, err, "an image of 0 x 0 pixels: it needs one at least")
}

// other is an image of a kind that this package does not know.
type other struct {
	image.Image
	bounds image.Rectangle
}

func (o other) Bounds() image.Rectangle { return o.bounds }
