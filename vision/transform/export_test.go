package transform

// Magnitude gives the golden tests the strength of the i-th augmentation.
func Magnitude(wide bool, width, height, augmentation, bin, bins int) float64 {
	if wide {
		return wideSpace.magnitude(augmentation, bin, bins)
	}
	return randSpace(width, height).magnitude(augmentation, bin, bins)
}

// Signed reports whether the i-th augmentation's sign is drawn.
func Signed(augmentation int) bool { return signed(augmentation) }

// CutAt gives the golden tests CutMix's box for what torchvision draws.
func CutAt(x, y, halfWidth, halfHeight, width, height int) Mix {
	return cutAt(x, y, halfWidth, halfHeight, width, height)
}

// Beta draws as MixUp and CutMix do.
var Beta = drawBeta

// Vectorised reports whether resizing uses the CPU's vector instructions.
func Vectorised() bool { return vectorised() }

// WithoutVectors has resizing be done in Go, until the returned function runs.
func WithoutVectors() (restore func()) {
	before := vectorised
	vectorised = func() bool { return false }
	return func() { vectorised = before }
}
