package lora

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// model is a network as its stages show it.
type model struct {
	parts   []part   // the last is the head
	layers  []layer  // that can have adapters
	modules []string // names of all that hold parameters, and of what holds these
}

// part is a stage with parameters.
type part struct {
	key    string // before its keys
	module any
}

// layer is one that can have an adapter.
type layer struct {
	name   string
	part   int
	module nn.Adaptable
}

func newModel[B any](stages []nn.Stage[B]) *model {
	m := &model{}
	names := map[string]bool{}
	for i, s := range stages {
		if nn.NumParams(s.Module) == 0 && i < len(stages)-1 {
			continue
		}
		for key, l := range nn.Modules[nn.Adaptable](s.Module) {
			name := strings.TrimSuffix(s.Key+key, ".") // a stage may be a layer itself
			m.layers = append(m.layers, layer{name, len(m.parts), l})
		}
		for _, n := range nn.State(s.Module) {
			for name := parent(s.Key + n.Name); name != ""; name = parent(name) {
				names[name] = true
			}
		}
		m.parts = append(m.parts, part{s.Key, s.Module})
	}
	m.modules = slices.Sorted(maps.Keys(names))
	return m
}

// parent is the name of the module that a name is of, "" for the model itself.
func parent(name string) string { return name[:max(0, strings.LastIndex(name, "."))] }

// headModules are the modules of the head that hold parameters themselves.
func (m *model) headModules() (names []string) {
	if len(m.parts) == 0 {
		return nil
	}
	head := m.parts[len(m.parts)-1]
	for _, n := range nn.State(head.module) {
		if name := parent(head.key + n.Name); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// savedModules are the full names of modules that are named as in Config.ModulesToSave.
func (m *model) savedModules(asked []string) (names []string, err error) {
	for _, ask := range asked {
		found := m.endingIn(ask)
		if found == nil {
			return nil, fmt.Errorf("no module is named %s, to be trained as a whole%s", suggest.Quote(ask),
				suggest.DidYouMean(ask, m.ends()))
		}
		for _, name := range found {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

func (m *model) endingIn(target string) (names []string) {
	for _, name := range m.modules {
		if endsIn(name, target) {
			names = append(names, name)
		}
	}
	return names
}

// endsIn is how PEFT compares a target with a name.
func endsIn(name, target string) bool { return name == target || strings.HasSuffix(name, "."+target) }

// ends are the last parts of the modules' names, each once.
func (m *model) ends() []string {
	ends := map[string]bool{}
	for _, name := range m.modules {
		ends[name[strings.LastIndex(name, ".")+1:]] = true
	}
	return slices.Sorted(maps.Keys(ends))
}

// match finds the layers that the Config names. Where strict, every target must name one; PEFT lets one do for all.
func (a *Adapters) match(strict bool) error {
	m, c := a.model, a.Config
	first := 0
	if c.Top > 0 {
		if first = len(m.parts) - 1 - c.Top; first < 0 {
			return fmt.Errorf("there are %d stages with parameters before the head, and layers in the top %d are asked for",
				len(m.parts)-1, c.Top)
		}
	}
	allLinear := len(c.Targets) == 1 && c.Targets[0] == AllLinear
	whole, err := regexp.Compile("^(?:" + c.Pattern + ")$")
	if err != nil {
		return fmt.Errorf("the pattern of the targets: %w", err)
	}
	used := make([]bool, len(c.Targets))
	for _, l := range m.layers {
		hit := c.Pattern != "" && whole.MatchString(l.name)
		switch {
		case allLinear:
			hit = isLinear(l.module)
		default:
			for i, target := range c.Targets {
				if endsIn(l.name, target) {
					hit, used[i] = true, true
				}
			}
		}
		if !hit || l.part < first || a.isSaved(l.name) {
			continue
		}
		if conv, ok := l.module.(*nn.Conv2d); ok && conv.Groups > 1 && allLinear {
			a.Grouped = append(a.Grouped, l.name)
			continue
		}
		a.layers, a.Matched = append(a.layers, l), append(a.Matched, l.name)
	}
	for i, ok := range used {
		if strict && !ok && !allLinear {
			return a.unmatched(c.Targets[i])
		}
	}
	if len(a.layers) == 0 {
		return a.nothing()
	}
	return nil
}

func isLinear(l nn.Adaptable) bool {
	switch l.(type) {
	case *nn.Linear, *nn.Conv2d:
		return true
	}
	return false
}

// isSaved reports whether a module is, or is within, one that is trained as a whole.
func (a *Adapters) isSaved(name string) bool {
	return slices.ContainsFunc(a.saved, func(saved string) bool { return name == saved || strings.HasPrefix(name, saved+".") })
}

// unmatched is the error of a target that names no layer.
func (a *Adapters) unmatched(target string) error {
	if len(a.model.endingIn(target)) > 0 {
		return fmt.Errorf("the target %s is no linear layer, convolution or embedding; there are %s", suggest.Quote(target),
			a.model.choice())
	}
	return fmt.Errorf("no layer is named %s%s; there are %s", suggest.Quote(target),
		suggest.DidYouMean(target, a.model.ends()), a.model.choice())
}

// nothing is the error of a Config whose targets are all outside what may have adapters.
func (a *Adapters) nothing() error {
	if a.Config.Pattern != "" {
		hint := ""
		if len(a.model.endingIn(a.Config.Pattern)) > 0 {
			hint = fmt.Sprintf("; a pattern matches whole names, a list, as in [%s], the ends of names", a.Config.Pattern)
		}
		return fmt.Errorf("no layer before the head matches the pattern %s%s; a name is %s", suggest.Quote(a.Config.Pattern),
			hint, suggest.Quote(a.model.example()))
	}
	if a.Config.Top > 0 {
		return fmt.Errorf("no layer in the top %d stages before the head is named %s", a.Config.Top, suggest.List(a.Config.Targets))
	}
	return fmt.Errorf("of the layers named %s all are of the head, which is trained as a whole", suggest.List(a.Config.Targets))
}

// choice lists the ends of the names of layers that may have adapters.
func (m *model) choice() string {
	var ends []string
	for _, l := range m.layers {
		if end := l.name[strings.LastIndex(l.name, ".")+1:]; !slices.Contains(ends, end) && l.part < len(m.parts)-1 {
			ends = append(ends, end)
		}
	}
	return strings.Join(ends, ", ")
}

func (m *model) example() string {
	for _, l := range slices.Backward(m.layers) {
		if l.part < len(m.parts)-1 {
			return l.name
		}
	}
	return ""
}

// state lists what a file of the adapters holds, by PEFT's keys without their prefix.
func (a *Adapters) state() (out []torch.Named) {
	adapted := map[string]bool{}
	for _, l := range a.layers {
		adapted[l.name] = true
		for _, n := range nn.State(*l.module.Adapted()) {
			out = append(out, torch.Named{Name: l.name + "." + n.Name, Tensor: n.Tensor})
		}
		if _, bias := l.module.Base(); bias.Defined() && a.Config.Bias != NoBias {
			out = append(out, torch.Named{Name: l.name + ".base_layer.bias", Tensor: bias})
		}
	}
	for _, p := range a.model.parts {
		for _, n := range nn.State(p.module) {
			n.Name = p.key + n.Name
			isBias := a.Config.Bias == AllBias && strings.HasSuffix(n.Name, ".bias") && !adapted[parent(n.Name)]
			if a.isSaved(parent(n.Name)) || isBias {
				out = append(out, n)
			}
		}
	}
	return out
}
