package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostile is a file that must be refused for a reason that names what is wrong.
type hostile struct {
	name, why string
	data      func(t *testing.T) []byte
}

func text(s string) func(*testing.T) []byte { return func(*testing.T) []byte { return []byte(s) } }

// changed is a golden picture with something done to it.
func changed(file string, change func(d []byte) []byte) func(*testing.T) []byte {
	return func(t *testing.T) []byte { return change(bytes.Clone(goldenPicture(t, file).data)) }
}

// cut keeps a share of a picture.
func cut(file string, share float64) func(*testing.T) []byte {
	return changed(file, func(d []byte) []byte { return d[:int(share*float64(len(d)))] })
}

// set writes bytes at an offset from the first place where mark is.
func set(file, mark string, offset int, b ...byte) func(*testing.T) []byte {
	return changed(file, func(d []byte) []byte {
		at := bytes.Index(d, []byte(mark))
		if at < 0 {
			panic(file + " has no such mark")
		}
		copy(d[at+offset:], b)
		return d
	})
}

// pngOf is a PNG of one IDAT chunk, with right checksums.
func pngOf(width, height uint32, depth, kind byte, idat []byte) []byte {
	var d bytes.Buffer
	chunk := func(name string, body []byte) {
		binary.Write(&d, binary.BigEndian, uint32(len(body)))
		body = append([]byte(name), body...)
		d.Write(body)
		binary.Write(&d, binary.BigEndian, crc32.ChecksumIEEE(body))
	}
	d.WriteString(pngSignature)
	head := binary.BigEndian.AppendUint32(nil, width)
	chunk("IHDR", append(binary.BigEndian.AppendUint32(head, height), depth, kind, 0, 0, 0))
	chunk("IDAT", idat)
	chunk("IEND", nil)
	return d.Bytes()
}

func deflated(n int) []byte {
	var d bytes.Buffer
	z := zlib.NewWriter(&d)
	z.Write(make([]byte, n))
	z.Close()
	return d.Bytes()
}

func pngFile(width, height uint32, depth, kind byte, idat []byte) func(*testing.T) []byte {
	return func(*testing.T) []byte { return pngOf(width, height, depth, kind, idat) }
}

// tiffOf is a little-endian TIFF of one directory, each entry a tag, a kind, a count and a value.
func tiffOf(entries ...[4]uint32) []byte {
	d := []byte("II*\x00\x08\x00\x00\x00")
	d = binary.LittleEndian.AppendUint16(d, uint16(len(entries)))
	for _, e := range entries {
		d = binary.LittleEndian.AppendUint16(d, uint16(e[0]))
		d = binary.LittleEndian.AppendUint16(d, uint16(e[1]))
		d = binary.LittleEndian.AppendUint32(d, e[2])
		d = binary.LittleEndian.AppendUint32(d, e[3])
	}
	return append(d, 0, 0, 0, 0)
}

func tiffFile(entries ...[4]uint32) func(*testing.T) []byte {
	return func(*testing.T) []byte { return tiffOf(entries...) }
}

func tiffSize(width, height, bits, compression uint32, more ...[4]uint32) func(*testing.T) []byte {
	return tiffFile(append([][4]uint32{{256, 4, 1, width}, {257, 4, 1, height}, {258, 3, 1, bits},
		{259, 3, 1, compression}, {262, 3, 1, 1}}, more...)...)
}

const (
	sof  = "\xff\xc0\x00\x11"
	dht  = "\xff\xc4"
	dqt  = "\xff\xdb"
	sos  = "\xff\xda"
	crop = "cut off"
	many = "cannot hold"
	size = "its header says"
)

