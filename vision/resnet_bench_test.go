package vision_test

import (
	"testing"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
	"github.com/thaw-ml/thaw/vision"
)

// BenchmarkResNet50Step is a full training step of 16 images of 224 pixels, channels-last.
func BenchmarkResNet50Step(b *testing.B) {
	const n, size = 16, 224
	r := newResNet(b, "resnet50", 1000)
	r.Init(torch.NewGenerator(1), vision.InitOptions{})
	r.ChannelsLast()
	nn.SetTraining(r, true)
	nn.RequireGrad(r, true)
	var params []torch.Tensor
	for _, p := range nn.Params(r) {
		params = append(params, p)
	}
	o := optim.NewSGD(optim.SGDOptions{Momentum: 0.9}, &optim.Group{Params: params, LR: 0.01})
	defer o.Close()
	x := images("images", n, size)
	last := x.ContiguousAs(torch.ChannelsLast)
	y := labels("labels", n, 1000)
	defer func() { x.Close(); last.Close(); y.Close() }()
	step := func() {
		torch.Scoped(func() {
			nn.CrossEntropy(r.Forward(last), y, 0).Backward()
			o.Step()
			o.ZeroGrad()
		})
	}
	step() // compiles oneDNN's kernels
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "images/s")
}
