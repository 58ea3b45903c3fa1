package vision_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/fused"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
)

// networkGolden is an architecture in torchvision.
type networkGolden struct {
	Logits, Gradients, Statistics torchtest.Stored
	Losses                        []float64
	Params, Buffers               map[string][]int      // shapes
	Noise                         map[string][2]float64 // row-major, channels-last
	Salt                          int
}

type resnetGolden struct {
	Classes, Batch, Size, Steps int
	LR, Momentum                float64
	Networks                    map[string]networkGolden
	Long                        struct {
		Architecture                string
		Batch, Size, Steps, Batches int
		LR, Momentum, Noise         float64
		Losses                      []float64
	}
	Init     map[string]torchtest.Stored
	InitZero map[string]torchtest.Stored `json:"init_zero"`
}

func newResNet(t testing.TB, name string, classes int) *vision.ResNet {
	t.Helper()
	r, err := vision.NewResNet(name, classes)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// rows are the golden's digests by key.
func rows(t testing.TB, keys []string, s torchtest.Stored) map[string][]float32 {
	t.Helper()
	require.Equal(t, []int{len(keys), len(torchtest.Digest{})}, s.Shape)
	x := s.Tensor(t)
	defer x.Close()
	all, out := torch.ToSlice[float32](x), map[string][]float32{}
	for i, k := range keys {
		out[k] = all[i*len(torchtest.Digest{}):][:len(torchtest.Digest{})]
	}
	return out
}

// takeSteps takes steps of SGD over batches that come round and gives the losses; first is called with the first
// gradients.
func takeSteps(r *vision.ResNet, salt, batches, size, n, steps int, lr, momentum float64, last bool, first func()) (losses []float64) {
	nn.SetTraining(r, true)
	nn.RequireGrad(r, true)
	var params []torch.Tensor
	for _, p := range nn.Params(r) {
		params = append(params, p)
	}
	o := optim.NewSGD(optim.SGDOptions{Momentum: momentum}, &optim.Group{Params: params, LR: lr})
	defer o.Close()
	for step := range steps {
		torch.Scoped(func() {
			batch := fmt.Sprintf(".%d.%d", salt, step%batches)
			x := images("images"+batch, n, size)
			if last {
				x = x.ContiguousAs(torch.ChannelsLast)
			}
			loss := nn.CrossEntropy(r.Forward(x), labels("labels"+batch, n, r.Classes()), 0)
			loss.Backward()
			if step == 0 && first != nil {
				first()
			}
			o.Step()
			o.ZeroGrad()
			losses = append(losses, loss.Item())
		})
	}
	return losses
}

// closeLosses returns the largest relative difference.
func closeLosses(t testing.TB, want, got []float64, tolerance float64) (worst float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		worst = max(worst, math.Abs(got[i]-want[i])/want[i])
	}
	require.LessOrEqual(t, worst, tolerance, "losses %v, not %v", got, want)
	return worst
}

