package picture

import "testing"

// BenchmarkDecode decodes a photograph of 500 x 375 pixels, 4:2:0, as a loader does: into the same memory again.
func BenchmarkDecode(b *testing.B) {
	g := goldenPicture(b, "photo-420.jpg")
	for _, bb := range []struct {
		name  string
		turbo *turbojpeg
		o     Options
	}{
		{"full", needTurbo(b), Options{}},
		{"half", needTurbo(b), Options{MinSize: least(224, 188)}},
		{"go", nil, Options{}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			bb.o.Into = new(Image)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decode(g.data, bb.o, bb.turbo); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
