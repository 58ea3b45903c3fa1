package detection_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision/detection"
)

// detectorGolden is a detector in torchvision.
type detectorGolden struct {
	Classes         int
	LR, Momentum    float64
	State           map[string][]int     // shapes
	Detections      [][]torchtest.Stored // x1, y1, x2, y2, label, score
	Parts           map[string]float64   // of the first step's loss
	Gradients, Init map[string][]float64 // digests
	Losses          []float64
	Pictures        string  // of the training
	MinScore        float64 `json:"min_score"`
	Noise           struct{ Boxes, Gradients, Losses float64 }
}

var detectors = []string{
	"fcos_resnet18_fpn", "fcos_resnet50_fpn", "retinanet_resnet18_fpn", "retinanet_resnet18_fpn_v2",
	"fasterrcnn_resnet18_fpn", "fasterrcnn_resnet18_fpn_v2",
}

func forEach(t *testing.T, f func(t *testing.T, name string, g detectorGolden)) {
	for _, name := range detectors {
		t.Run(name, func(t *testing.T) { f(t, name, torchtest.Golden[detectorGolden](t, name+".json.gz")) })
	}
}

func newNetwork(t testing.TB, name string, classes int) detection.Network {
	t.Helper()
	n, err := detection.New(detection.Options{Architecture: name, Classes: classes})
	require.NoError(t, err)
	t.Cleanup(n.Close)
	return n
}

// asGolden sets what testdata/detectors.py does: a threshold that leaves a few detections, and of Faster R-CNN few proposals,
// all of which are sampled. Steady weights are those of training.
func asGolden(n detection.Network, g detectorGolden, steady bool) {
	fill(n, steady)
	switch n := n.(type) {
	case *detection.FCOS:
		n.Limits.MinScore = max(n.Limits.MinScore, g.MinScore)
	case *detection.RetinaNet:
		n.Limits.MinScore = g.MinScore
	case *detection.FasterRCNN:
		n.Limits.MinScore = g.MinScore
		s := &n.Head.Sampling
		s.AfterNMS, s.TrainAfterNMS = 100, 60
		s.Anchors.Number, s.Proposals.Number = 1e6, 1e6
		s.Anchors.Positive, s.Proposals.Positive = 0.5, 0.5
	}
}

func TestKeysAreTorchvisions(t *testing.T) {
	forEach(t, func(t *testing.T, name string, g detectorGolden) {
		n := newNetwork(t, name, g.Classes)
		shapes := map[string][]int{}
		for _, s := range nn.State(n) {
			shapes[s.Name] = s.Tensor.Shape()
		}
		assert.Equal(t, g.State, shapes)
		staged := map[string][]int{}
		for _, s := range nn.StageState(n.Stages()) {
			staged[s.Name] = s.Tensor.Shape()
		}
		assert.Equal(t, g.State, staged, "stages hold everything once")
		assert.Equal(t, g.Classes, n.Classes())
	})
}

// Boxes are torchvision's within 0.01 pixel, scores within 1e-4.
func TestDetectionsAreTorchvisions(t *testing.T) {
	forEach(t, func(t *testing.T, name string, g detectorGolden) {
		n := newNetwork(t, name, g.Classes)
		asGolden(n, g, false)
		if name == "fasterrcnn_resnet18_fpn_v2" {
			// Its seeded boxes overlap by 0.5 to the last digits here and there: rounding decides which of them are left.
			defer fused.FoldNorms(fused.FoldNorms(false))
		}
		count, worstBox, worstScore := 0, 0.0, 0.0
		for b, want := range g.Detections {
			if b == 1 {
				detection.ChannelsLast(n)
			}
			torchtest.Scoped(t, func() {
				s := pictures(fmt.Sprintf("eval.%d", b), 5, 60, 130)
				var found [][]detection.Detection
				torch.Inference(func() {
					batch := s.batch(nil)
					found = n.Detections(nn.RunStages(n.Stages(), batch, nil), batch.Targets()[2])
				})
				require.Len(t, found, len(want))
				for i, stored := range want {
					rows := stored.Tensor(t)
					w := torch.ToSlice[float32](rows)
					where := fmt.Sprintf("picture %d of batch %d", i, b)
					require.Len(t, found[i], rows.Size(0), where)
					taken := make([]bool, len(found[i]))
					for j, d := range found[i] {
						count++
						require.InDelta(t, w[6*j+5], d.Score, 1e-4, "score %d of %s", j, where)
						// Scores that differ by the last digits may stand in another order.
						nearest, k := math.Inf(1), -1
						for at := range taken {
							v := w[6*at : 6*at+6]
							score := math.Abs(float64(d.Score - v[5]))
							if taken[at] || int(v[4]) != d.Label || score > 1e-4 {
								continue
							}
							apart := 0.0
							for e, edge := range []float32{d.X1, d.Y1, d.X2, d.Y2} {
								apart = max(apart, math.Abs(float64(edge-v[e])))
							}
							if apart < nearest {
								nearest, k = apart, at
							}
						}
						require.Less(t, nearest, 0.01, "box %d of %s, %v, has none of label and score beside it", j, where, d)
						taken[k] = true
						worstBox, worstScore = max(worstBox, nearest), max(worstScore, math.Abs(float64(d.Score-w[6*k+5])))
					}
				}
			})
		}
		assert.GreaterOrEqual(t, count, 20)
		t.Logf("%d boxes; largest differences %.1e pixels, %.1e of the score (float32's noise: %.1e pixels)", count, worstBox, worstScore, g.Noise.Boxes)
	})
}

