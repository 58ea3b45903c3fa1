package nn

import "github.com/thaw-ml/thaw/torch"

// Castable is a module with parameters that it rounds to autocast's dtype whenever it runs, as [Linear] and [Conv2d],
// and reads from fused.ShadowParams where there are such copies.
type Castable interface {
	// AutocastParams gives these parameters, the weight first; they may be undefined.
	AutocastParams() []torch.Tensor
}

// AutocastParams lists the float32 parameters of all [Castable] modules within m: what fused.NewCast makes copies of.
// Weights come before all else, so that the weights of layers that follow each other lie side by side, and so do their
// biases.
func AutocastParams(m any) []torch.Tensor {
	var weights, rest []torch.Tensor
	for _, module := range Modules[Castable](m) {
		for i, p := range module.AutocastParams() {
			switch {
			case !p.Defined() || p.DType() != torch.Float32:
			case i == 0:
				weights = append(weights, p)
			default:
				rest = append(rest, p)
			}
		}
	}
	return append(weights, rest...)
}
