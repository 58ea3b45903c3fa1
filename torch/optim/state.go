package optim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/keys"
)

// record is what an optimizer keeps for one parameter.
type record struct {
	name  string
	param torch.Tensor
	slots []slot
}

// slot is the place of one state tensor, undefined until it is made.
type slot struct {
	kind    string // PyTorch's name of it, as in "exp_avg"
	at      *torch.Tensor
	counter bool // float32 without dimensions, where other state has the parameter's shape and dtype
}

func (r record) key(s slot) string { return r.name + "." + s.kind }

// zeros makes the tensor of a slot.
func (r record) zeros(s slot) torch.Tensor {
	if s.counter {
		return torch.NewParam(func() torch.Tensor { return torch.Zeros(torch.Float32, r.param.Device()) })
	}
	return torch.NewParam(r.param.ZerosLike)
}

// fits says what is wrong with a tensor for a slot, or "".
func (r record) fits(s slot, t torch.Tensor) string {
	shape, dtype := []int{}, torch.Float32
	if !s.counter {
		shape, dtype = r.param.Shape(), r.param.DType()
	}
	if !t.Defined() {
		return r.key(s) + ": undefined"
	}
	if got := t.Shape(); !slices.Equal(got, shape) || t.DType() != dtype {
		return fmt.Sprintf("%s: %v %v here, %v %v in the state", r.key(s), dtype, shape, t.DType(), got)
	}
	return ""
}

// named lists what exists of the state.
func named(records []record) []torch.Named {
	var out []torch.Named
	for _, r := range records {
		for _, s := range r.slots {
			if s.at.Defined() {
				out = append(out, torch.Named{Name: r.key(s), Tensor: *s.at})
			}
		}
	}
	return out
}

// closeAll frees the state.
func closeAll(records []record) {
	for _, r := range records {
		for _, s := range r.slots {
			s.at.Close()
			*s.at = torch.Tensor{}
		}
	}
}

// load sets the state of all parameters to copies of state, or, on an error, leaves it as it is. Tensors that exist are
// written in place, as a captured graph holds their addresses. A parameter that state does not name at all has not had
// its first step: its tensors are freed, or set to 0 where they must exist.
func load(records []record, state []torch.Named, mustExist bool) error {
	return torch.TryErr(func() error {
		given, err := match(records, state)
		if err != nil {
			return err
		}
		made, err := makeMissing(records, given)
		if err != nil {
			return err
		}
		torch.NoGrad(func() {
			for _, r := range records {
				for _, s := range r.slots {
					from, isGiven := given[r.key(s)]
					switch {
					case isGiven && !s.at.Defined():
						*s.at = made[r.key(s)]
						fallthrough
					case isGiven:
						s.at.Copy_(from)
					case s.at.Defined() && mustExist:
						s.at.Zero_()
					default:
						s.at.Close()
						*s.at = torch.Tensor{}
					}
				}
			}
		})
		return nil
	})
}

// match finds the state of each slot by key, and names all that does not fit.
func match(records []record, state []torch.Named) (map[string]torch.Tensor, error) {
	given := make(map[string]torch.Tensor, len(state))
	for _, s := range state {
		if _, twice := given[s.Name]; twice {
			return nil, fmt.Errorf("optimizer state: two entries are named %q", s.Name)
		}
		given[s.Name] = s.Tensor
	}
	known := make(map[string]bool, len(given))
	var missing, unexpected, unfit []string
	for _, r := range records {
		var absent []string
		for _, s := range r.slots {
			known[r.key(s)] = true
			if t, ok := given[r.key(s)]; !ok {
				absent = append(absent, r.key(s))
			} else if problem := r.fits(s, t); problem != "" {
				unfit = append(unfit, problem)
			}
		}
		if len(absent) < len(r.slots) { // with none at all the parameter has had no step
			missing = append(missing, absent...)
		}
	}
	for _, s := range state {
		if !known[s.Name] {
			unexpected = append(unexpected, s.Name)
		}
	}
	var parts []string
	for _, p := range []struct {
		what string
		keys []string
	}{{"missing", missing}, {"unexpected", unexpected}, {"of another shape or dtype", unfit}} {
		if len(p.keys) > 0 {
			parts = append(parts, fmt.Sprintf("%d entries %s (%s)", len(p.keys), p.what, keys.List(p.keys)))
		}
	}
	if parts != nil {
		return nil, fmt.Errorf("the optimizer state does not fit the optimizer: %s", strings.Join(parts, "; "))
	}
	return given, nil
}

// makeMissing makes the tensors that the state needs and that do not exist, all or none.
func makeMissing(records []record, given map[string]torch.Tensor) (map[string]torch.Tensor, error) {
	made := map[string]torch.Tensor{}
	err := torch.Try(func() {
		for _, r := range records {
			for _, s := range r.slots {
				if _, ok := given[r.key(s)]; ok && !s.at.Defined() {
					made[r.key(s)] = r.zeros(s)
				}
			}
		}
	})
	if err != nil {
		for _, t := range made {
			t.Close()
		}
		return nil, fmt.Errorf("loading the optimizer state: %w", err)
	}
	return made, nil
}
