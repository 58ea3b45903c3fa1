package picture

import (
	"bytes"
	"image"
	"math/rand/v2"
	"runtime"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func needParts(t testing.TB) *turbojpeg {
	t.Helper()
	turbo := needTurbo(t)
	if turbo.version3 == nil {
		t.Skip("this libjpeg-turbo decodes whole pictures only")
	}
	return turbo
}

func boxed(box image.Rectangle) func(int, int) image.Rectangle {
	return func(int, int) image.Rectangle { return box }
}

// encode makes a JPEG of noise over a slope, with colour sampled as TurboJPEG numbers it: 0 is 4:4:4, 1 4:2:2, 2 4:2:0, 3 grey,
// 4 4:4:0, 5 4:1:1.
func encode(t *testing.T, turbo *turbojpeg, width, height, sampling int, progressive bool) []byte {
	t.Helper()
	library, err := purego.Dlopen(turbo.path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	require.NoError(t, err)
	function := func(name string) uintptr {
		f, err := purego.Dlsym(library, name)
		require.NoError(t, err)
		return f
	}
	rng := rand.New(rand.NewPCG(uint64(width), uint64(height)))
	pix := make([]byte, 3*width*height)
	for i := range pix {
		pix[i] = byte(i*200/len(pix) + rng.IntN(56))
	}
	handle, _, _ := purego.SyscallN(function("tjInitCompress"))
	require.NotZero(t, handle)
	defer purego.SyscallN(function("tjDestroy"), handle)
	out := make([]byte, 8*len(pix)+4096)
	at, size := unsafe.Pointer(unsafe.SliceData(out)), uintptr(len(out))
	const noRealloc, progressiveFlag = 1024, 16384
	flags := uintptr(noRealloc)
	if progressive {
		flags |= progressiveFlag
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(at)
	result, _, _ := purego.SyscallN(function("tjCompress2"), handle, uintptr(unsafe.Pointer(unsafe.SliceData(pix))), uintptr(width), 0,
		uintptr(height), pixelRGB, uintptr(unsafe.Pointer(&at)), uintptr(unsafe.Pointer(&size)), uintptr(sampling), 85, flags)
	require.Zero(t, int32(result))
	return out[:size]
}

// A part of a JPEG holds the box that was asked for, and the pixels that the whole has there: however its colour is sampled,
// whatever its size, turned or not, at any scale.
func TestPartsAreTheWhole(t *testing.T) {
	turbo := needParts(t)
	files := map[string][]byte{}
	for _, g := range goldenPictures(t) {
		if g.Format == "jpeg" {
			files[g.File] = g.data
		}
	}
	for sampling := range 6 {
		for i, size := range []image.Point{{131, 97}, {64, 48}, {33, 120}, {250, 17}, {35, 35}} {
			name := []string{"444", "422", "420", "grey", "440", "411"}[sampling]
			files[name+" of "+size.String()] = encode(t, turbo, size.X, size.Y, sampling, i%2 == 1)
		}
	}
	parts := map[string]int{}
	rng := rand.New(rand.NewPCG(1, 2))
	got, whole := new(Image), new(Image)
	for name, data := range files {
		h, err := DecodeHeader(data)
		require.NoError(t, err)
		for n := range 80 {
			scale := 1 << (n % 4)
			o := Options{Into: whole, MinSize: least(h.Width/scale, h.Height/scale)}
			_, err := decode(data, o, turbo)
			require.NoError(t, err)
			require.Zero(t, whole.Part)
			low := image.Pt(rng.IntN(h.Width), rng.IntN(h.Height))
			box := image.Rectangle{low, low.Add(image.Pt(1+rng.IntN(h.Width-low.X), 1+rng.IntN(h.Height-low.Y)))}
			o.Into, o.Box = got, boxed(box)
			_, err = decode(data, o, turbo)
			require.NoError(t, err)
			require.Equal(t, [2]int{h.Width, h.Height}, [2]int{got.FullWidth, got.FullHeight})
			if got.Part.Empty() {
				require.Equal(t, whole.Pix, got.Pix, name)
				continue
			}
			parts[name]++
			require.Equal(t, image.Pt(whole.Width, whole.Height), got.Whole, name)
			require.Equal(t, got.Part.Size(), image.Pt(got.Width, got.Height), name)
			ratio := float64(whole.Width) / float64(h.Width)
			at := func(v int, add float64) int { return int(float64(v)*ratio + add) }
			inside := image.Rect(at(box.Min.X, 0), at(box.Min.Y, 0), at(box.Max.X, 1), at(box.Max.Y, 1))
			inside = inside.Intersect(image.Rectangle{Max: got.Whole})
			require.True(t, inside.In(got.Part), "%s: %v of %v at 1/%d is not in %v", name, box, got.Whole, scale, got.Part)
			// Beyond the box, at the part's own edges, colour may be upsampled otherwise.
			for y := inside.Min.Y; y < inside.Max.Y; y++ {
				n := 3 * inside.Dx()
				a := got.Pix[3*((y-got.Part.Min.Y)*got.Width+inside.Min.X-got.Part.Min.X):][:n]
				b := whole.Pix[3*(y*whole.Width+inside.Min.X):][:n]
				require.True(t, bytes.Equal(a, b), "%s: %v at 1/%d: row %d of the part %v has other pixels", name, box, scale, y, got.Part)
			}
		}
	}
	for name := range files {
		if h, _ := DecodeHeader(files[name]); h.Width*h.Height > 400 {
			assert.Greater(t, parts[name], 10, name)
		}
	}
}

// A JPEG that is damaged or cut off is an error whatever part of it is asked for, and wherever the damage lies.
func TestPartsFindDamageElsewhere(t *testing.T) {
	turbo := needParts(t)
	corner := Options{Box: boxed(image.Rect(0, 0, 20, 20))}
	rng := rand.New(rand.NewPCG(3, 4))
	for _, file := range []string{"photo-420.jpg", "odd-444.jpg", "restart-rows.jpg", "photo-progressive.jpg", "cmyk.jpg", "exif-6.jpg"} {
		data := goldenPicture(t, file).data
		m, err := decode(data, corner, turbo)
		require.NoError(t, err, file)
		require.False(t, m.Part.Empty(), file)
		failures := 0
		for n := range 120 {
			broken := bytes.Clone(data)
			if n%3 == 0 {
				broken = broken[:len(broken)-1-rng.IntN(len(broken)/2)]
			} else {
				for range 4 {
					broken[len(broken)/4+rng.IntN(len(broken)*3/4)] = byte(rng.Uint32())
				}
			}
			_, want := decode(broken, Options{}, turbo)
			_, err = decode(broken, corner, turbo)
			if want == nil {
				require.NoError(t, err, file)
				continue
			}
			failures++
			require.Error(t, err, "%s: the whole has %v", file, want) // of several faults another one may be named
			m, err = decode(data, corner, turbo)                      // the next file is read as if nothing had been
			require.NoError(t, err, file)
			require.False(t, m.Part.Empty(), file)
		}
		assert.Greater(t, failures, 40, file)
	}
}

// Where only whole pictures can be decoded, that is what comes.
func TestWholeWherePartsCannotBe(t *testing.T) {
	data := goldenPicture(t, "photo-420.jpg").data
	o := Options{Box: boxed(image.Rect(200, 200, 300, 300))}
	m, err := decode(data, o, nil)
	require.NoError(t, err)
	assert.Equal(t, []int{500, 375}, []int{m.Width, m.Height})
	assert.Zero(t, m.Part)
	turbo := needTurbo(t)
	older := &turbojpeg{path: turbo.path, init: turbo.init, decompress2: turbo.decompress2, errorText: turbo.errorText, errorCode: turbo.errorCode}
	o.Into = &Image{Part: image.Rect(1, 2, 3, 4), Whole: image.Pt(9, 9)} // of a decode before
	m, err = decode(data, o, older)
	require.NoError(t, err)
	assert.Equal(t, []int{500, 375}, []int{m.Width, m.Height})
	assert.Zero(t, m.Part)
	assert.Zero(t, m.Whole)
	o.Into.Part = image.Rect(1, 2, 3, 4)
	m, err = Decode(goldenPicture(t, "rgb.png").data, o)
	require.NoError(t, err)
	assert.Zero(t, m.Part)
	for _, box := range []image.Rectangle{{}, image.Rect(0, 0, 500, 375), image.Rect(600, 0, 700, 9), image.Rect(-9, -9, 900, 900)} {
		m, err = Decode(data, Options{Box: boxed(box)})
		require.NoError(t, err)
		assert.Zero(t, m.Part, box)
	}
}
