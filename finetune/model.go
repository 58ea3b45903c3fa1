// Package finetune fine-tunes pre-trained networks: it reads a [Spec], makes a [Plan] of what is frozen and what is
// trained, runs the frozen stages once and keeps their output, drives the training loop, and leaves a run folder.
//
// It knows nothing of images or texts: a network is a [Model] cut into stages, data is a [Dataset] of batches.
package finetune

import "github.com/thaw-ml/thaw/torch"

// Stage is one of the parts that a model runs one after the other. A part without parameters, such as a pooling, may be a
// stage of its own, so that its output is what is kept when all before it is frozen; specs cannot name it.
type Stage struct {
	Name   string // as a spec names it: "layer.4"
	Module any    // whose parameters belong to the stage, see package nn
	Prefix string // of the module's keys in the whole model, with its dot
	// Pooled says that the stage's output, and that of those behind it, has one row for each sample, whatever its length.
	Pooled bool
}

// Model is a network that can be fine-tuned on batches of type B. The last stage is its head. One that takes samples up to a
// length has a method Longest() int, which tells it: no batch is padded further.
type Model[B Samples[B]] interface {
	// Stages lists the cut points in the order they run. Together they hold every parameter.
	Stages() []Stage
	// Forward runs the stages from (included) to to (not included) on x, the output of the stage before; x is undefined
	// for the first stage, which reads the batch. A stage's output has the samples along its first dimension.
	//
	// On a GPU it may be recorded once for each shape of a batch and replayed after: it must not ask the device for values
	// (Item, ToSlice), and what differs from batch to batch must come from the batch's tensors.
	Forward(b B, x torch.Tensor, from, to int) torch.Tensor
	// Loss makes a tensor without dimensions of the head's output: the mean over the samples. smoothing is the share of the
	// target that is spread over all classes.
	Loss(b B, output torch.Tensor, smoothing float64) torch.Tensor
	// SaveConfig writes what belongs beside the weights to read them again.
	SaveConfig(folder string) error
}

// Samples is what a model takes at once; B is the type itself.
type Samples[B any] interface {
	Size() int      // samples
	Indices() []int // their positions in the data set
	// Lengths tells, for samples that are padded, how much along the second dimension of a stage's output, before one that
	// is pooled, is the sample's own. nil: nothing is padded. Width is what they are padded to, 1 where nothing is.
	Lengths() []int
	Width() int
	Labels() []int // classes
	// Tensors makes what the model reads of the batch, on the CPU; undefined ones stand for what this batch has not. With
	// gives a batch whose model reads those tensors, of the same shapes and perhaps on another device, instead.
	Tensors() []torch.Tensor
	With(tensors []torch.Tensor) B
}

// Dataset is a list of samples that batches are made of.
type Dataset[B Samples[B]] interface {
	Len() int
	// Length of a sample along the dimension that is padded; 1 where none is.
	Length(i int) int
	// Batch makes a batch of samples: of fewer than are asked for, or none, where some cannot be read and the data set
	// passes over them; it is an error when those are all there are. A batch that has a method Close is closed after its
	// use. Batch may be called from another goroutine than the model, one call at a time; a data set with a method
	// Concurrency() int is called by so many goroutines at once.
	Batch(r Request) (B, error)
	Classes() []string
	// Varies reports whether a sample differs from epoch to epoch, by random crops say. What the frozen stages make of such
	// samples is not kept.
	Varies() bool
}

// Request asks a data set for a batch.
type Request struct {
	Indices []int // positions of the samples
	// Length, where it is not 0, is what to pad to: at least the longest sample's. Such batches are made for a GPU, where
	// those of one length must read tensors of the same shapes, whatever the samples.
	Length int
	// From is the first stage that will run on the batch: what only stages before it read may be left out.
	From int
	// Epoch counts the passes over the training samples from 1. 0 stands for evaluation: nothing is random then.
	Epoch int
}
