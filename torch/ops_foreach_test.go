package torch_test

import "github.com/thaw-ml/thaw/torch"

// inPlace runs f on A and P and gives them back.
func inPlace(x *inputs, f func(l outs)) any {
	l := outs{x.A, x.P}
	f(l)
	return l
}

// fused runs an optimizer's step on A and C with the gradients B and V and n sets of zeroed state; it gives the
// parameters and the state.
func fused(x *inputs, n int, step func(params, grads outs, state []outs, steps outs)) any {
	params := outs{x.A, x.C}
	var state []outs
	for range n {
		state = append(state, outs{x.A.ZerosLike(), x.C.ZerosLike()})
	}
	one := x.on(torch.FromScalar[float32](1))
	step(params, outs{x.B, x.V}, state, outs{one, one.Clone()})
	for _, s := range state {
		params = append(params, s...)
	}
	return params
}

func updateScale(x *inputs, growth int32, foundInf float32, update func(scale, tracker, found torch.Tensor)) any {
	scale, tracker := x.on(vector(1024)), x.on(torch.FromSlice([]int32{growth}))
	update(scale, tracker, x.on(vector(foundInf)))
	return outs{scale, tracker}
}

var foreachCases = map[string]func(x *inputs) any{
	"ForeachAdd_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachAdd_(l, outs{x.B, x.U}, 2) })
	},
	"ForeachAddScalar_": func(x *inputs) any { return inPlace(x, func(l outs) { torch.ForeachAddScalar_(l, 1.5) }) },
	"ForeachSub_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachSub_(l, outs{x.B, x.U}, 1) })
	},
	"ForeachMul_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachMul_(l, outs{x.B, x.U}) })
	},
	"ForeachMulScalar_": func(x *inputs) any { return inPlace(x, func(l outs) { torch.ForeachMulScalar_(l, 0.5) }) },
	"ForeachMulTensor_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachMulTensor_(l, x.on(torch.FromScalar[float32](3))) })
	},
	"ForeachMulScalars_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachMulScalars_(l, []float64{2, 3}) })
	},
	"ForeachMulScalar":  func(x *inputs) any { return torch.ForeachMulScalar(outs{x.A, x.C}, 4) },
	"ForeachDivScalar_": func(x *inputs) any { return inPlace(x, func(l outs) { torch.ForeachDivScalar_(l, 4.0) }) },
	"ForeachDiv_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachDiv_(l, outs{x.Prob, x.U}) })
	},
	"ForeachAddcmul_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachAddcmul_(l, outs{x.B, x.U}, outs{x.Prob, x.B}, 0.5) })
	},
	"ForeachAddcdiv_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachAddcdiv_(l, outs{x.B, x.U}, outs{x.Prob, x.Prob}, 0.5) })
	},
	"ForeachLerp_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachLerp_(l, outs{x.B, x.U}, 0.25) })
	},
	"ForeachSqrt": func(x *inputs) any { return torch.ForeachSqrt(outs{x.P, x.H}) },
	"ForeachSqrt_": func(x *inputs) any {
		l := outs{x.P, x.H}
		torch.ForeachSqrt_(l)
		return l
	},
	"ForeachNeg_": func(x *inputs) any { return inPlace(x, torch.ForeachNeg_) },
	"ForeachNorm": func(x *inputs) any { return torch.ForeachNorm(outs{x.A, x.T}, 2) },
	"ForeachCopy_": func(x *inputs) any {
		return inPlace(x, func(l outs) { torch.ForeachCopy_(l, outs{x.B, x.U}) })
	},
	"ForeachZero_": func(x *inputs) any { return inPlace(x, torch.ForeachZero_) },
	"FusedAdamW_": func(x *inputs) any {
		return fused(x, 2, func(p, g outs, s []outs, steps outs) {
			torch.FusedAdamW_(p, g, s[0], s[1], nil, steps, 0.1, 0.9, 0.99, 0.1, 1e-8, false, false)
		})
	},
	"FusedAdamWTensorLR_": func(x *inputs) any {
		return fused(x, 2, func(p, g outs, s []outs, steps outs) {
			lr := x.on(torch.FromScalar[float32](0.1))
			torch.FusedAdamWTensorLR_(p, g, s[0], s[1], nil, steps, lr, 0.9, 0.99, 0.1, 1e-8, false, false)
		})
	},
	"FusedAdam_": func(x *inputs) any {
		return fused(x, 2, func(p, g outs, s []outs, steps outs) {
			torch.FusedAdam_(p, g, s[0], s[1], nil, steps, 0.1, 0.9, 0.99, 0.1, 1e-8, false, false)
		})
	},
	"FusedSGD_": func(x *inputs) any {
		return fused(x, 1, func(p, g outs, s []outs, _ outs) {
			torch.FusedSGD_(p, g, s[0], 0.1, 0.9, 0.1, 0, true, false, true)
		})
	},
	"FusedSGDTensorLR_": func(x *inputs) any {
		return fused(x, 1, func(p, g outs, s []outs, _ outs) {
			torch.FusedSGDTensorLR_(p, g, s[0], 0.1, 0.9, x.on(torch.FromScalar[float32](0.1)), 0, true, false, true)
		})
	},
	"AmpUnscale_": func(x *inputs) any {
		found := x.on(vector(0))
		torch.AmpUnscale_(outs{x.A, x.Bad}, found, x.on(vector(0.5)))
		return outs{x.A, found}
	},
	"AmpUpdateScale_": func(x *inputs) any {
		return updateScale(x, 2, 0, func(s, t, f torch.Tensor) { torch.AmpUpdateScale_(s, t, f, 2, 0.5, 3) })
	},
	"AmpUpdateScale_/overflow": func(x *inputs) any {
		return updateScale(x, 2, 1, func(s, t, f torch.Tensor) { torch.AmpUpdateScale_(s, t, f, 2, 0.5, 3) })
	},
}