// float32 itself lies up to 8e-5 (gradients) and 2e-6 (statistics, logits) from the truth with these weights: the
// golden's noise, which resnet.py measures against float64.
func TestResNetsAreTorchvisions(t *testing.T) {
	g := torchtest.Golden[resnetGolden](t, "resnet.json.gz")
	require.Len(t, g.Networks, len(vision.Architectures()))
	for i, name := range vision.Architectures() {
		t.Run(name, func(t *testing.T) {
			want := g.Networks[name]
			r := newResNet(t, name, g.Classes)
			fill(r)
			params, buffers := shapes(t, nn.Params(r), want.Params), shapes(t, nn.Buffers(r), want.Buffers)

			logits := func(x torch.Tensor) {
				x = r.Forward(x)
				w := want.Logits.Tensor(t)
				torchtest.Close(t, w, x, 0, 1e-5*w.Abs().Max().Item(), "logits")
			}
			torchtest.Scoped(t, func() {
				torch.Inference(func() { logits(images("images", 2, g.Size)) })
			})
			last := i%2 == 1 // every other architecture trains channels-last
			if last {
				r.ChannelsLast()
			}
			torchtest.Scoped(t, func() {
				torch.Inference(func() {
					x := images("images", 2, g.Size).ContiguousAs(torch.ChannelsLast)
					logits(x)
					folded := r.Forward(x)
					defer fused.FoldNorms(fused.FoldNorms(false))
					plain := r.Forward(x)
					logits(x)
					torchtest.Close(t, plain, folded, 0, 1e-5*plain.Abs().Max().Item(), "norms folded into convolutions")
					assert.False(t, plain.Equal(folded), "they are")
				})
			})

			gradients, worst, worstStat := rows(t, params, want.Gradients), 0.0, 0.0
			losses := takeSteps(r, want.Salt, g.Steps, g.Size, g.Batch, g.Steps, g.LR, g.Momentum, last, func() {
				for key, p := range nn.Params(r) {
					require.True(t, p.Grad().Defined(), key)
					require.Positive(t, gradients[key][2], key)
					worst = max(worst, torchtest.CloseDigests(t, key, p.Numel(), gradients[key], torchtest.DigestOf(key, p.Grad()), 1e-4))
				}
			})
			worstLoss := closeLosses(t, want.Losses, losses, 1e-5)
			statistics := rows(t, buffers, want.Statistics)
			for key, b := range nn.Buffers(r) {
				require.Positive(t, statistics[key][2], key)
				worstStat = max(worstStat, torchtest.CloseDigests(t, key, b.Numel(), statistics[key], torchtest.DigestOf(key, b), 1e-5))
			}
			t.Logf("largest relative differences: gradients %.1e, losses %.1e, statistics %.1e (float32's noise: %v)", worst, worstLoss, worstStat, want.Noise)
		})
	}
}

// shapes fails where keys or shapes differ from torchvision's, and gives the keys in torchvision's order, which is
// Thaw's.
func shapes(t testing.TB, tensors func(func(string, torch.Tensor) bool), want map[string][]int) (keys []string) {
	t.Helper()
	got := map[string][]int{}
	tensors(func(key string, p torch.Tensor) bool {
		got[key], keys = p.Shape(), append(keys, key)
		return true
	})
	require.Equal(t, want, got)
	return keys
}

func TestThirtySteps(t *testing.T) {
	long := torchtest.Golden[resnetGolden](t, "resnet.json.gz").Long
	r := newResNet(t, long.Architecture, 10)
	fill(r)
	r.ChannelsLast()
	require.Len(t, long.Losses, 30)
	worst := closeLosses(t, long.Losses, takeSteps(r, 0, long.Batches, long.Size, long.Batch, long.Steps, long.LR, long.Momentum, true, nil), 1e-3)
	t.Logf("largest relative difference of a loss %.1e (float32's noise %.1e)", worst, long.Noise)
}

// The same seed draws the same numbers, up to a step of float32 where bounds are rounded.
func TestInitIsTorchvisions(t *testing.T) {
	g := torchtest.Golden[resnetGolden](t, "resnet.json.gz")
	for zero, nets := range map[bool]map[string]torchtest.Stored{false: g.Init, true: g.InitZero} {
		require.Len(t, nets, 2)
		for name, stored := range nets {
			r := newResNet(t, name, g.Classes)
			r.ChannelsLast() // drawn row by row all the same
			r.Init(torch.NewGenerator(7), vision.InitOptions{ZeroInitResidual: zero})
			want := stored.Tensor(t)
			values := torch.ToSlice[float32](want)
			want.Close()
			byKey := map[string][]float32{}
			for i, key := range stateOrder(r) {
				byKey[key] = values[i*len(torchtest.Digest{}):][:len(torchtest.Digest{})]
			}
			for _, s := range nn.State(r) {
				if strings.HasSuffix(s.Name, "tracked") {
					assert.Zero(t, s.Tensor.ItemInt())
					continue
				}
				for i, v := range torchtest.DigestOf(s.Name, s.Tensor) {
					w := float64(byKey[s.Name][i])
					require.InDelta(t, w, v, 1e-5*max(math.Abs(w), float64(byKey[s.Name][2])), "%s %v: %s, value %d", name, zero, s.Name, i)
				}
			}
		}
	}
}

// stateOrder lists the float keys as a state dict does: a norm's statistics behind its bias.
func stateOrder(r *vision.ResNet) (keys []string) {
	for key := range nn.Params(r) {
		keys = append(keys, key)
		if norm, ok := strings.CutSuffix(key, ".bias"); ok && norm != "fc" {
			keys = append(keys, norm+".running_mean", norm+".running_var")
		}
	}
	return keys
}

