package detection

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/picture"
)

// The reference is libtorch's own interpolation, which is what torchvision calls.
func TestDrawIsLibtorchsInterpolation(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	in := DefaultInput()
	for _, size := range [][4]int{{37, 53, 80, 115}, {100, 64, 40, 25}, {64, 64, 64, 64}, {1, 7, 3, 21}, {90, 200, 31, 70}, {5, 5, 1, 1}} {
		for _, flip := range []bool{false, true} {
			torchtest.Scoped(t, func() {
				m := &picture.Image{Width: size[1], Height: size[0], Pix: make([]byte, 3*size[0]*size[1])}
				for i := range m.Pix {
					m.Pix[i] = byte(rng.Uint32())
				}
				x := torch.FromBytes(m.Pix, torch.Uint8, 1, size[0], size[1], 3).Permute(0, 3, 1, 2).To(torch.Float32).DivScalar(255)
				mean, std := torch.FromSlice(in.Mean[:], 1, 3, 1, 1), torch.FromSlice(in.Std[:], 1, 3, 1, 1)
				x = x.Sub(mean.To(torch.Float32)).Div(std.To(torch.Float32))
				want := torch.UpsampleBilinear2d(x, []int{size[2], size[3]}, false, nil)
				if flip {
					want = want.Flip(3)
				}

				stride := 3 * (size[3] + 4)
				canvas := make([]float32, size[2]*stride)
				newDrawer(in).draw(m, drawing{region{0, 0, size[1], size[0]}, size[2], size[3], flip}, canvas, stride)
				got := torch.FromSlice(canvas, 1, size[2], size[3]+4, 3).Permute(0, 3, 1, 2)
				beside := got.Narrow(3, size[3], 4)
				assert.Zero(t, beside.Abs().Max().Item(), "pixels beside the picture are left as they are")
				// A place in a row of 200 pixels is known to 1e-5 in float32, fused multiplications or not, and neighbours differ
				// by up to 4.7.
				require.Less(t, got.Narrow(3, 0, size[3]).Sub(want).Abs().Max().Item(), 4e-5, "%v", size)
			})
		}
	}
}

func TestResizedIsTorchvisions(t *testing.T) {
	in := DefaultInput()
	for _, c := range []struct{ h, w, short, wantH, wantW int }{
		{375, 500, 800, 800, 1066}, {500, 375, 800, 1066, 800}, {480, 640, 800, 800, 1066}, {100, 1000, 800, 133, 1333},
		{800, 800, 800, 800, 800}, {427, 640, 800, 800, 1199}, {1, 4000, 800, 1, 1333},
	} {
		h, w := in.resized(c.h, c.w, c.short)
		assert.Equal(t, [2]int{c.wantH, c.wantW}, [2]int{h, w}, "%d x %d", c.h, c.w)
	}
}
