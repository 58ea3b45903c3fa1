package picture

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/thaw-ml/thaw/torch"
)

// turbojpeg is libjpeg-turbo's TurboJPEG library, version 2 of its API (turbojpeg.h of libjpeg-turbo 2.1), which later
// ones hold too. It is loaded while the program runs, not linked: where it is missing, all but the speed stays.
type turbojpeg struct {
	path              string
	init, decompress2 uintptr
	errorText         func(handle uintptr) string
	errorCode         func(handle uintptr) int32
	version3          *turbojpeg3 // nil where the library has version 2 alone

	handles handles
}

// handles are decoders of the library. One serves one goroutine at a time. Those made are kept: there are as many as decodes
// at once.
type handles struct {
	mu   sync.Mutex
	idle []uintptr
}

// From turbojpeg.h.
const (
	pixelRGB  = 0  // TJPF_RGB
	pixelCMYK = 11 // TJPF_CMYK

	accurateDCT = 4096  // TJFLAG_ACCURATEDCT: the DCT that libjpeg uses by default, and Pillow with it
	limitScans  = 32768 // TJFLAG_LIMITSCANS: see maxScans

	onlyWarning = 0 // TJERR_WARNING
)

// JPEGDecoder tells in a line what decodes JPEGs and where it is: libjpeg-turbo or Go's image/jpeg, which is several
// times slower and decodes at full size only.
//
// libjpeg-turbo is looked for once, at the first use: in the environment variable THAW_TURBOJPEG, a path, or "off" for
// Go's decoder; where the system's loader looks for libturbojpeg.so.0; beside libtorch, where make deps puts it. It
// fails where that variable names a library that cannot be used: then no picture is read at all.
func JPEGDecoder() (string, error) {
	turbo, err := jpegLibrary()
	if err != nil {
		return "", err
	}
	if turbo == nil {
		why := "install libturbojpeg0, or run make deps"
		if os.Getenv(libraryVariable) == "off" {
			why = libraryVariable + "=off asks for it"
		}
		return "Go's image/jpeg: slower; " + why, nil
	}
	return fmt.Sprintf("libjpeg-turbo %s, %s", turbo.version(), turbo.path), nil
}

const libraryVariable = "THAW_TURBOJPEG"

// jpegLibrary is the library that was found, nil if there is none. It fails if the user names one that is not usable.
var jpegLibrary = sync.OnceValues(func() (*turbojpeg, error) {
	return findTurbojpeg(os.Getenv(libraryVariable), filepath.Dir(torch.LibraryPath()))
})

func findTurbojpeg(asked, torchFolder string) (*turbojpeg, error) {
	const name = "libturbojpeg.so.0"
	if asked == "off" {
		return nil, nil
	}
	if asked != "" {
		turbo, err := loadTurbojpeg(asked)
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w; name a %s, or set it to off", libraryVariable, asked, err, name)
		}
		return turbo, nil
	}
	for _, path := range []string{name, filepath.Join(torchFolder, name)} {
		if turbo, err := loadTurbojpeg(path); err == nil {
			return turbo, nil
		}
	}
	return nil, nil
}

func loadTurbojpeg(path string) (*turbojpeg, error) {
	library, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, err
	}
	t := &turbojpeg{path: path}
	var errorText, errorCode uintptr
	for symbol, at := range map[string]*uintptr{
		"tjInitDecompress": &t.init, "tjDecompress2": &t.decompress2,
		"tjGetErrorStr2": &errorText, "tjGetErrorCode": &errorCode,
	} {
		if *at, err = purego.Dlsym(library, symbol); err != nil {
			return nil, errors.Join(fmt.Errorf("it is no TurboJPEG library of version 2 or later: %w", err), purego.Dlclose(library))
		}
	}
	purego.RegisterFunc(&t.errorText, errorText)
	purego.RegisterFunc(&t.errorCode, errorCode)
	t.version3 = findTurbojpeg3(library)
	if !filepath.IsAbs(path) {
		t.path = loadedFrom(path)
	}
	return t, nil
}

// loadedFrom is the file that the loader found under a name.
func loadedFrom(name string) string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return name
	}
	stem, _, _ := strings.Cut(filepath.Base(name), ".so")
	for line := range strings.Lines(string(maps)) {
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.HasPrefix(filepath.Base(line[i:]), stem) {
			return strings.TrimSuffix(line[i:], "\n")
		}
	}
	return name
}

var versionText = regexp.MustCompile(`libjpeg-turbo version (\d[\w.]*)`)

// version is what the library's file says: the API has no call for it.
func (t *turbojpeg) version() string {
	data, err := os.ReadFile(t.path)
	if err == nil {
		if match := versionText.FindSubmatch(data); match != nil {
			return string(match[1])
		}
	}
	return "of an unknown version"
}

// decompress decodes a JPEG into width x height pixels, which is its own size or one of the scaled ones. A picture
// that was decoded in spite of something may come with a warning.
func (t *turbojpeg) decompress(pix []byte, width, height, format int, data []byte) (warning string, err error) {
	handle, err := t.handles.take(func() (uintptr, error) {
		handle, _, _ := purego.SyscallN(t.init)
		if handle == 0 {
			return 0, errNoDecoder
		}
		return handle, nil
	})
	if err != nil {
		return "", err
	}
	defer t.handles.give(handle)
	defer onOneThread()()
	result, _, _ := purego.SyscallN(t.decompress2, handle, // which keeps in place what its arguments point to
		uintptr(unsafe.Pointer(unsafe.SliceData(data))), uintptr(len(data)),
		uintptr(unsafe.Pointer(unsafe.SliceData(pix))), uintptr(width), 0, uintptr(height),
		uintptr(format), accurateDCT|limitScans)
	runtime.KeepAlive(data)
	runtime.KeepAlive(pix)
	return t.outcome(handle, int32(result))
}

// onOneThread keeps a decode and the question what came of it on one thread, until the function that it gives is called: the library
// keeps the text of a warning for the thread, not for the decoder.
func onOneThread() (undo func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// outcome is what a decode that gave result says. It is to be asked on the thread that decoded.
func (t *turbojpeg) outcome(handle uintptr, result int32) (warning string, err error) {
	if result == 0 {
		return "", nil
	}
	message := t.errorText(handle)
	if _, after, ok := strings.Cut(message, "(): "); ok { // the function's name
		message = after
	}
	if t.errorCode(handle) == onlyWarning {
		return cmp.Or(message, "no reason was given"), nil
	}
	return "", damaged(errors.New(message))
}

var errNoDecoder = errors.New("libjpeg-turbo has no memory for a decoder")

func (h *handles) take(make func() (uintptr, error)) (uintptr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 {
		handle := h.idle[n-1]
		h.idle = h.idle[:n-1]
		return handle, nil
	}
	return make()
}

func (h *handles) give(handle uintptr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = append(h.idle, handle)
}
