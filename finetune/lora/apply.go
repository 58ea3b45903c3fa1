package lora

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Adapters are those of a model, and what is trained beside them. The model frees them with its other parameters, but
// for merged ones, which Close frees.
type Adapters struct {
	Config  Config   // resolved
	Matched []string // names of the layers with adapters, in the order of the forward pass
	// Grouped are the convolutions with groups that AllLinear passed over.
	Grouped []string

	model  *model
	saved  []string // modules that are trained and saved as a whole, by full name
	layers []layer  // of Matched
	merged []*nn.Merged
}

// Apply gives the layers of a model that c names their adapters. The last stage is the head, which is trained as a
// whole and gets none. A target that names no layer is an error, and then no layer has an adapter.
//
// From then on batch norms in stages with adapters keep their running statistics in training: those belong to the
// frozen network, and are in no adapter's file.
func Apply[B any](stages []nn.Stage[B], c Config) (*Adapters, error) {
	c, err := c.resolved()
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	m := newModel(stages)
	saved, err := m.savedModules(c.ModulesToSave)
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	a := &Adapters{Config: c, model: m, saved: append(saved, m.headModules()...)}
	if err = a.match(true); err == nil {
		err = a.add()
	}
	if err != nil {
		return nil, fmt.Errorf("lora: %w", err)
	}
	return a, nil
}

// add gives the matched layers adapters, all or none.
func (a *Adapters) add() (err error) {
	g := torch.NewGenerator(a.Config.Seed)
	for i, l := range a.layers {
		if *l.module.Adapted() != nil {
			err = fmt.Errorf("%s has an adapter already", l.name)
		} else {
			err = torch.TryErr(func() error { return nn.AddLoRA(l.module, a.Config.options(), g) })
		}
		if err != nil {
			a.layers = a.layers[:i]
			a.Remove()
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	for _, p := range a.model.parts {
		if hasAdapters(p.module) {
			fixNorms(p.module, true)
		}
	}
	return nil
}

// Remove takes the adapters out and frees them: the model is as before Apply, but for what else was trained.
func (a *Adapters) Remove() {
	a.Unmerge()
	for _, l := range a.layers {
		nn.Close(*l.module.Adapted())
		*l.module.Adapted() = nil
	}
	a.layers, a.Matched = nil, nil
	for _, p := range a.model.parts {
		fixNorms(p.module, false)
	}
}

func hasAdapters(m any) bool {
	for range nn.AdapterParams(m) {
		return true
	}
	return false
}

func fixNorms(m any, on bool) {
	for _, norm := range nn.Modules[*nn.BatchNorm](m) {
		norm.Fixed = on
	}
}

// Selection is what a phase of finetune.Fit trains to train the adapters, the head, and the biases and modules that the
// Config names: "lora", and where it names some their names.
func (a *Adapters) Selection() []string {
	out := []string{"lora"}
	switch a.Config.Bias {
	case AllBias:
		out = append(out, "*.bias")
	case LoRABias:
		for _, l := range a.layers {
			if _, bias := l.module.Base(); bias.Defined() {
				out = append(out, l.name+".bias")
			}
		}
	}
	head := a.model.headModules()
	for _, name := range a.saved {
		if !slices.Contains(head, name) {
			out = append(out, name+".*")
		}
	}
	return out
}

// Merge makes the adapters part of the weights, so that predicting costs no more than without; the weights as they were
// are kept for Unmerge, or until Close.
func (a *Adapters) Merge() error {
	if a.merged != nil {
		return nil
	}
	for _, p := range a.model.parts {
		m, err := nn.Merge(p.module)
		if err != nil {
			a.Unmerge()
			return err
		}
		a.merged = append(a.merged, m)
	}
	return nil
}

// Unmerge gives the layers their adapters again, and their weights as they were, to the last bit.
func (a *Adapters) Unmerge() {
	for _, m := range a.merged {
		m.Undo()
	}
	a.merged = nil
}

// Close leaves merged weights merged for good and frees what they were, and the adapters. Without Merge it does
// nothing.
func (a *Adapters) Close() {
	for _, m := range a.merged {
		m.Close()
	}
	if a.merged != nil {
		a.merged, a.layers = nil, nil
	}
}

// NumParams counts the elements of the adapters.
func (a *Adapters) NumParams() (n int) {
	for _, l := range a.layers {
		weight, _ := l.module.Base()
		shape := weight.Shape()
		n += a.Config.Rank * (shape[0] + weight.Numel()/shape[0])
	}
	return n
}

// String says what has adapters: "rank 8 in 24 layers (query, value), 294,912 parameters".
func (a *Adapters) String() string {
	var ends []string
	for _, name := range a.Matched {
		end := name[strings.LastIndex(name, ".")+1:]
		if !slices.Contains(ends, end) {
			ends = append(ends, end)
		}
	}
	slices.Sort(ends)
	return fmt.Sprintf("rank %d in %s (%s), %s parameters", a.Config.Rank, quantity.Count(len(a.layers), "layer", "layers"),
		strings.Join(ends, ", "), quantity.Digits(a.NumParams()))
}
