package recipe

import (
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// Preset is a published way to fine-tune: phases, and what else its source sets, for the keys that a spec leaves out.
type Preset struct {
	Name   string
	Source string // where it is from, and in what Thaw differs
	apply  func(s *Spec, given func(key string) bool)
}

// set gives a key's field a value, unless the spec gives one.
func set[T any](given func(string) bool, key string, field *T, value T) {
	if !given(key) {
		*field = value
	}
}

// Presets are the published ways that a spec's key preset names. docs/guide/training.md shows what each stands for.
var Presets = []Preset{
	{"bert", "Devlin et al. 2018, A.3, and run_classifier.py: all layers, 3 epochs, one rate for all", func(s *Spec, given func(string) bool) {
		s.Phases = []Phase{{Train: Selection{"all"}, Epochs: 3, LR: 2e-5, HeadLR: 2e-5, LayerDecay: 1, WarmUp: new(0.1), Schedule: "linear"}}
		set(given, "batch.size", &s.Batch.Size, 32)
		set(given, "optimizer.eps", &s.Optimizer.Eps, 1e-6)
	}},
	{"torchvision-transfer", "PyTorch's transfer learning tutorial, fine-tuning: SGD, batches of 4, a tenth of the rate after every 7 epochs",
		transferTutorial("all")},
	{"torchvision-feature-extractor", "PyTorch's transfer learning tutorial, the network as a fixed feature extractor", transferTutorial("head")},
	{"fastai-fine-tune", "fastai's Learner.fine_tune(1): the head for one epoch, then all layers at half the rate, less the deeper they are; " +
		"Thaw lowers the rate from stage to stage, starts a cycle at 1/25 of it, and does not cycle momentum", func(s *Spec, given func(string) bool) {
		s.Phases = []Phase{
			{Train: Selection{"head"}, Epochs: 1, LR: 2e-3, HeadLR: 2e-3, LayerDecay: 1, WarmUp: new(0.99), Schedule: "one-cycle"},
			{Train: Selection{"all"}, Epochs: 1, LR: 4e-4, HeadLR: 1e-3, LayerDecay: 0.4, WarmUp: new(0.3), Schedule: "one-cycle"},
		}
		set(given, "batch.size", &s.Batch.Size, 64)
		set(given, "optimizer.betas", &s.Optimizer.Betas, Betas{0.9, 0.99})
		set(given, "optimizer.eps", &s.Optimizer.Eps, 1e-5)
		set(given, "clip_norm", &s.ClipNorm, new(0.0))
	}},
	{"linear-probe-then-fine-tune", "Kumar et al. 2022: the head until it fits, so that the layers below are not torn by a random one, then all at a small rate",
		func(s *Spec, _ func(string) bool) {
			s.Phases = []Phase{
				{Train: Selection{"head"}, Epochs: 3, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: new(0.1), Schedule: "cosine"},
				{Train: Selection{"all"}, Epochs: 3, LR: 2e-5, HeadLR: 2e-5, LayerDecay: 1, WarmUp: new(0.1), Schedule: "cosine"},
			}
		}},
	{"gradual-unfreezing", "Howard and Ruder 2018 (ULMFiT): one more layer thawed each epoch from the top, rates that fall by 2.6 a layer, slanted triangles; " +
		"the last epochs train all", func(s *Spec, _ func(string) bool) {
		decay := 1 / 2.6
		s.Phases = []Phase{{Train: Selection{"head"}, Epochs: 1, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: new(0.1), Schedule: "linear"}}
		for _, what := range []string{"top 1", "top 2", "top 3", "all"} {
			s.Phases = append(s.Phases, Phase{
				Train: Selection{what}, Epochs: 1, LR: 2e-4, HeadLR: 2e-4, LayerDecay: decay, WarmUp: new(0.1), Schedule: "linear",
			})
		}
	}},
}

func transferTutorial(what string) func(*Spec, func(string) bool) {
	return func(s *Spec, given func(string) bool) {
		s.Phases = []Phase{{
			Train: Selection{what}, Epochs: 25, LR: 1e-3, HeadLR: 1e-3, LayerDecay: 1, WarmUp: new(0.0), Schedule: "step", StepEpochs: 7, Gamma: 0.1,
		}}
		set(given, "batch.size", &s.Batch.Size, 4)
		set(given, "optimizer.name", &s.Optimizer.Name, "sgd")
		if s.Optimizer.Name == "sgd" {
			set(given, "optimizer.weight_decay", &s.Optimizer.WeightDecay, new(0.0))
		}
		set(given, "clip_norm", &s.ClipNorm, new(0.0))
	}
}

// resolvePreset puts a preset's keys in the place of its name.
func (s *Spec) resolvePreset(f *faults) {
	if s.Preset == "" {
		return
	}
	at := slices.IndexFunc(Presets, func(p Preset) bool { return p.Name == s.Preset })
	if at < 0 {
		var names []string
		for _, p := range Presets {
			names = append(names, p.Name)
		}
		f.add("preset", "there is none named %s; there are %s", suggest.Quote(s.Preset), strings.Join(names, ", "))
		return
	}
	if len(s.Phases) > 0 {
		f.add("preset", "brings its own phases, and the spec has some too: leave one of the two out (docs/guide/training.md shows a preset's to copy)")
		return
	}
	Presets[at].apply(s, f.source.given)
	s.Preset = ""
}
