package optim

import "github.com/thaw-ml/thaw/torch"

// ClipGradNorm scales all gradients down so that their joint 2-norm is at most most, and returns the norm before, a
// tensor without dimensions. Nothing waits for the device. Without gradients the norm is undefined.
func ClipGradNorm(params []torch.Tensor, most float64) torch.Tensor {
	return torch.Tidy(func() (norm torch.Tensor) {
		torch.NoGrad(func() { norm = clip(params, most) })
		return norm
	})
}

func clip(params []torch.Tensor, most float64) torch.Tensor {
	var grads []torch.Tensor
	for _, p := range params {
		if g := p.Grad(); g.Defined() {
			grads = append(grads, g)
		}
	}
	if len(grads) == 0 {
		return torch.Tensor{}
	}
	norm := torch.Stack(torch.ForeachNorm(grads, 2), 0).VectorNorm(2, nil, false)
	// As PyTorch's clip_grad_norm_: the 1e-6 keeps a zero norm from dividing.
	torch.ForeachMulTensor_(grads, norm.AddScalar(1e-6).Reciprocal().MulScalar(most).ClampMax(1.0))
	return norm
}
