// Package finetune fine-tunes pre-trained networks: [Fit] trains a [Model] on a data set phase by phase, as [Options]
// say. It makes a [Plan] of what is frozen and what is trained, runs the frozen stages once for each sample and keeps
// their output, checks that nothing frozen moved and that everything else did, and reports what happens as typed
// events.
//
// The package knows nothing of images or texts: a model is cut into stages (package nn), data are batches (torch/data),
// and what is minimised and measured is an objective (finetune/train/objective). Packages text and vision have models
// and data sets; package recipe reads YAML specs.
package finetune

import (
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Model is a network that can be fine-tuned on batches of type B.
type Model[B data.Batch[B]] interface {
	// Stages lists the cut points in the order they run; the last is the head. Together they hold every parameter.
	Stages() []nn.Stage[B]
	// Objective is what is minimised and measured, unless Options name another.
	Objective() train.Objective
}

// ConfigSaver is a model that can write what belongs beside its weights to load them again, such as config.json and a
// tokenizer's files.
type ConfigSaver interface{ SaveConfig(folder string) error }

// LengthLimiter is a model that takes samples up to a length: no batch is padded further.
type LengthLimiter interface{ MaxLength() int }