func TestNewResNetOfNoName(t *testing.T) {
	_, err := vision.NewResNet("resnet5O", 10)
	assert.ErrorContains(t, err, `no architecture is named "resnet5O"; did you mean "resnet50"?; there are resnet18, resnet34, `)
	_, err = vision.NewResNet("resnet18", 0)
	assert.EqualError(t, err, "a resnet18 of 0 classes: give one or more")
	before := torch.Stats()
	_, err = vision.NewResNet("resnet18", 1<<50)
	assert.ErrorContains(t, err, "make a resnet18 of 1125899906842624 classes: ")
	assert.Equal(t, before.Tensors, torch.Stats().Tensors, "what was made before the failure is freed")
}

// imageStages are the stages of a network on images as Forward takes them.
func imageStages(r *vision.ResNet) []nn.Stage[torch.Tensor] {
	return vision.Stages(r, func(x torch.Tensor) torch.Tensor { return x })
}

// Stages cut the network without a difference, hold every parameter once, and keep channels-last.
func TestStages(t *testing.T) {
	r := newResNet(t, "resnet18", 5)
	fill(r)
	var names, keys []string
	stages := imageStages(r)
	for _, s := range stages {
		names = append(names, s.Name)
		for _, n := range nn.State(s.Module) {
			keys = append(keys, s.Key+n.Name)
		}
	}
	assert.Equal(t, []string{"stem", "layer1", "layer2", "layer3", "layer4", "pool", "head"}, names)
	var all []string
	for _, s := range nn.State(r) {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	slices.Sort(keys)
	assert.Equal(t, all, keys)
	torchtest.Scoped(t, func() {
		x := images("images", 2, 64)
		whole := torch.ToSlice[float32](r.Forward(x))
		want := [][]int{{2, 64, 16, 16}, {2, 64, 16, 16}, {2, 128, 8, 8}, {2, 256, 4, 4}, {2, 512, 2, 2}, {2, 512}, {2, 5}}
		var y nn.Values
		for i := range stages {
			y = nn.RunStages(stages[i:i+1], x, y)
			assert.Equal(t, want[i], y[0].Shape(), names[i])
		}
		assert.Equal(t, whole, torch.ToSlice[float32](y[0]))
		assert.Equal(t, [2]int{5, 512}, [2]int{r.Classes(), r.Features()})

		r.ChannelsLast()
		last := nn.RunStages(stages[:5], x.ContiguousAs(torch.ChannelsLast), nil)[0]
		assert.True(t, last.Permute(0, 2, 3, 1).IsContiguous(), "strides %v", last.Strides())
	})
}

// A forward pass that records nothing holds little more than its input and output, and changes neither input nor
// weights.
func TestForwardIsLean(t *testing.T) {
	r := newResNet(t, "resnet50", 5)
	fill(r)
	torchtest.Scoped(t, func() {
		x := images("images", 2, 64)
		stages := imageStages(r)
		y := nn.RunStages(stages[:1], x, nil)
		before := y[0].Digest()
		live := torch.Stats().Tensors
		torch.NoGrad(func() { nn.RunStages(stages[1:5], torch.Tensor{}, y) })
		assert.LessOrEqual(t, torch.Stats().Tensors-live, int64(4), "one output for each layer")
		assert.Equal(t, before, y[0].Digest(), "ReLU in place stays within the block")
	})
}

func TestResNetOfWrongInput(t *testing.T) {
	r := newResNet(t, "resnet18", 5)
	fill(r)
	torchtest.Scoped(t, func() {
		err := torch.Try(func() { r.Forward(torch.Zeros(torch.Float32, torch.CPU, 1, 1, 64, 64)) })
		assert.ErrorContains(t, err, "conv2d: ")
		nn.SetTraining(r, true)
		err = torch.Try(func() { r.Forward(images("images", 1, 32)) })
		assert.ErrorContains(t, err, "one value in each of 512 channels has no variance")
		assert.Zero(t, r.Layer4[1].(*vision.BasicBlock).BN2.(*nn.BatchNorm).NumBatchesTracked.ItemInt())
	})
}
