package train

import "github.com/thaw-ml/thaw/torch"

// scaler keeps gradients in float16 from underflowing: it multiplies the loss, divides the gradients, and drops a step
// whose gradients overflowed. Its numbers are those of PyTorch's GradScaler. A nil scaler does nothing.
type scaler struct {
	scale   torch.Tensor // float32, one element
	growth  torch.Tensor // int32, one element: good steps in a row
	skipped int          // steps that were dropped
}

const (
	initialScale   = 65536
	scaleGrowth    = 2
	scaleBackoff   = 0.5
	growthInterval = 2000
)

func newScaler(device torch.Device) *scaler {
	return &scaler{
		scale:  torch.NewParam(func() torch.Tensor { return torch.Full([]int{1}, initialScale, torch.Float32, device) }),
		growth: torch.NewParam(func() torch.Tensor { return torch.Zeros(torch.Int32, device, 1) }),
	}
}

// scaled is the loss that the backward pass starts from.
func (s *scaler) scaled(loss torch.Tensor) torch.Tensor {
	if s == nil {
		return loss
	}
	return loss.Mul(s.scale.Select(0, 0))
}

// unscale divides the gradients and reports whether all are finite. It waits for the device.
func (s *scaler) unscale(params []torch.Tensor) (finite bool) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			var grads []torch.Tensor
			for _, p := range params {
				if g := p.Grad(); g.Defined() {
					grads = append(grads, g)
				}
			}
			found := torch.Zeros(torch.Float32, s.scale.Device(), 1)
			if len(grads) > 0 {
				torch.AmpUnscale_(grads, found, s.scale.Reciprocal())
			}
			finite = found.Item() == 0
			torch.AmpUpdateScale_(s.scale, s.growth, found, scaleGrowth, scaleBackoff, growthInterval)
		})
	})
	if !finite {
		s.skipped++
	}
	return finite
}

// state lists the scaler's tensors.
func (s *scaler) state() []torch.Named {
	if s == nil {
		return nil
	}
	return []torch.Named{{Name: "scaler.scale", Tensor: s.scale}, {Name: "scaler.growth_tracker", Tensor: s.growth}}
}

func (s *scaler) close() {
	if s != nil {
		s.scale.Close()
		s.growth.Close()
	}
}
