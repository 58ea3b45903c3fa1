package nn

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/internal/keys"
)

// LoadOptions say how a checkpoint's keys meet a module's.
type LoadOptions struct {
	Lenient  bool                            // leave what does not fit as it is, instead of failing
	Rename   func(key string) (string, bool) // a checkpoint's key as the module's; false passes it over silently
	Optional func(key string) bool           // module keys that the checkpoint may lack, as a new head's
}

// LoadReport lists what did not fit.
type LoadReport struct {
	Loaded     int        // tensors that were copied
	Missing    []string   // of the module, not in the checkpoint
	Unexpected []string   // of the checkpoint, not in the module
	Mismatched []Mismatch // in both, with another shape
	Skipped    []string   // module keys that were optional and absent
	Strays     []string   // of the checkpoint, outside the prefix that wrappers put before the model's keys; passed over
}

// Mismatch is a tensor whose shapes differ.
type Mismatch struct {
	Key                string
	Module, Checkpoint []int
}

func (m Mismatch) String() string {
	return fmt.Sprintf("%s: %v in the model, %v in the file", m.Key, m.Module, m.Checkpoint)
}

// Load copies a checkpoint's tensors into a module's parameters and buffers, converting dtypes. Unless lenient, nothing
// is copied when a key is missing, unexpected or mis-shaped, and the error names them all.
//
// Prefixes that wrappers put before all of a model's keys are taken away first, see [torch.Checkpoint.Unwrapped]:
// Rename sees keys without them.
func Load(m any, c *torch.Checkpoint, o LoadOptions) (LoadReport, error) {
	var state []torch.Named
	if err := torch.Try(func() { state = State(m) }); err != nil {
		return LoadReport{}, fmt.Errorf("%s: %w", c.Path(), err)
	}
	c = c.Unwrapped(wanted(state, o.Rename))
	report := LoadReport{Strays: c.Strays()}
	source := map[string]string{} // module key: checkpoint key
	for _, key := range c.Names() {
		name := key
		if o.Rename != nil {
			var keep bool
			if name, keep = o.Rename(key); !keep {
				continue
			}
		}
		if other, twice := source[name]; twice {
			return report, fmt.Errorf("%s: %q and %q both stand for %q", c.Path(), other, key, name)
		}
		source[name] = key
	}
	var fits []torch.Named
	for _, s := range state {
		key, ok := source[s.Name]
		if !ok {
			if o.Optional != nil && o.Optional(s.Name) {
				report.Skipped = append(report.Skipped, s.Name)
			} else {
				report.Missing = append(report.Missing, s.Name)
			}
			continue
		}
		delete(source, s.Name)
		shape, _ := c.Shape(key)
		if want := s.Tensor.Shape(); !slices.Equal(want, shape) {
			report.Mismatched = append(report.Mismatched, Mismatch{s.Name, want, shape})
			continue
		}
		if _, err := c.DType(key); err != nil {
			return report, err
		}
		fits = append(fits, torch.Named{Name: key, Tensor: s.Tensor})
	}
	for _, key := range source { // what no parameter took
		report.Unexpected = append(report.Unexpected, key)
	}
	slices.Sort(report.Unexpected)
	if err := report.problem(c.Path()); err != nil && !o.Lenient {
		if len(fits) == 0 && len(report.Mismatched) == 0 {
			err = fmt.Errorf("%w; %s", err, c.DescribeKeys())
		}
		return report, err
	}
	for _, f := range fits {
		if err := c.CopyTo(f.Name, f.Tensor); err != nil {
			return report, err
		}
		report.Loaded++
	}
	return report, nil
}

// wanted tells the checkpoint's keys that a module has.
func wanted(state []torch.Named, rename func(string) (string, bool)) func(key string) bool {
	keys := make(map[string]bool, len(state))
	for _, s := range state {
		keys[s.Name] = true
	}
	return func(key string) bool {
		keep := true
		if rename != nil {
			key, keep = rename(key)
		}
		return keep && keys[key]
	}
}

// problem is the error that strict loading ends with, nil when all fits.
func (r LoadReport) problem(path string) error {
	var parts []string
	add := func(what string, names []string) {
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(names), what, keys.List(names)))
		}
	}
	add("keys missing", r.Missing)
	add("keys unexpected", r.Unexpected)
	var shapes []string
	for _, m := range r.Mismatched {
		shapes = append(shapes, m.String())
	}
	add("keys of another shape", shapes)
	if parts == nil {
		return nil
	}
	return fmt.Errorf("%s does not fit the model: %s", path, strings.Join(parts, "; "))
}
