package picture

import (
	"image"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// turbojpeg3 is version 3 of TurboJPEG's API (turbojpeg.h of libjpeg-turbo 3.0), which decodes a part of a picture.
type turbojpeg3 struct {
	init, set, header, scale, crop, decompress, destroy uintptr
	handles                                             handles
}

// From turbojpeg.h.
const (
	initDecompress = 1  // TJINIT_DECOMPRESS
	scanLimit      = 13 // TJPARAM_SCANLIMIT: see maxScans
)

// findTurbojpeg3 is nil where the library does not have it.
func findTurbojpeg3(library uintptr) *turbojpeg3 {
	t := new(turbojpeg3)
	for symbol, at := range map[string]*uintptr{
		"tj3Init": &t.init, "tj3Set": &t.set, "tj3DecompressHeader": &t.header, "tj3SetScalingFactor": &t.scale,
		"tj3SetCroppingRegion": &t.crop, "tj3Decompress8": &t.decompress, "tj3Destroy": &t.destroy,
	} {
		var err error
		if *at, err = purego.Dlsym(library, symbol); err != nil {
			return nil
		}
	}
	return t
}

// partialDecoder decodes a region of one JPEG.
type partialDecoder struct {
	turbo  *turbojpeg
	handle uintptr
	data   []byte
	failed bool
}

// partial is a decoder of a region of the picture at 1/scale of its size: nil where the library cannot do that, as for
// colours that are sampled in a way that it does not know. The region begins at a column of MCUs. The decoder is to be closed.
func (t *turbojpeg) partial(data []byte, region image.Rectangle, scale int) *partialDecoder {
	v := t.version3
	if v == nil {
		return nil
	}
	handle, err := v.handles.take(func() (uintptr, error) {
		handle, _, _ := purego.SyscallN(v.init, initDecompress)
		if handle == 0 {
			return 0, errNoDecoder
		}
		// It cannot fail with this parameter; where it did, files of many scans would take long.
		purego.SyscallN(v.set, handle, scanLimit, maxScans)
		return handle, nil
	})
	if err != nil {
		return nil // the decoder of the whole says it, if it holds there too
	}
	p := &partialDecoder{turbo: t, handle: handle, data: data}
	start := unsafe.Pointer(unsafe.SliceData(data))
	ok := p.call(v.header, handle, uintptr(start), uintptr(len(data))) == 0 &&
		p.call(v.scale, handle, two(1, scale)) == 0 && // structs of two and of four ints, by value
		p.call(v.crop, handle, two(region.Min.X, region.Min.Y), two(region.Dx(), region.Dy())) == 0
	if !ok {
		p.failed = true
		p.close()
		return nil
	}
	return p
}

// two is how two ints of C travel in one register.
func two(a, b int) uintptr { return uintptr(uint32(a)) | uintptr(uint32(b))<<32 }

func (p *partialDecoder) call(function uintptr, arguments ...uintptr) int32 {
	result, _, _ := purego.SyscallN(function, arguments...)
	runtime.KeepAlive(p.data)
	return int32(result)
}

// decompress decodes the region into rows without gaps, with the DCT that is the default: see accurateDCT. A picture that was
// decoded in spite of something may come with a warning.
func (p *partialDecoder) decompress(pix []byte, format int) (warning string, err error) {
	defer onOneThread()()
	result, _, _ := purego.SyscallN(p.turbo.version3.decompress, p.handle, // which keeps in place what its arguments point to
		uintptr(unsafe.Pointer(unsafe.SliceData(p.data))), uintptr(len(p.data)),
		uintptr(unsafe.Pointer(unsafe.SliceData(pix))), 0, uintptr(format))
	runtime.KeepAlive(p.data)
	runtime.KeepAlive(pix)
	p.failed = result != 0
	return p.turbo.outcome(p.handle, int32(result))
}

// close gives the decoder back, unless it failed: libjpeg-turbo 2.1.92 goes on where a header was damaged with the next file.
func (p *partialDecoder) close() {
	v := p.turbo.version3
	if p.failed {
		purego.SyscallN(v.destroy, p.handle)
		return
	}
	v.handles.give(p.handle)
}
