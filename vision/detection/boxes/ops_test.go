package boxes_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

type opsGolden struct {
	IoU, GIoU, Encoded, Decoded, Clipped, Focal torchtest.Stored
	GIoULoss                                    torchtest.Stored `json:"giou_loss"`
	GIoUGrad                                    torchtest.Stored `json:"giou_grad"`
	LinearEncoded                               torchtest.Stored `json:"linear_encoded"`
	LinearDecoded                               torchtest.Stored `json:"linear_decoded"`
	FocalGrad                                   torchtest.Stored `json:"focal_grad"`
	Matches                                     []struct {
		High, Low  float64
		LowQuality bool `json:"low_quality"`
		Boxes      int
		Matches    []int
	}
}

// pairs are boxes a, and some beside them: the same, apart, touching, of no area.
func pairs() (a, b []boxes.Box) {
	a, b = someBoxes("a", 20, 60, 30), someBoxes("pair", 20, 60, 30)
	b[3] = a[3]
	for k := range 4 {
		b[4][k] = a[4][k] + 100
	}
	b[5] = boxes.Box{a[5][2], a[5][1], a[5][2], a[5][3]}
	b[6][2], b[6][3] = b[6][0], b[6][1]
	return a, b
}

func TestOperatorsAreTorchvisions(t *testing.T) {
	g := torchtest.Golden[opsGolden](t, "boxes.json.gz")
	torchtest.Scoped(t, func() {
		first, second := pairs()
		a, other := tensorOf(first), tensorOf(someBoxes("b", 15, 60, 30))
		pair := tensorOf(second)
		same := func(want torchtest.Stored, got torch.Tensor, what string) {
			t.Helper()
			torchtest.Close(t, want.Tensor(t), got, 1e-6, 1e-6, what)
		}
		torchtest.Close(t, g.IoU.Tensor(t), boxes.IoU(a, other), 0, 0, "iou, bit for bit: matching compares it")
		same(g.GIoU, boxes.GIoU(a, other), "giou")
		trained := a.Clone().RequiresGrad_(true)
		loss := boxes.GIoULoss(trained, pair)
		same(g.GIoULoss, loss, "giou loss")
		loss.Sum().Backward()
		same(g.GIoUGrad, trained.Grad(), "gradient of the giou loss")

		coder := boxes.Coder{Weights: [4]float64{10, 10, 5, 5}}
		codes := torch.FromSlice(numbers("codes", 160, 0, 30), 20, 2, 4)
		same(g.Encoded, coder.Encode(pair.Narrow(0, 0, 6), a.Narrow(0, 0, 6)), "encoded")
		same(g.Decoded, coder.Decode(codes, a.Unsqueeze(1)), "decoded")
		same(g.LinearEncoded, boxes.LinearCoder{}.Encode(pair, a), "encoded by distances")
		same(g.LinearDecoded, boxes.LinearCoder{}.Decode(codes.Select(1, 0), a), "decoded from distances")
		sizes := torch.FromSlice([]float32{40, 30, 1, 1}, 1, 4)
		same(g.Clipped, boxes.Clip(a.Unsqueeze(0), sizes).SqueezeDim(0), "clipped")
	})
}

func TestFocalLossIsTorchvisions(t *testing.T) {
	g := torchtest.Golden[opsGolden](t, "boxes.json.gz")
	torchtest.Scoped(t, func() {
		classes := torchtest.Whole("classes", 30, 8)
		oneHot := make([]float32, 30*7)
		for i := range classes {
			if classes[i]--; classes[i] >= 0 {
				oneHot[7*i+classes[i]] = 1
			}
		}
		want := g.Focal.Tensor(t)
		for _, each := range []bool{true, false} {
			logits := torch.FromSlice(numbers("logits", 210, 0, 8), 30, 7).RequiresGrad_(true)
			loss := boxes.DefaultFocal.SigmoidLoss(logits, torch.FromSlice(oneHot, 30, 7))
			if !each {
				loss, want = boxes.DefaultFocal.ClassLoss(logits, torch.FromSlice(classes)), want.SumDim(-1)
			}
			torchtest.Close(t, want, loss, 1e-5, 1e-6)
			loss.Sum().Backward()
			torchtest.Close(t, g.FocalGrad.Tensor(t), logits.Grad(), 1e-5, 1e-6)
		}
	})
}

func TestMatcherIsTorchvisions(t *testing.T) {
	g := torchtest.Golden[opsGolden](t, "boxes.json.gz")
	require.Len(t, g.Matches, 6)
	for _, c := range g.Matches {
		torchtest.Scoped(t, func() {
			truth, anchors := someBoxes([]string{3: "truth3", 6: "truth6"}[c.Boxes], c.Boxes, 60, 30), someBoxes("anchors", 200, 60, 30)
			truth[1] = boxes.Box{400, 400, 410, 410}
			for k := range 4 {
				anchors[10][k] = truth[0][k] + 1
				anchors[11][k] = truth[0][k] + 1
			}
			// Boxes that there are not change nothing.
			valid := make([]bool, c.Boxes+2)
			for i := range c.Boxes {
				valid[i] = true
			}
			truth = append(truth, anchors[50], boxes.Box{})
			m := boxes.Matcher{High: c.High, Low: c.Low, AllowLowQuality: c.LowQuality}
			got := m.Match(boxes.IoU(tensorOf(truth), tensorOf(anchors)), torch.FromSlice(valid))
			assert.Equal(t, c.Matches, torch.ToSlice[int](got), "%+v", m)

			none := m.Match(boxes.IoU(tensorOf(truth), tensorOf(anchors)), torch.FromSlice(make([]bool, len(truth))))
			assert.Equal(t, -1, none.Max().ItemInt(), "without boxes all is background")
		})
	}
}

func TestSampler(t *testing.T) {
	torchtest.Scoped(t, func() {
		labels := make([]int, 100)
		for i := range labels {
			labels[i] = []int{0, 0, 0, 3, -1}[i%5] // 60 negatives, 20 positives
		}
		all := torch.FromSlice(labels)
		for _, c := range []struct {
			s                    boxes.Sampler
			positives, negatives int
		}{
			{boxes.Sampler{Number: 1000, Positive: 0.5}, 20, 60},
			{boxes.Sampler{Number: 32, Positive: 0.25}, 8, 24},
			{boxes.Sampler{Number: 50, Positive: 0.5}, 20, 30},
			{boxes.Sampler{Number: 9, Positive: 0.5}, 4, 5},
		} {
			draw := func(seed uint64) (p, n []int) {
				positives, negatives := c.s.Sample(all, torch.NewGenerator(seed))
				return torch.ToSlice[int](positives), torch.ToSlice[int](negatives)
			}
			p, n := draw(1)
			assert.Len(t, p, c.positives)
			assert.Len(t, n, c.negatives)
			for _, i := range p {
				assert.Equal(t, 3, labels[i])
			}
			for _, i := range n {
				assert.Equal(t, 0, labels[i])
			}
			assert.IsIncreasing(t, p)
			assert.IsIncreasing(t, n)
			again, _ := draw(1)
			assert.Equal(t, p, again)
			if other, _ := draw(2); c.positives < 20 {
				assert.NotEqual(t, p, other)
			}
		}
	})
}
