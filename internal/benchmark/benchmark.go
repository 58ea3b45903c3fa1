// Package benchmark measures training steps on random weights and random samples: what thaw bench does.
package benchmark

import (
	"context"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/vision"
)

// Case is a kind of step. Its name is that of bench/peers/gpu_steps.py, which makes it with PyTorch: the same loss and
// gradients, though transformers computes all tokens of BERT's last layer where Thaw does one (docs/decisions/008).
type Case struct {
	Name    string
	Batch   int // samples of a step
	train   finetune.Selection
	measure func(ctx context.Context, c Case, o finetune.Options, effort finetune.Effort) (*finetune.Speed, error)
}

// Mode is a way to run the steps of a case.
type Mode string

// The modes.
const (
	Eager  Mode = "eager"  // operator by operator
	Graph  Mode = "graph"  // recorded once and replayed, on a GPU
	Cached Mode = "cached" // as Graph, and the frozen layers ran once for each sample before
)

// Modes are those that make sense for the case on a device.
func (c Case) Modes(onGPU bool) []Mode {
	modes := []Mode{Eager}
	if onGPU {
		modes = append(modes, Graph)
	}
	if !slices.Contains(c.train, "all") {
		modes = append(modes, Cached)
	}
	return modes
}

// Measure runs the case. Of o the device, the precision, the threads and the seed count.
func (c Case) Measure(ctx context.Context, o finetune.Options, mode Mode, effort finetune.Effort) (*finetune.Speed, error) {
	o.ClipNorm = finetune.Off // the peer does not clip
	o.Batch.Size = c.Batch
	o.NoGraphs, o.NoCache = mode == Eager, mode != Cached
	o.Phases = []finetune.Phase{{Train: c.train, Epochs: 1, LR: 2e-5}}
	return c.measure(ctx, c, o, effort)
}

// Cases lists what there is to measure.
func Cases() []Case {
	var cases []Case
	for _, part := range []struct {
		name  string
		train finetune.Selection
	}{{"full", finetune.All()}, {"top4", finetune.Top(4)}, {"head", finetune.HeadOnly()}} {
		for _, batch := range []int{16, 128} {
			cases = append(cases, Case{fmt.Sprintf("bert-base-%s-len128-bs%d", part.name, batch), batch, part.train, bertBase(even)})
		}
		cases = append(cases, Case{fmt.Sprintf("bert-base-%s-real-bs32", part.name), 32, part.train, bertBase(real)})
	}
	for _, part := range []struct {
		name  string
		train finetune.Selection
	}{{"full", finetune.All()}, {"layer4", finetune.Top(1)}, {"head", finetune.HeadOnly()}} {
		for _, batch := range []int{32, 256} {
			cases = append(cases, Case{fmt.Sprintf("resnet50-%s-bs%d", part.name, batch), batch, part.train, resnet50})
		}
	}
	return cases
}

// resnet50 measures ResNet-50 with ten classes at 224 pixels and SGD.
func resnet50(ctx context.Context, c Case, o finetune.Options, effort finetune.Effort) (*finetune.Speed, error) {
	model, err := vision.NewClassifier("resnet50", 10, o.Seed)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	o.Optimizer = finetune.Optimizer{Name: "sgd", WeightDecay: 1e-4, Momentum: 0.9}
	o.Phases[0].LR, o.Phases[0].HeadLR = 0.01, 0.01
	return finetune.Measure(ctx, model, vision.NewSynthetic(model, 8*c.Batch, 2*c.Batch, o.Seed), o, effort)
}

// even gives eight batches of texts of 128 tokens, so that no batch stays in a cache of the device.
func even(batch int) []int { return slices.Repeat([]int{128}, 8*batch) }

// real gives 2,048 texts as long as real ones.
func real(int) []int { return text.ShortTexts(2048, 1) }

// bertBase measures BERT-base with two classes and AdamW.
func bertBase(lengths func(batch int) []int) func(context.Context, Case, finetune.Options, finetune.Effort) (*finetune.Speed, error) {
	return func(ctx context.Context, c Case, o finetune.Options, effort finetune.Effort) (*finetune.Speed, error) {
		config := text.BertBase()
		model, err := text.NewClassifier(config, text.Head{Classes: []string{"0", "1"}, Pooling: text.CLS, Seed: o.Seed})
		if err != nil {
			return nil, err
		}
		defer model.Close()
		data := text.NewSynthetic(lengths(c.Batch), config.VocabSize, o.Seed)
		return finetune.Measure(ctx, model, data, o, effort)
	}
}
