package nn

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

// Merged is a module whose adapters are part of the weights, see [Merge].
type Merged struct{ layers []mergedLayer }

// mergedLayer is what a layer was before.
type mergedLayer struct {
	layer   Adaptable
	adapter Adapter
	weight  torch.Tensor // a copy
}

// Merge makes all adapters within m part of their layers' weights and takes them out, so that the layers cost no more
// than without: what is predicted differs in the last digits. The adapters and copies of the weights as they were are
// kept until Undo or Close. An adapter that is not [Merging] is an error, and nothing is merged.
func Merge(m any) (*Merged, error) {
	layers, err := mergeable(m)
	if err != nil {
		return nil, err
	}
	out := &Merged{}
	torch.NoGrad(func() {
		for _, l := range layers {
			weight, _ := l.Base()
			was := torch.NewParam(weight.Clone)
			torch.Scoped(func() { weight.Copy_(mergedWeight(l)) })
			out.layers = append(out.layers, mergedLayer{l, *l.Adapted(), was})
			*l.Adapted() = nil
		}
	})
	return out, nil
}

// Undo gives the layers their adapters again, and their weights as they were, to the last bit.
func (m *Merged) Undo() {
	torch.NoGrad(func() {
		for _, l := range m.layers {
			weight, _ := l.layer.Base()
			weight.Copy_(l.weight)
			l.weight.Close()
			*l.layer.Adapted() = l.adapter
		}
	})
	m.layers = nil
}

// Close leaves the weights merged for good and frees what they were, and the adapters. After Undo it does nothing.
func (m *Merged) Close() {
	for _, l := range m.layers {
		l.weight.Close()
		Close(l.adapter)
	}
	m.layers = nil
}

// MergedState is [State] as it would be with all adapters merged: what a checkpoint holds that shall load without
// adapters. m is not changed. The merged weights belong to the caller's scope. An adapter that is not [Merging] is an
// error.
func MergedState(m any) ([]torch.Named, error) {
	if _, err := mergeable(m); err != nil {
		return nil, err
	}
	merged, adapters := map[string]Adaptable{}, map[string]bool{}
	for layer, l := range Modules[Adaptable](m) {
		if *l.Adapted() == nil {
			continue
		}
		merged[join(layer, "weight")] = l
		for _, n := range State(*l.Adapted()) {
			adapters[join(layer, n.Name)] = true
		}
	}
	var out []torch.Named
	torch.NoGrad(func() {
		for _, n := range State(m) {
			if adapters[n.Name] {
				continue
			}
			if l := merged[n.Name]; l != nil {
				n.Tensor = torch.Tidy(func() torch.Tensor { return mergedWeight(l) })
			}
			out = append(out, n)
		}
	})
	return out, nil
}

// MergedStageState is [MergedState] of all stages, by the keys in the whole model.
func MergedStageState[B any](stages []Stage[B]) ([]torch.Named, error) {
	var out []torch.Named
	for _, s := range stages {
		state, err := MergedState(s.Module)
		if err != nil {
			return nil, err
		}
		for _, n := range state {
			out = append(out, torch.Named{Name: s.Key + n.Name, Tensor: n.Tensor})
		}
	}
	return out, nil
}

// mergeable lists the layers with adapters.
func mergeable(m any) (layers []Adaptable, err error) {
	for key, l := range Modules[Adaptable](m) {
		a := *l.Adapted()
		if a == nil {
			continue
		}
		if _, ok := a.(Merging); !ok {
			return nil, fmt.Errorf("the adapter of %s, a %T, cannot be merged into the weight: it has no Delta", key, a)
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// mergedWeight is a layer's weight with its adapter in it.
func mergedWeight(l Adaptable) (w torch.Tensor) {
	weight, _ := l.Base()
	torch.NoAutocast(func() { w = weight.Add((*l.Adapted()).(Merging).Delta()) })
	return w
}
