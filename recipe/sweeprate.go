package recipe

import (
	"fmt"
	"strconv"
)

// rateKey is the key of a sweep that stands for all learning rates of a spec.
const rateKey = "lr"

// checkRates makes sure that a sweep's learning rates are some, and that no other key sets one.
func checkRates(axes []axis) error {
	at := -1
	for i, a := range axes {
		if a.key == rateKey {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	for _, v := range axes[at].values {
		if x, err := strconv.ParseFloat(v, 64); err != nil || !positive(x) {
			return wrongGrid("%s=%s is no learning rate, a number above 0", rateKey, v)
		}
	}
	for _, a := range axes {
		steps, err := parsePath(a.key)
		if err != nil || len(steps) != 3 || steps[0].name != "phases" {
			continue
		}
		if last := steps[2].name; last == "lr" || last == "head_lr" {
			return wrongGrid("lr sets the rates of all phases, and %s one of them: give one of the two", a.key)
		}
	}
	return nil
}

// readWithRate reads a spec in which rate, where it is not "", is the learning rate of the last phase, the one that the
// network is left with. The other rates that the spec or its preset names keep their proportions to it.
func readWithRate(path string, overrides []string, rate string) (Spec, error) {
	s, err := Read(path, overrides...)
	if err != nil || rate == "" {
		return s, err
	}
	base := s.Phases[len(s.Phases)-1].LR
	wanted, err := strconv.ParseFloat(rate, 64)
	if err != nil {
		return s, err
	}
	// scaled is rate itself where it can be, and else has no digits that are there by rounding alone.
	scaled := func(lr float64) string {
		if lr == base {
			return rate
		}
		return strconv.FormatFloat(lr/base*wanted, 'g', 12, 64)
	}
	if !s.source.given("phases") { // they are a preset's: there is no key to set
		for i := range s.Phases {
			for _, lr := range []*float64{&s.Phases[i].LR, &s.Phases[i].HeadLR} {
				*lr, _ = strconv.ParseFloat(scaled(*lr), 64)
			}
		}
		return s.Resolved()
	}
	for i, p := range s.Phases {
		key := fmt.Sprintf("phases[%d].", i)
		overrides = append(overrides, key+"lr="+scaled(p.LR))
		if s.source.given(key + "head_lr") {
			overrides = append(overrides, key+"head_lr="+scaled(p.HeadLR))
		}
	}
	return Read(path, overrides...)
}
