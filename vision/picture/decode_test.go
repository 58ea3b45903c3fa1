package picture

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is a picture of testdata, see testdata/pictures.py.
type golden struct {
	File, Format  string
	Width, Height int
	SHA256        string
	RGB           []int // where its pixels are in pictures.rgb.gz, if they are there
	data          []byte
	pixels        []byte
}

var goldens = sync.OnceValues(func() ([]golden, error) {
	text, err := os.ReadFile("testdata/pictures.json")
	if err != nil {
		return nil, err
	}
	var list struct{ Pictures []golden }
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	packed, err := os.Open("testdata/pictures.rgb.gz")
	if err != nil {
		return nil, err
	}
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(z)
	for i := range list.Pictures {
		g := &list.Pictures[i]
		if g.data, err = os.ReadFile(filepath.Join("testdata", g.File)); err != nil {
			return nil, err
		}
		if len(g.RGB) == 2 {
			g.pixels = raw[g.RGB[0]:g.RGB[1]]
		}
	}
	return list.Pictures, err
})

func goldenPictures(t testing.TB) []golden {
	t.Helper()
	list, err := goldens()
	require.NoError(t, err)
	return list
}

func goldenPicture(t testing.TB, file string) golden {
	t.Helper()
	for _, g := range goldenPictures(t) {
		if g.File == file {
			return g
		}
	}
	t.Fatal("no golden " + file)
	return golden{}
}

func least(width, height int) func(int, int) (int, int) {
	return func(int, int) (int, int) { return width, height }
}

func needTurbo(t testing.TB) *turbojpeg {
	t.Helper()
	turbo, err := jpegLibrary()
	require.NoError(t, err)
	if turbo == nil {
		t.Skip("there is no libjpeg-turbo")
	}
	return turbo
}

// The pixels are Pillow's, bit for bit, JPEGs too where libjpeg-turbo is found.
func TestDecodeIsPillow(t *testing.T) {
	require.GreaterOrEqual(t, len(goldenPictures(t)), 50)
	for _, g := range goldenPictures(t) {
		t.Run(g.File, func(t *testing.T) {
			if g.Format == "jpeg" {
				needTurbo(t)
			}
			m, err := Decode(g.data, Options{})
			require.NoError(t, err)
			assert.Equal(t, []int{g.Width, g.Height}, []int{m.Width, m.Height})
			assert.Equal(t, []int{g.Width, g.Height}, []int{m.FullWidth, m.FullHeight})
			if got := fmt.Sprintf("%x", sha256.Sum256(m.Pix)); got != g.SHA256 {
				t.Error("other pixels")
				if g.pixels != nil {
					mean, most := difference(t, m.Pix, g.pixels)
					t.Logf("they differ by %.3f in the mean, by %d at most", mean, most)
				}
			}
		})
	}
}

func difference(t *testing.T, got, want []byte) (mean float64, most int) {
	t.Helper()
	require.Equal(t, len(want), len(got))
	sum := 0
	for i := range got {
		d := max(int(got[i])-int(want[i]), int(want[i])-int(got[i]))
		sum += d
		most = max(most, d)
	}
	return float64(sum) / float64(len(got)), most
}

// Go's inverse DCT rounds otherwise than libjpeg's: 0.17/255 in the mean at the most was seen, and 3/255 in a pixel.
func TestGoJPEGDecoderIsNearPillow(t *testing.T) {
	for _, g := range goldenPictures(t) {
		if g.Format != "jpeg" || g.pixels == nil {
			continue
		}
		t.Run(g.File, func(t *testing.T) {
			m, err := decode(g.data, Options{MinSize: least(1, 0)}, nil)
			require.NoError(t, err)
			assert.Equal(t, []int{g.Width, g.Height}, []int{m.Width, m.Height})
			mean, most := difference(t, m.Pix, g.pixels)
			assert.Less(t, mean, 0.5)
			assert.LessOrEqual(t, most, 4)
		})
	}
}

func TestHeaderAgreesWithDecode(t *testing.T) {
	for _, g := range goldenPictures(t) {
		h, err := DecodeHeader(g.data)
		require.NoError(t, err, g.File)
		assert.Equal(t, []any{g.Format, g.Width, g.Height}, []any{h.Format, h.Width, h.Height}, g.File)
		var orientation int
		if _, err := fmt.Sscanf(g.File, "exif-%d", &orientation); err == nil {
			assert.Equal(t, orientation, h.Orientation, g.File)
		}
	}
}

