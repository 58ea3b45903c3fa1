package optim

import (
	"fmt"
	"math"
)

// Schedule gives the factor on every learning rate at a step, counted from 0.
type Schedule func(step int) float64

// Constant rises linearly over warmUp steps and stays at 1 (transformers' get_constant_schedule_with_warmup).
func Constant(warmUp int) Schedule {
	return func(step int) float64 { return rise(step, warmUp) }
}

// Linear rises over warmUp steps and falls linearly to 0 at total (transformers' get_linear_schedule_with_warmup).
func Linear(warmUp, total int) Schedule {
	return func(step int) float64 {
		if step < warmUp {
			return rise(step, warmUp)
		}
		return max(0, float64(total-step)/float64(max(1, total-warmUp)))
	}
}

// Cosine rises over warmUp steps and falls as half a cosine to 0 at total (transformers'
// get_cosine_schedule_with_warmup; Loshchilov and Hutter 2017).
func Cosine(warmUp, total int) Schedule {
	return func(step int) float64 {
		if step < warmUp {
			return rise(step, warmUp)
		}
		progress := min(1, float64(step-warmUp)/float64(max(1, total-warmUp))) // past total it stays at 0
		return max(0, 0.5*(1+math.Cos(math.Pi*progress)))
	}
}

// Polynomial rises over warmUp steps and falls at total to end, a share of the highest rate, as (1 - progress)^power
// (transformers' get_polynomial_decay_schedule_with_warmup).
func Polynomial(warmUp, total int, power, end float64) Schedule {
	return func(step int) float64 {
		if step < warmUp {
			return rise(step, warmUp)
		}
		left := max(0, 1-float64(step-warmUp)/float64(max(1, total-warmUp)))
		return end + (1-end)*math.Pow(left, power)
	}
}

// Steps rises over warmUp steps, and is multiplied by gamma after every so many steps (PyTorch's StepLR).
func Steps(warmUp, every int, gamma float64) Schedule {
	return func(step int) float64 {
		if step < warmUp {
			return rise(step, warmUp)
		}
		return math.Pow(gamma, float64(step/max(1, every)))
	}
}

// OneCycle rises as half a cosine from 1/25 to 1 over a share of the steps and falls so to 1/250,000 (PyTorch's
// OneCycleLR with its defaults, 0.3 being the share there; Smith and Topin 2018).
func OneCycle(share float64, total int) Schedule {
	const divisor, finalDivisor = 25, 1e4
	low, end := 1.0/divisor, 1.0/divisor/finalDivisor
	top, last := share*float64(total)-1, float64(total-1)
	cosine := func(from, to, at, length float64) float64 {
		if length == 0 { // a phase of no steps, where PyTorch divides by zero
			return to
		}
		return to + (from-to)/2*(1+math.Cos(math.Pi*at/length))
	}
	return func(step int) float64 {
		s := min(float64(step), last)
		if s <= top {
			return cosine(low, 1, s, top)
		}
		return cosine(1, end, s-top, last-top)
	}
}

func rise(step, warmUp int) float64 {
	if step >= warmUp {
		return 1
	}
	return float64(step) / float64(max(1, warmUp))
}

// WarmUpSteps is the number of steps that a share of a total is, as transformers' get_warmup_steps; but the last step is
// never part of it: a run of one step, whose warm-up would start and end at a rate of 0, moves its parameters.
func WarmUpSteps(share float64, total int) int {
	return min(int(math.Ceil(share*float64(total))), max(0, total-1))
}

// Schedules lists the names that NewSchedule knows.
var Schedules = []string{"linear", "cosine", "constant", "one-cycle"}

// NewSchedule makes a schedule by name; warmUp is the share of the steps in which it rises.
func NewSchedule(name string, warmUp float64, total int) (Schedule, error) {
	if !(warmUp >= 0 && warmUp <= 1) {
		return nil, fmt.Errorf("a warm-up of %v: give the share of the steps, from 0 to 1", warmUp)
	}
	steps := WarmUpSteps(warmUp, total)
	switch name {
	case "linear":
		return Linear(steps, total), nil
	case "cosine":
		return Cosine(steps, total), nil
	case "constant":
		return Constant(steps), nil
	case "one-cycle":
		return OneCycle(max(warmUp, 1/float64(max(1, total))), total), nil
	}
	return nil, fmt.Errorf("no schedule is named %q; there are %v", name, Schedules)
}