// takeSteps takes steps of SGD over three batches that come round and gives the losses; first is called with the first
// losses and gradients.
func takeSteps(n detection.Network, g detectorGolden, first func(parts []torch.Named)) (losses []float64) {
	nn.SetTraining(n, true)
	nn.RequireGrad(n, true)
	var params []torch.Tensor
	for _, p := range nn.Params(n) {
		params = append(params, p)
	}
	o := optim.NewSGD(optim.SGDOptions{Momentum: g.Momentum}, &optim.Group{Params: params, LR: g.LR})
	defer o.Close()
	for step := range g.Losses {
		torch.Scoped(func() {
			key := fmt.Sprintf("%s.%d", g.Pictures, step%3)
			s := pictures(key, 3, 64, 97)
			target := s.targets(key, n.FirstLabel())
			output := nn.RunStages(n.Stages(), s.batch(target), nil)
			var parts []torch.Named
			var loss torch.Tensor
			if step == 0 {
				parts = n.Losses(output, target)
				loss = parts[0].Tensor
				for _, p := range parts[1:] {
					loss = loss.Add(p.Tensor)
				}
			} else {
				loss = detection.Loss(n, output, target)
			}
			loss.Backward()
			if step == 0 && first != nil {
				first(parts)
			}
			o.Step()
			o.ZeroGrad()
			losses = append(losses, loss.Item())
		})
	}
	return losses
}

func TestTrainingIsTorchvisions(t *testing.T) {
	forEach(t, func(t *testing.T, name string, g detectorGolden) {
		if name == "fasterrcnn_resnet18_fpn_v2" {
			// Some input of a ReLU lies so near 0 in each of the generator's pictures that Winograd's rounding moves a gradient, by
			// 2e-4; torchvision's own float32 is luckier.
			defer fused.UseWinograd(fused.UseWinograd(fused.WinogradNever))
		}
		n := newNetwork(t, name, g.Classes)
		asGolden(n, g, true)
		detection.ChannelsLast(n)
		worst := 0.0
		losses := takeSteps(n, g, func(parts []torch.Named) {
			require.Len(t, parts, len(g.Parts))
			for _, p := range parts {
				require.InEpsilon(t, g.Parts[p.Name], p.Tensor.Item(), 1e-4, p.Name)
			}
			trained := 0
			for key, p := range nn.Params(n) {
				require.True(t, p.Grad().Defined(), key)
				require.Contains(t, g.Gradients, key)
				worst = max(worst, torchtest.CloseDigests(t, key, p.Numel(), g.Gradients[key], torchtest.DigestOf(key, p.Grad()), 1e-4))
				trained++
			}
			assert.Len(t, g.Gradients, trained)
		})
		require.Len(t, losses, len(g.Losses))
		apart := 0.0
		for i := range losses {
			apart = max(apart, math.Abs(losses[i]-g.Losses[i])/g.Losses[i])
		}
		assert.Less(t, apart, 1e-3, "losses %v, not %v", losses, g.Losses)
		t.Logf("largest relative differences: gradients %.1e, losses of %d steps %.1e (float32's noise: %v)", worst, len(losses), apart, g.Noise)
	})
}

// The same seed draws the same numbers, up to a step of float32 where bounds are rounded.
func TestInitIsTorchvisions(t *testing.T) {
	forEach(t, func(t *testing.T, name string, g detectorGolden) {
		if g.Init == nil {
			return
		}
		n, err := detection.New(detection.Options{
			Architecture: strings.Replace(name, "resnet18", "resnet50", 1), Classes: g.Classes, TrainNorms: true,
		})
		require.NoError(t, err)
		defer n.Close()
		detection.ChannelsLast(n) // drawn row by row all the same
		n.Init(torch.NewGenerator(7))
		seen := 0
		for _, s := range nn.State(n) {
			if strings.HasSuffix(s.Name, "tracked") {
				continue
			}
			require.Contains(t, g.Init, s.Name)
			torchtest.CloseDigests(t, s.Name, s.Tensor.Numel(), g.Init[s.Name], torchtest.DigestOf(s.Name, s.Tensor), 1e-5)
			seen++
		}
		assert.Len(t, g.Init, seen)
	})
}