// A scaled decode covers what is asked for, tells the full size, and shows the same picture.
func TestScaledDecode(t *testing.T) {
	needTurbo(t)
	for _, tt := range []struct {
		file                string
		minWidth, minHeight int
		width, height       int
	}{
		{"photo-420.jpg", 0, 0, 500, 375},
		{"photo-420.jpg", 251, 0, 500, 375},
		{"photo-420.jpg", 250, 188, 250, 188},
		{"photo-420.jpg", 250, 189, 500, 375},
		{"photo-420.jpg", 0, 94, 125, 94},
		{"photo-420.jpg", 63, 47, 63, 47},
		{"photo-420.jpg", 64, 47, 125, 94},
		{"photo-420.jpg", 10000, 1, 500, 375},
		{"photo-progressive.jpg", 50, 38, 50, 38},
		{"exif-6.jpg", 10, 15, 10, 15}, // stored as 30 x 19
		{"exif-6.jpg", 11, 15, 19, 30},
		{"cmyk.jpg", 20, 20, 27, 20},
		{"one-pixel.jpg", 1, 1, 1, 1},
		{"rgb.png", 10, 10, 67, 45}, // not a JPEG
	} {
		g := goldenPicture(t, tt.file)
		m, err := Decode(g.data, Options{MinSize: least(tt.minWidth, tt.minHeight)})
		require.NoError(t, err, tt)
		assert.Equal(t, []int{tt.width, tt.height, g.Width, g.Height},
			[]int{m.Width, m.Height, m.FullWidth, m.FullHeight}, tt)
		full, err := Decode(g.data, Options{})
		require.NoError(t, err)
		// The mean of a quarter of the picture moves by what lies at its edge only: more in a small picture.
		moves := 4.0
		if g.Width < 100 {
			moves = 12
		}
		for _, corner := range [][2]float64{{0, 0}, {0.5, 0}, {0, 0.5}, {0.5, 0.5}} {
			if tt.file != "one-pixel.jpg" {
				assert.InDeltaSlice(t, quarterMean(full, corner), quarterMean(m, corner), moves, tt)
			}
		}
	}
}

func quarterMean(m *Image, corner [2]float64) []float64 {
	x0, y0 := int(corner[0]*float64(m.Width)), int(corner[1]*float64(m.Height))
	sum := make([]float64, 3)
	for y := range m.Height / 2 {
		for x := range m.Width / 2 {
			for c := range 3 {
				sum[c] += float64(m.Pix[3*((y0+y)*m.Width+x0+x)+c])
			}
		}
	}
	for c := range sum {
		sum[c] /= float64(m.Height / 2 * (m.Width / 2))
	}
	return sum
}

func TestDecodeIntoUsesMemoryAgain(t *testing.T) {
	needTurbo(t)
	g := goldenPicture(t, "photo-420.jpg")
	var m Image
	allocs := testing.AllocsPerRun(20, func() {
		got, err := Decode(g.data, Options{Into: &m})
		if err != nil || got != &m {
			t.Fatal(got, err)
		}
	})
	assert.LessOrEqual(t, allocs, 5.0)
	// A smaller picture after a larger one, upright after turned, black canvas after white.
	for _, file := range []string{"exif-5.jpg", "on-canvas.gif", "animated.webp", "one-pixel.png", "cmyk.jpg", "lossy.webp"} {
		g := goldenPicture(t, file)
		for i := range m.Pix {
			m.Pix[i] = 255
		}
		_, err := Decode(g.data, Options{Into: &m})
		require.NoError(t, err)
		assert.Equal(t, g.SHA256, fmt.Sprintf("%x", sha256.Sum256(m.Pix)), file)
	}
}

func TestDecodeFromManyGoroutines(t *testing.T) {
	list := goldenPictures(t)
	alone := make([]*Image, len(list))
	for i, g := range list {
		var err error
		alone[i], err = Decode(g.data, Options{})
		require.NoError(t, err)
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			var m Image
			for i := range 2 * len(list) {
				k := (i*7 + worker*13) % len(list)
				if _, err := Decode(list[k].data, Options{Into: &m}); err != nil {
					t.Error(list[k].File, err)
				} else if !bytes.Equal(m.Pix, alone[k].Pix) {
					t.Error(list[k].File, "other pixels than alone")
				}
				if _, err := Decode(list[k].data[:len(list[k].data)/2], Options{Into: &m}); err == nil && list[k].File != "animated.gif" {
					t.Error(list[k].File, "half of it is decoded")
				}
			}
		})
	}
	wg.Wait()
}

func TestMaxPixels(t *testing.T) {
	g := goldenPicture(t, "rgb.png")
	_, err := Decode(g.data, Options{MaxPixels: 67 * 45})
	require.NoError(t, err)
	_, err = Decode(g.data, Options{MaxPixels: 67*45 - 1})
	require.EqualError(t, err, "PNG: its header promises 67 x 45 pixels, more than the 3014 that are allowed (MaxPixels)")
}

func TestRead(t *testing.T) {
	g := goldenPicture(t, "palette.gif")
	m, err := Read("testdata/palette.gif", Options{})
	require.NoError(t, err)
	assert.Equal(t, g.SHA256, fmt.Sprintf("%x", sha256.Sum256(m.Pix)))
}
