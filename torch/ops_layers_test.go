package torch_test

import "github.com/thaw-ml/thaw/torch"

var none torch.Tensor

// small is a part of Img, [1, 2, 3, 3].
func small(x *inputs) torch.Tensor {
	return x.Img.Narrow(0, 0, 1).Narrow(1, 0, 2).Narrow(2, 0, 3).Narrow(3, 0, 3)
}

var layerCases = map[string]func(x *inputs) any{
	"Dropout":        func(x *inputs) any { return torch.Dropout(x.A, 0.5, true) },
	"Dropout/eval":   func(x *inputs) any { return torch.Dropout(x.A, 0.5, false) },
	"NativeDropout":  func(x *inputs) any { return two(torch.NativeDropout(x.A, 0.3, true)) },
	"FeatureDropout": func(x *inputs) any { return torch.FeatureDropout(x.Img, 0.5, true) },
	"Embedding":      func(x *inputs) any { return torch.Embedding(x.W, x.Ids, 1) },
	"EmbeddingBagPadded": func(x *inputs) any {
		out, _, _, _ := torch.EmbeddingBagPadded(x.W, x.Ids, x.on(torch.FromSlice([]int{0, 3})), false, 1, false, none, false, 1)
		return out
	},
	"LayerNorm":       func(x *inputs) any { return torch.LayerNorm(x.T, []int{4}, x.C, x.V, 1e-6) },
	"LayerNorm/plain": func(x *inputs) any { return torch.LayerNorm(x.T, []int{3, 4}, none, none, 1e-5) },
	"NativeLayerNorm": func(x *inputs) any { return three(torch.NativeLayerNorm(x.T, []int{4}, x.C, x.V, 1e-5)) },
	"RMSNorm":         func(x *inputs) any { return torch.RMSNorm(x.T, []int{4}, x.C, 1e-6) },
	"GroupNorm":       func(x *inputs) any { return torch.GroupNorm(x.Img, 2, x.C, x.V, 1e-5) },
	"BatchNorm": func(x *inputs) any {
		return torch.BatchNorm(x.Img, x.C, x.V, x.Z.Detach(), x.H.Detach(), false, 0.1, 1e-5, true)
	},
	"BatchNorm/training": func(x *inputs) any {
		return torch.BatchNorm(x.Img, x.C, x.V, none, none, true, 0.1, 1e-5, true)
	},
	"NativeBatchNorm": func(x *inputs) any {
		return three(torch.NativeBatchNorm(x.Img, x.C, x.V, none, none, true, 0.1, 1e-5))
	},
	"Conv1d": func(x *inputs) any {
		return torch.Conv1d(x.Seq, x.Ker1, x.Bias3, []int{2}, []int{1}, []int{1}, 1)
	},
	"Conv2d": func(x *inputs) any {
		return torch.Conv2d(x.Img, x.Ker, x.Bias3, []int{2, 1}, []int{1, 0}, []int{1, 1}, 1)
	},
	"Conv2d/dilated": func(x *inputs) any {
		return torch.Conv2d(x.Img, x.Ker, none, []int{1}, []int{0}, []int{2}, 1)
	},
	"Conv3d": func(x *inputs) any {
		return torch.Conv3d(x.Vol, x.Ker3, x.Bias3, []int{2}, []int{0}, []int{1}, 1)
	},
	"ConvTranspose2d": func(x *inputs) any {
		img := x.Img.Narrow(0, 0, 1).Narrow(2, 0, 3).Narrow(3, 0, 3)
		return torch.ConvTranspose2d(img, x.KerT, x.Bias3, []int{2}, []int{1}, []int{1}, 1, []int{1})
	},
	"Convolution": func(x *inputs) any {
		return torch.Convolution(x.Img, x.Ker, x.Bias3, []int{2, 2}, []int{1, 1}, []int{1, 1}, false, []int{0, 0}, 1)
	},
	"MaxPool2d": func(x *inputs) any {
		return torch.MaxPool2d(x.Img, []int{3}, []int{2}, []int{1}, []int{1}, false)
	},
	"MaxPool2dWithIndices": func(x *inputs) any {
		return two(torch.MaxPool2dWithIndices(x.Img, []int{2}, []int{2}, []int{0}, []int{1}, false))
	},
	"AvgPool2d": func(x *inputs) any {
		return torch.AvgPool2d(x.Img, []int{3}, []int{2}, []int{1}, false, false)
	},
	"AdaptiveAvgPool2d": func(x *inputs) any { return torch.AdaptiveAvgPool2d(x.Img, []int{2, 3}) },
	"AdaptiveMaxPool2d": func(x *inputs) any { return two(torch.AdaptiveMaxPool2d(x.Img, []int{2, 3})) },
	"UpsampleNearest2d": func(x *inputs) any { return torch.UpsampleNearest2d(small(x), []int{5, 4}, nil) },
	"UpsampleBilinear2d": func(x *inputs) any {
		return torch.UpsampleBilinear2d(small(x), []int{5, 4}, true, nil)
	},
	"UpsampleBilinear2d/scale": func(x *inputs) any {
		return torch.UpsampleBilinear2d(small(x), nil, false, []float64{2, 1.5})
	},
	"UpsampleBicubic2d": func(x *inputs) any {
		return torch.UpsampleBicubic2d(small(x), []int{5, 4}, false, nil)
	},
	"UpsampleBilinear2dAntialias": func(x *inputs) any {
		return torch.UpsampleBilinear2dAntialias(x.Img, []int{3, 4}, false, nil)
	},
	"UpsampleBicubic2dAntialias": func(x *inputs) any {
		return torch.UpsampleBicubic2dAntialias(x.Img, []int{3, 4}, false, nil)
	},
	"GridSampler": func(x *inputs) any { return torch.GridSampler(x.Img, x.Grid, 0, 0, false) },
	"AffineGrid":  func(x *inputs) any { return torch.AffineGrid(x.Theta, []int{2, 1, 3, 2}, false) },
	"ScaledDotProductAttention": func(x *inputs) any {
		return torch.ScaledDotProductAttention(x.Q, x.K, x.Val, none, 0, false)
	},
	"ScaledDotProductAttention/causal": func(x *inputs) any {
		return torch.ScaledDotProductAttention(x.Q, x.K, x.Val, none, 0, true)
	},
}

