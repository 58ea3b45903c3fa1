package recipe

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch/data"
)

// LoRA says which layers get adapters (Hu et al. 2021), which phases with train: lora train beside the head. See
// [lora.Config].
type LoRA struct {
	Rank  int     `yaml:"rank"`  // of the change of a weight; the default is 8, PEFT's
	Alpha float64 `yaml:"alpha"` // the change is scaled by alpha/rank; the default is twice the rank
	// Dropout, in [0, 1), is the share of a layer's input that its adapter does not see in training. 0 is off, and the
	// default.
	Dropout float64 `yaml:"dropout"`
	RSLoRA  bool    `yaml:"rslora"` // scales by alpha/sqrt(rank) (Kalajdzievski 2023)
	// Targets are names of layers or what such names end with, such as query, or "all-linear": all linear layers and
	// convolutions; or one regular expression that whole names match, such as ".*layer\.[45]\..*dense". The default is
	// query and value for texts (Hu et al. 2021) and all-linear for images.
	Targets Targets `yaml:"targets"`
	Layers  string  `yaml:"layers"` // "all", the default, or "top 2": layers in the last 2 stages before the head
	// Bias says which biases are trained too, as PEFT calls it: "none", the default, "all", or "lora_only", those of
	// layers with adapters.
	Bias string `yaml:"bias"`
}

// Targets are names of layers. In YAML it is one, or a list.
type Targets []string

// MarshalYAML writes a single item as a scalar.
func (t Targets) MarshalYAML() (any, error) { return Selection(t).MarshalYAML() }

// pattern matches what is a regular expression and no name.
var pattern = regexp.MustCompile(`[*+?()\[\]{}|^$\\]`)

// resolveLoRA fills in and checks lora, which a phase with train: lora stands for where it is left out.
func (s *Spec) resolveLoRA(f *faults, targets []string) {
	trained := false
	for i, p := range s.Phases {
		selection := finetune.Selection(p.Train)
		if !selection.TrainsLoRA() {
			continue
		}
		trained = true
		for j, item := range p.Train {
			f.check(item == "lora" || item == "head", fmt.Sprintf("phases[%d].train[%d]", i, j),
				"%s beside lora: where there are adapters only they and the head are trained, so that they can be used without the rest",
				item)
		}
	}
	if s.LoRA == nil {
		if !trained {
			return
		}
		s.LoRA = &LoRA{}
	}
	f.check(trained || f.failed["phases"], "lora", "no phase trains the adapters: write train: lora in one")
	for i, p := range s.Phases {
		selection := finetune.Selection(p.Train)
		f.check(!trained || selection.HeadOnly() || selection.TrainsLoRA(), fmt.Sprintf("phases[%d].train", i),
			"with lora a phase trains the adapters (train: lora) or the head")
	}
	s.LoRA.resolve(f, targets)
}

func (l *LoRA) resolve(f *faults, targets []string) {
	f.fallbackInt("lora.rank", &l.Rank, 8)
	f.check(l.Rank >= 1, "lora.rank", "must be 1 or more, found %d", l.Rank)
	f.fallbackFloat("lora.alpha", &l.Alpha, 2*float64(l.Rank))
	f.check(l.Rank < 1 || positive(l.Alpha), "lora.alpha", "must be above 0, found %v", l.Alpha)
	f.check(0 <= l.Dropout && l.Dropout < 1, "lora.dropout", "must be from 0 to below 1, found %v", l.Dropout)
	if len(l.Targets) == 0 && !f.source.given("lora.targets") {
		l.Targets = slices.Clone(targets)
	}
	f.check(len(l.Targets) > 0, "lora.targets", "no layer is named")
	for i, target := range l.Targets {
		key := fmt.Sprintf("lora.targets[%d]", i)
		f.text(key, target)
		f.check(target != "", key, "the name of a layer is empty")
		f.check(len(l.Targets) == 1 || target != lora.AllLinear && !pattern.MatchString(target), key,
			"%s stands alone, and there are %d targets", target, len(l.Targets))
	}
	if len(l.Targets) == 1 {
		_, err := regexp.Compile(l.Targets[0])
		f.check(err == nil, "lora.targets", "%v", err)
	}
	l.Layers = cmp.Or(strings.Join(strings.Fields(l.Layers), " "), "all")
	_, err := l.top()
	f.check(err == nil, "lora.layers", "%v", err)
	f.choice("lora.bias", &l.Bias, lora.NoBias, lora.AllBias, lora.LoRABias)
}

// top reads Layers; 0 is all.
func (l *LoRA) top() (int, error) {
	if l.Layers == "all" {
		return 0, nil
	}
	number, ok := strings.CutPrefix(l.Layers, "top ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 {
		return 0, fmt.Errorf(`expected all, or "top" and a number from 1 up, such as "top 2", found %q`, l.Layers)
	}
	return n, nil
}

// config is what l says to package lora.
func (l *LoRA) config() lora.Config {
	c := lora.Config{Rank: l.Rank, Alpha: l.Alpha, Dropout: l.Dropout, RSLoRA: l.RSLoRA, Bias: l.Bias}
	c.Top, _ = l.top() // it was checked
	if len(l.Targets) == 1 && pattern.MatchString(l.Targets[0]) {
		c.Pattern = l.Targets[0]
	} else {
		c.Targets = l.Targets
	}
	return c
}

// adapt puts the adapters that a spec asks for into its model; nil where it asks for none. task is what PEFT calls such
// a model, empty where it has no name for it.
func adapt[B data.Batch[B]](s *Spec, model finetune.Model[B], task string) (*lora.Adapters, error) {
	if s.LoRA == nil {
		return nil, nil
	}
	c := s.LoRA.config()
	c.BaseModel, c.TaskType, c.Seed = s.Model, task, s.Seed
	adapters, err := lora.Apply(model.Stages(), c)
	if err != nil {
		return nil, s.Errorf("lora.targets", "%w", err)
	}
	return adapters, nil
}

// withAdapters has a run train adapters, where there are some, and what belongs to them, and save them.
func withAdapters(o finetune.Options, a *lora.Adapters) finetune.Options {
	if a == nil {
		return o
	}
	o.Adapters = a
	for i, p := range o.Phases {
		if p.Train.TrainsLoRA() {
			o.Phases[i].Train = a.Selection()
		}
	}
	return o
}

// describeAdapters tells of adapters.
func describeAdapters(a *lora.Adapters) (lines [][2]string) {
	if a == nil {
		return nil
	}
	lines = append(lines, [2]string{"adapters", "LoRA of " + a.String()})
	if n := len(a.Grouped); n > 0 {
		warning := fmt.Sprintf("%s without an adapter, as their channels are in groups; the first: %s",
			quantity.Count(n, "convolution", "convolutions"), a.Grouped[0])
		lines = append(lines, [2]string{"warning", warning})
	}
	return lines
}