var hostiles = []hostile{
	{"empty", "it is empty: want JPEG", text("")},
	{"text", "text/plain", text("A picture of a cat.\n")},
	{"html", "text/html", text("<!DOCTYPE html><html><body>404 Not Found</body></html>")},
	{"svg", "text/xml", text(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`)},
	{"zip", "application/zip", text("PK\x03\x04 and so on")},
	{"pdf", "application/pdf", text("%PDF-1.7\n")},
	{"avif", `"avif": HEIC, AVIF`, text("\x00\x00\x00\x20ftypavif\x00\x00\x00\x00")},
	{"zeros", "it starts with 00 00", text(strings.Repeat("\x00", 600))},

	{"jpeg of three bytes", crop, text("\xff\xd8\xff")},
	{"jpeg cut in its header", "JPEG: its", cut("photo-420.jpg", 0.003)},
	{"jpeg cut in its tables", "JPEG: its", cut("photo-420.jpg", 0.008)},
	{"jpeg cut after a tenth", crop, cut("photo-420.jpg", 0.1)},
	{"jpeg cut in the middle", crop, cut("photo-420.jpg", 0.5)},
	{"jpeg cut near the end", crop, cut("photo-420.jpg", 0.98)},
	{"jpeg without its last two bytes", crop, changed("odd-420.jpg", func(d []byte) []byte { return d[:len(d)-2] })},
	{"progressive jpeg cut in the middle", crop, cut("photo-progressive.jpg", 0.5)},
	{"jpeg that ends at once", "ends before a picture begins", text("\xff\xd8\xff\xd9")},
	{"jpeg of zeros", crop, text("\xff\xd8\xff" + strings.Repeat("\x00", 500))},
	{"jpeg of no height", size, set("odd-420.jpg", sof, 5, 0, 0)},
	{"jpeg of no width", size, set("odd-420.jpg", sof, 7, 0, 0)},
	{"jpeg with a huge header", "more than the", set("odd-420.jpg", sof, 5, 0xff, 0xdc, 0xff, 0xdc)},
	{"jpeg with a large header", many, set("odd-420.jpg", sof, 5, 0x30, 0, 0x30, 0)},
	{"progressive jpeg with a large header", many, set("odd-progressive-420.jpg", "\xff\xc2\x00\x11", 5, 0x30, 0, 0x30, 0)},
	{"jpeg somewhat larger than it is", crop, set("odd-420.jpg", sof, 5, 0, 200)},
	{"jpeg of 12 bits", "12 bits a sample", set("odd-420.jpg", sof, 4, 12)},
	{"jpeg with a short frame header", "frame header is damaged", set("odd-420.jpg", sof, 9, 9)},
	{"jpeg sampled 0 times", "JPEG of 61 x 47", set("odd-420.jpg", sof, 11, 0)},
	{"jpeg sampled 15 times", "JPEG of 61 x 47", set("odd-420.jpg", sof, 11, 0xff)},
	{"arithmetic-coded jpeg", "arithmetic-coded", set("odd-420.jpg", sof, 1, 0xc9)},
	{"jpeg said to be lossless", "JPEG of 61 x 47", set("odd-420.jpg", sof, 1, 0xc3)},
	{"jpeg with two frame headers", "two frame headers", changed("odd-420.jpg", func(d []byte) []byte {
		at := bytes.Index(d, []byte(sof))
		return append(bytes.Clone(d[:at+19]), d[at:]...)
	})},
	{"jpeg with bad Huffman counts", "Huffman tables are damaged", set("odd-420.jpg", dht, 5, bytes.Repeat([]byte{255}, 16)...)},
	{"jpeg with overfull Huffman codes", "Huffman tables are damaged", set("odd-420.jpg", dht, 5, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)},
	{"jpeg without quantization tables", "no quantization table", changed("odd-420.jpg", func(d []byte) []byte {
		return bytes.ReplaceAll(d, []byte(dqt), []byte("\xff\xee"))
	})},
	{"jpeg with a segment of length 0", "says that it has 0 bytes", set("odd-420.jpg", dqt, 2, 0, 0)},
	{"jpeg with a segment beyond the end", "says that it has 65535 bytes", set("odd-420.jpg", dqt, 2, 255, 255)},
	{"jpeg whose scan names other components", "JPEG of 61 x 47", set("odd-420.jpg", sos, 5, 77)},
	{"jpeg with a scan first", "before its frame header", text("\xff\xd8\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00")},
	{"jpeg of noise", "JPEG of 500 x 375", changed("photo-420.jpg", func(d []byte) []byte {
		at := bytes.Index(d, []byte(sos)) + 40
		for i := at; i < len(d)-2; i++ {
			d[i] = byte(i * i >> 3 & 0x7f)
		}
		return d
	})},
	{"jpeg with a hole", "JPEG of 500 x 375", changed("photo-420.jpg", func(d []byte) []byte {
		return append(bytes.Clone(d[:20000]), d[20500:]...)
	})},
	{"jpeg of a thousand scans", "JPEG of 400 x 301", changed("photo-progressive.jpg", func(d []byte) []byte {
		at := bytes.LastIndex(d, []byte(sos))
		scan := d[at : len(d)-2]
		return append(append(bytes.Clone(d[:at]), bytes.Repeat(scan, 1000)...), 0xff, 0xd9)
	})},

	{"png cut in its header", crop, cut("rgb.png", 0.004)},
	{"png cut in the middle", crop, cut("rgb.png", 0.5)},
	{"png without its end and last pixels", crop, changed("rgb.png", func(d []byte) []byte { return d[:len(d)-12-8] })},
	{"png of no width", size, pngFile(0, 10, 8, 2, deflated(10))},
	{"png of 4 billion pixels a side", size, pngFile(1<<32-1, 1<<32-1, 8, 2, deflated(10))},
	{"png of 2 billion pixels a side", "more than the", pngFile(1<<31-1, 1<<31-1, 8, 2, deflated(10))},
	{"png with a large header", many, pngFile(13000, 13000, 8, 6, deflated(100))},
	{"png with a large header of bits", many, pngFile(13000, 13000, 1, 0, deflated(100))},
	{"png of 16 bits with a large header", many, pngFile(13000, 13000, 16, 6, deflated(100))},
	{"png that inflates to 200 MB", "PNG of 10 x 10", pngFile(10, 10, 8, 2, deflated(200<<20))},
	{"png with too few pixels", "PNG of 100 x 100", pngFile(100, 100, 8, 2, deflated(2000))},
	{"png with a wrong checksum", "checksum", changed("rgb.png", func(d []byte) []byte { d[len(d)-14]++; return d })},
	{"png with a lying chunk", "PNG of 67 x 45", set("rgb.png", "IDAT", -4, 0x7f, 0xff, 0xff, 0xff)},
	{"png with a short chunk", "PNG of 67 x 45", set("rgb.png", "IDAT", -4, 0, 0, 0, 9)},
	{"png of depth 3", "PNG", pngFile(4, 4, 3, 0, deflated(20))},
	{"png of kind 5", "header is damaged", pngFile(4, 4, 8, 5, deflated(20))},
	{"png without a palette", "PNG of 4 x 4", pngFile(4, 4, 8, 3, deflated(20))},
	{"png that is not deflated", "PNG of 4 x 4", pngFile(4, 4, 8, 0, []byte("not deflated"))},

	{"gif of a header", crop, text("GIF89a\x01\x00\x01\x00")},
	{"gif without a frame", "no frame", text("GIF89a\x01\x00\x01\x00\x00\x00\x00;")},
	{"gif of endless comments", crop, text("GIF89a\x01\x00\x01\x00\x00\x00\x00" + strings.Repeat("!\xfe\xff"+strings.Repeat("c", 255), 1000))},
	{"gif cut in its palette", crop, cut("palette.gif", 0.1)},
	{"gif cut in the middle", "GIF of 61 x 42", cut("palette.gif", 0.5)},
	{"gif of no width", size, set("palette.gif", "GIF8", 6, 0, 0)},
	{"gif with a huge canvas", "more than the", set("palette.gif", "GIF8", 6, 255, 255, 255, 255)},
	{"gif with a large canvas", many, set("palette.gif", "GIF8", 6, 0, 0x30, 0, 0x30)},
	{"gif whose frame is outside", "GIF of 61 x 42", set("palette.gif", ",\x00\x00\x00\x00", 1, 40, 0)},
	{"gif with a bad code size", "GIF of 61 x 42", set("palette.gif", ",\x00\x00\x00\x00", 10, 99)},
	{"gif without a palette", "GIF: it is damaged", set("palette.gif", "GIF8", 10, 0)},
	{"gif of damaged blocks", "GIF", text("GIF89a\x01\x00\x01\x00\x00\x00\x00\x77\x77\x77")},

	{"bmp of a header", crop, text("BM\x00\x00\x00\x00\x00\x00")},
	{"bmp cut in the middle", many, cut("rgb-24-bit.bmp", 0.5)},
	{"bmp cut near the end", crop, changed("rgb-24-bit.bmp", func(d []byte) []byte { return d[:len(d)-1] })},
	{"bmp of negative width", size, set("rgb-24-bit.bmp", "BM", 18, 0xff, 0xff, 0xff, 0xff)},
	{"bmp of the least height", "BMP", set("rgb-24-bit.bmp", "BM", 22, 0, 0, 0, 0x80)},
	{"bmp of the most width and height", "more than the", set("rgb-24-bit.bmp", "BM", 18, 255, 255, 255, 127, 255, 255, 255, 127)},
	{"bmp of no height", size, set("rgb-24-bit.bmp", "BM", 22, 0, 0, 0, 0)},
	{"bmp with a large header", many, set("rgb-24-bit.bmp", "BM", 18, 0, 0x30, 0, 0, 0, 0x30)},
	{"bmp of 16 bits", "16 bits a pixel", set("rgb-24-bit.bmp", "BM", 28, 16)},
	{"compressed bmp", "compressed (kind 1)", set("palette-8-bit.bmp", "BM", 30, 1)},
	{"bmp of OS/2", "header of 12 bytes", set("rgb-24-bit.bmp", "BM", 14, 12)},
	{"bmp with a huge palette", "BMP of 41 x 23", set("palette-8-bit.bmp", "BM", 46, 255, 255, 255, 255)},

	{"webp of a header", "WebP: it has no frame", text("RIFF\x04\x00\x00\x00WEBP")},
	{"webp cut in the middle", crop, cut("lossy.webp", 0.5)},
	{"lossless webp cut, its length mended", "WebP", changed("lossless.webp", func(d []byte) []byte {
		d = d[:len(d)/2&^1]
		binary.LittleEndian.PutUint32(d[4:], uint32(len(d)-8))
		return d
	})},
	{"lossy webp cut, its lengths mended", crop, changed("lossy.webp", func(d []byte) []byte {
		d = d[:len(d)/2&^1]
		binary.LittleEndian.PutUint32(d[4:], uint32(len(d)-8))
		binary.LittleEndian.PutUint32(d[16:], uint32(len(d)-20))
		return d
	})},
	{"lossy webp with a large header", many, set("lossy.webp", "\x9d\x01\x2a", 3, 0, 0x30, 0, 0x30)},
	{"lossy webp with a huge header", "more than the", set("lossy.webp", "\x9d\x01\x2a", 3, 0xff, 0x3f, 0xff, 0x3f)},
	{"lossy webp of no width", size, set("lossy.webp", "\x9d\x01\x2a", 3, 0, 0)},
	{"lossless webp with a huge header", "more than the", set("lossless.webp", "VP8L", 9, 0xff, 0xff, 0xff, 0x0f)},
	{"webp whose canvas is smaller", "larger than its canvas", set("lossy-alpha.webp", "VP8X", 12, 3, 0, 0)},
	{"webp with a huge canvas", "more than the", set("lossy-alpha.webp", "VP8X", 12, 255, 255, 255, 255, 255, 255)},
	{"webp whose chunk lies", crop, set("lossy.webp", "VP8 ", 4, 255, 255, 255, 255)},
	{"animated webp with a short frame", crop, set("animated.webp", "ANMF", 4, 3, 0, 0, 0)},

	{"tiff of a header", crop, text("II*\x00")},
	{"tiff whose directory is elsewhere", crop, text("II*\x00\xff\xff\xff\xff")},
	{"tiff cut in the middle", "TIFF", cut("rgb-lzw.tif", 0.5)},
	{"tiff without a size", size, tiffFile([4]uint32{259, 3, 1, 1})},
	{"tiff of no width", size, tiffSize(0, 10, 8, 1)},
	{"tiff of 4 billion pixels a side", "more than the", tiffSize(1<<32-1, 1<<32-1, 8, 1)},
	{"tiff with a large header", many, tiffSize(13000, 13000, 8, 1)},
	{"deflated tiff with a large header", many, tiffSize(13000, 13000, 8, 8)},
	{"LZW tiff with a large header", many, tiffSize(13000, 13000, 8, 5)},
	{"PackBits tiff with a large header", many, tiffSize(13000, 13000, 8, 32773)},
	{"fax tiff with a large header", many, tiffSize(13000, 13000, 1, 4)},
	{"tiff without strips", "TIFF of 2 x 2", tiffSize(2, 2, 8, 1)},
	{"tiff whose strip is beyond the end", "TIFF of 2 x 2", tiffSize(2, 2, 8, 1,
		[4]uint32{273, 4, 1, 1 << 30}, [4]uint32{279, 4, 1, 4})},
	{"tiff of 4 billion strips", "TIFF of 2 x 2", tiffSize(2, 2, 8, 1,
		[4]uint32{273, 4, 1<<32 - 1, 8}, [4]uint32{279, 4, 1<<32 - 1, 8})},
	{"tiff of no bits", "0 bits", tiffSize(2, 2, 0, 1)},
	{"tiff of 32 bits", "it has 32 bits a sample; 1, 8 and 16 can be read", tiffSize(2, 2, 32, 1, [4]uint32{273, 4, 1, 8}, [4]uint32{279, 4, 1, 16})},
	{"tiff of float samples", "no unsigned integers (sample format 3)", tiffSize(2, 2, 16, 1, [4]uint32{339, 3, 1, 3})},
	{"tiff of Zstandard", "its compression, Zstandard (50000), is not supported: save it anew, or as PNG", tiffSize(2, 2, 8, 50000)},
	{"tiff of inks", "its colour space (5) is not supported", tiffSize(2, 2, 8, 1, [4]uint32{262, 3, 1, 5})},
	{"tiff of JPEGs of 16 bits", "it holds a JPEG of 1 samples of 16 bits", tiffSize(2, 2, 16, 7)},
	{"tiff of JPEGs that are none", "its part 0", tiffSize(2, 2, 8, 7, [4]uint32{262, 3, 1, 1}, [4]uint32{273, 4, 1, 8}, [4]uint32{279, 4, 1, 4})},
	{"tiff of JPEGs outside it", crop, tiffSize(2, 2, 8, 7, [4]uint32{262, 3, 1, 1}, [4]uint32{273, 4, 1, 8}, [4]uint32{279, 4, 1, 1 << 31})},
	{"tiff of too few JPEGs", "it has 1 parts, with 1 lengths, in place of 2", tiffSize(2, 2, 8, 7, [4]uint32{262, 3, 1, 1}, [4]uint32{273, 4, 1, 8}, [4]uint32{278, 4, 1, 1}, [4]uint32{279, 4, 1, 4})},
	{"tiff of the JPEGs of tiles without size", "its parts have 0 x 0 pixels", tiffSize(2, 2, 8, 7, [4]uint32{262, 3, 1, 1}, [4]uint32{322, 4, 1, 0}, [4]uint32{323, 4, 1, 0})},
	{"ppm without numbers", "its header is cut off", bytesOf("P6\n# a comment without end")},
	{"ppm of letters", `'x' is no digit of a number`, bytesOf("P6\nx 3 255\n")},
	{"ppm of no width", size, bytesOf("P6\n0 3 255\n123")},
	{"ppm of a huge width", "a number is more than 2147483647", bytesOf("P6\n99999999999999999999 3 255\n123")},
	{"ppm of many pixels", many, bytesOf("P6\n9000 9000 255\n123")},
	{"ppm of many pixels in text", many, bytesOf("P3\n9000 9000 255\n1 2 3")},
	{"ppm of large samples", "a number is more than 65535", bytesOf("P6\n1 1 65536\n123456")},
	{"ppm of samples of nothing", "its samples are 0 at most", bytesOf("P6\n1 1 0\n123")},
	{"ppm cut off in text", crop, bytesOf("P3\n2 1 255\n1 2 3 4 ")},
	{"ppm of a sample too large in text", "a number is more than 100", bytesOf("P3\n1 1 100\n1 2 101")},
	{"pbm of twos in text", `'2' is no bit`, bytesOf("P1\n2 1\n12")},
	{"tiff of planes", "separate planes", tiffFile([4]uint32{256, 4, 1, 2}, [4]uint32{257, 4, 1, 2},
		[4]uint32{258, 3, 3, 8}, [4]uint32{284, 3, 1, 2})},
	{"tiff of tiles of no size", "TIFF of 2 x 2", tiffSize(2, 2, 8, 1, [4]uint32{322, 4, 1, 1}, [4]uint32{323, 4, 1, 0})},
}

// Each is refused with an error that names the file and the reason, and costs less than 100 MB.
func bytesOf(content string) func(*testing.T) []byte {
	return func(*testing.T) []byte { return []byte(content) }
}

func TestHostilePictures(t *testing.T) {
	require.GreaterOrEqual(t, len(hostiles), 45)
	turbo, err := jpegLibrary()
	require.NoError(t, err)
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "picture")
			data := h.data(t)
			require.NoError(t, os.WriteFile(path, data, 0o644))
			decoders := []*turbojpeg{nil}
			if turbo != nil && strings.Contains(h.name, "jpeg") {
				decoders = append(decoders, turbo)
			}
			for _, decoder := range decoders {
				taken := memoryOf(t, func() { _, err = decode(data, Options{}, decoder) })
				require.Error(t, err)
				assert.Contains(t, err.Error(), h.why)
				assert.Less(t, taken, 100<<20, "bytes")
				t.Log(err)
			}
			_, err := Read(path, Options{})
			require.ErrorContains(t, err, "reading picture "+path+": ")
		})
	}
}

// memoryOf is what f takes: what Go gave it in all, and what the process grew by at its peak, which C took.
func memoryOf(t *testing.T, f func()) int {
	t.Helper()
	var before, after runtime.MemStats
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // starts the peak anew
	start := peak(t)
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return max(int(after.TotalAlloc-before.TotalAlloc), peak(t)-start)
}

func peak(t *testing.T) int {
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	require.True(t, found)
	var kib int
	_, err = fmt.Sscan(rest, &kib)
	require.NoError(t, err)
	return kib << 10
}

// No picture that is cut off anywhere is decoded, but where only what is around the pixels is missing.
func TestCutOffAnywhere(t *testing.T) {
	for _, file := range []string{"odd-420.jpg", "grey-progressive.jpg", "rgb.png", "interlaced.gif", "palette-4-bit.bmp",
		"lossy-even.webp", "lossless.webp", "rgb-predictor.tif", "cmyk.jpg"} {
		g := goldenPicture(t, file)
		whole, err := Decode(g.data, Options{})
		require.NoError(t, err)
		var m Image
		for n := range g.data {
			if _, err := Decode(g.data[:n], Options{Into: &m}); err == nil {
				assert.True(t, bytes.Equal(whole.Pix, m.Pix), "%s cut to %d of %d bytes is another picture", file, n, len(g.data))
			}
		}
	}
}

// What tells the orientation may be damaged: the picture is taken as upright then.
func TestDamagedMetadata(t *testing.T) {
	exif := func(block string) func(t *testing.T) []byte {
		return changed("three-by-two.jpg", func(d []byte) []byte {
			segment := "\xff\xe1" + string(binary.BigEndian.AppendUint16(nil, uint16(len(block)+8))) + "Exif\x00\x00" + block
			return append([]byte("\xff\xd8"+segment), d[2:]...)
		})
	}
	loop := tiffOf([4]uint32{0x0112, 3, 1, 6})
	binary.LittleEndian.PutUint32(loop[len(loop)-4:], 8) // the next directory is the same again
	for _, tt := range []struct {
		name, block string
		want        int
	}{
		{"good", string(tiffOf([4]uint32{0x0112, 3, 1, 6})), 6},
		{"as a long", string(tiffOf([4]uint32{0x0112, 4, 1, 6})), 6},
		{"directory that follows itself", string(loop), 6},
		{"empty", "", 1},
		{"no TIFF", "garbage garbage", 1},
		{"directory beyond the end", "II*\x00\xff\xff\xff\x7f", 1},
		{"directory in the header", "II*\x00\x00\x00\x00\x00", 1},
		{"65535 entries", "II*\x00\x08\x00\x00\x00\xff\xff", 1},
		{"orientation 0", string(tiffOf([4]uint32{0x0112, 3, 1, 0})), 1},
		{"orientation 9", string(tiffOf([4]uint32{0x0112, 3, 1, 9})), 1},
		{"4 billion orientations", string(tiffOf([4]uint32{0x0112, 4, 1<<32 - 1, 6})), 1},
		{"none", string(tiffOf([4]uint32{0x0112, 3, 0, 6})), 1},
		{"orientation of an unknown kind", string(tiffOf([4]uint32{0x0112, 99, 1, 6})), 1},
		{"orientation in words", string(tiffOf([4]uint32{0x0112, 2, 4, 0x65646973})), 1},
	} {
		data := exif(tt.block)(t)
		h, err := DecodeHeader(data)
		require.NoError(t, err, tt.name)
		assert.Equal(t, tt.want, h.Orientation, tt.name)
		m, err := Decode(data, Options{})
		require.NoError(t, err, tt.name)
		assert.Equal(t, []int{h.Width, h.Height}, []int{m.Width, m.Height}, tt.name)
	}
}

func TestReadWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	_, err := Read(dir, Options{})
	require.EqualError(t, err, "reading picture "+dir+": it is a folder, not a file")

	missing := filepath.Join(dir, "missing.jpg")
	_, err = Read(missing, Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.EqualError(t, err, "reading picture "+missing+": no such file or directory")

	huge := filepath.Join(dir, "huge.jpg")
	require.NoError(t, os.WriteFile(huge, nil, 0o644))
	require.NoError(t, os.Truncate(huge, 1<<40))
	_, err = Read(huge, Options{})
	require.EqualError(t, err, "reading picture "+huge+": its 1099511627776 bytes are more than any picture of 178956970 pixels takes")

	pipe := filepath.Join(dir, "pipe.jpg")
	require.NoError(t, syscall.Mkfifo(pipe, 0o644))
	_, err = Read(pipe, Options{}) // does not wait for a writer
	require.EqualError(t, err, "reading picture "+pipe+": it is a device, pipe or socket, not a file")
}