var lossCases = map[string]func(x *inputs) any{
	"CrossEntropyLoss": func(x *inputs) any {
		return torch.CrossEntropyLoss(x.Logits, x.Cls, x.H.Detach(), torch.ReduceMean, -100, 0.1)
	},
	"CrossEntropyLoss/ignored": func(x *inputs) any {
		return torch.CrossEntropyLoss(x.Logits, x.Cls, none, torch.ReduceSum, 1, 0)
	},
	"NLLLoss":      func(x *inputs) any { return torch.NLLLoss(x.Logits, x.Cls, none, torch.ReduceNone, -100) },
	"MSELoss":      func(x *inputs) any { return torch.MSELoss(x.A, x.B, torch.ReduceMean) },
	"L1Loss":       func(x *inputs) any { return torch.L1Loss(x.A, x.B, torch.ReduceSum) },
	"SmoothL1Loss": func(x *inputs) any { return torch.SmoothL1Loss(x.A, x.B, torch.ReduceMean, 0.5) },
	"HuberLoss":    func(x *inputs) any { return torch.HuberLoss(x.A, x.B, torch.ReduceNone, 0.7) },
	"BinaryCrossEntropy": func(x *inputs) any {
		return torch.BinaryCrossEntropy(x.Prob, x.Target.Detach(), none, torch.ReduceMean)
	},
	"BinaryCrossEntropyWithLogits": func(x *inputs) any {
		return torch.BinaryCrossEntropyWithLogits(x.A, x.Target.Detach(), none, x.H.Detach(), torch.ReduceMean)
	},
	"KLDiv":            func(x *inputs) any { return torch.KLDiv(x.A, x.Prob, torch.ReduceSum, false) },
	"CosineSimilarity": func(x *inputs) any { return torch.CosineSimilarity(x.A, x.B, 1, 1e-8) },
	"CosineEmbeddingLoss": func(x *inputs) any {
		return torch.CosineEmbeddingLoss(x.A, x.B, x.Sign, 0.2, torch.ReduceMean)
	},
	"MarginRankingLoss": func(x *inputs) any {
		return torch.MarginRankingLoss(x.X, x.Y, x.Sign, 0.5, torch.ReduceMean)
	},
	"TripletMarginLoss": func(x *inputs) any {
		return torch.TripletMarginLoss(x.A, x.B, x.P, 2, 2, 1e-6, false, torch.ReduceMean)
	},
}
