package optim

import "math"

// Plateau lowers learning rates when a number that is measured after each epoch no longer gets better, as PyTorch's
// ReduceLROnPlateau with threshold_mode "rel" and without cooldown. The zero value of a field is not a default.
type Plateau struct {
	Higher    bool    // a higher number is better
	Factor    float64 // on the rates, in (0, 1)
	Patience  int     // epochs without an improvement that are put up with
	Threshold float64 // the share of the best number that an improvement exceeds

	begun bool
	best  float64
	bad   int
	scale float64
}

// Scale is the factor on the rates now.
func (p *Plateau) Scale() float64 {
	if p == nil || !p.begun {
		return 1
	}
	return p.scale
}

// Measured takes the number of an epoch and reports whether it lowered the rates.
func (p *Plateau) Measured(x float64) (lowered bool) {
	if !p.begun {
		p.begun, p.scale = true, 1
		p.best = math.Inf(1)
		if p.Higher {
			p.best = math.Inf(-1)
		}
	}
	// In two operations, not one fused one: as PyTorch computes it, on every processor.
	limit := p.best * float64(1-p.Threshold)
	better := x < limit
	if p.Higher {
		limit = p.best * float64(1+p.Threshold)
		better = x > limit
	}
	if better {
		p.best, p.bad = x, 0
	} else {
		p.bad++
	}
	if p.bad > p.Patience {
		p.scale *= p.Factor
		p.bad = 0
		return true
	}
	return false
}
