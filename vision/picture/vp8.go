package picture

import "image"

// pasteVP8 converts a lossy WebP frame as libwebp does: its planes hold studio-swing BT.601, which Go's image.YCbCr
// does not mean, and its colours are upsampled with the weights 9, 3, 3 and 1 (libwebp's src/dsp/yuv.h and
// upsampling.c). The frame's top left goes to at.
func pasteVP8(m *Image, img *image.YCbCr, at image.Point) {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	for y := range h {
		luma := img.Y[y*img.YStride:][:w]
		// A row lies between two rows of colour, a quarter away from the near one. Beyond the first and the last
		// there is no other.
		near, far := y/2, y/2-1+y&1*2
		if far < 0 || far >= (h+1)/2 {
			far = near
		}
		vp8Row(m.Pix[3*((at.Y+y)*m.Width+at.X):][:3*w], luma,
			img.Cb[near*img.CStride:], img.Cb[far*img.CStride:],
			img.Cr[near*img.CStride:], img.Cr[far*img.CStride:])
	}
}

func vp8Row(rgb, luma, nearU, farU, nearV, farV []byte) {
	for x, y := range luma {
		// A pixel lies between two colours too: its own, a quarter away, and one at its side.
		own, side := x/2, x/2-1+x&1*2
		var u, v int
		if side < 0 || side >= (len(luma)+1)/2 {
			u = (3*int(nearU[own]) + int(farU[own]) + 2) >> 2
			v = (3*int(nearV[own]) + int(farV[own]) + 2) >> 2
		} else {
			u = vp8Chroma(nearU, farU, own, side)
			v = vp8Chroma(nearV, farV, own, side)
		}
		l := int(y) * 19077 >> 8
		p := rgb[3*x : 3*x+3]
		p[0] = vp8Clip(l + v*26149>>8 - 14234)
		p[1] = vp8Clip(l - u*6419>>8 - v*13320>>8 + 8708)
		p[2] = vp8Clip(l + u*33050>>8 - 17685)
	}
}

// vp8Chroma is (9*own + 3*side + 3*far + 1*diagonal) / 16, with libwebp's way of rounding.
func vp8Chroma(near, far []byte, own, side int) int {
	a, b, c, d := int(near[own]), int(near[side]), int(far[own]), int(far[side])
	return ((a+b+c+d+8+2*(b+c))>>3 + a) >> 1
}

func vp8Clip(v int) byte { return byte(min(max(v, 0), 1<<14-1) >> 6) }
