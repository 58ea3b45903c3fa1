// Package data makes batches of samples: a [Dataset] is a list of samples that knows how to make a batch of some of
// them, a [Sampler] cuts it into batches in an order that a seed decides, and [Load] makes the batches on goroutines
// ahead of their use. Rows that come from files or memory are parted into those to train on and those to test on by
// [Split].
//
// The order of batches and what is in them depend on the seed and the epoch alone, never on the number of workers.
package data

import "github.com/thaw-ml/thaw/torch"

// Batch is a number of samples that a model takes at once; B is the type itself. The samples are padded to one length
// where they have lengths.
type Batch[B any] interface {
	Size() int      // samples
	Indices() []int // their positions in the data set
	// Lengths gives, for samples that are padded, each sample's own length along the second dimension of a stage's
	// output; nil where nothing is padded. Width is what they are padded to, 1 where nothing is.
	Lengths() []int
	Width() int
	// Tensors makes the tensors that the model and the objective read of the batch, on the CPU; undefined ones stand
	// for what this batch does not have. With gives a batch whose model reads those tensors instead, of the same shapes
	// and perhaps on another device.
	Tensors() []torch.Tensor
	With(tensors []torch.Tensor) B
	// Targets are what the objective compares the model's output with, on the device of the batch's tensors: class
	// numbers, say. A batch of samples without labels has none.
	Targets() []torch.Tensor
}

// Dataset is a list of samples that batches are made of.
type Dataset[B Batch[B]] interface {
	Len() int
	// Length of a sample along the dimension that is padded; 1 where none is.
	Length(i int) int
	// Batch makes a batch of samples: of fewer than are asked for, or none, where some cannot be read and the data set
	// skips them; it is an error when those are all there are. Batch may be called on another goroutine than the model,
	// one call at a time unless the data set is Concurrent. A batch that is a Closer is closed after its use.
	Batch(r Request) (B, error)
	// Augmented reports whether a training sample differs from epoch to epoch, by random crops say. What frozen stages
	// make of such samples is not kept.
	Augmented() bool
}

// Request asks a data set for a batch.
type Request struct {
	Indices []int // positions of the samples
	// Length, where it is not 0, is what to pad to: at least the longest sample's. Batches for a GPU are asked for so,
	// where those of one length must read tensors of the same shapes, whatever the samples.
	Length int
	// FirstStage is the first stage that will run on the batch: what only stages before it read may be left out.
	FirstStage int
	// Epoch counts the passes over the training samples from 1. 0 stands for evaluation: nothing is random then.
	Epoch int
}

// Concurrent is a data set whose Batch may be called from several goroutines at once.
type Concurrent interface {
	Concurrency() int // calls at once, at most
}

// Grouped is a data set some of whose samples fit together better than others, as pictures of like shape do: samples of
// one group share batches, but where what is left over of a group does not fill one, which then takes samples of the
// next group along. Each sample is in one batch of an epoch all the same.
type Grouped interface{ Group(i int) int }

// Fingerprinter is a data set that tells itself from others: equal fingerprints stand for the same samples in the same
// order, with the same targets and the same random changes. A run goes on from a checkpoint with the same data alone.
type Fingerprinter interface{ Fingerprint() string }

// Keyed is a data set whose inputs can be told from those of another run's, so that what a model made of them can be kept
// in a file.
type Keyed interface {
	// InputKey stands for what models read of each sample, in order: equal keys, equal inputs, whatever the targets.
	// With augmented the samples are those of training, changed at random, else those of evaluation. A file whose content
	// changed gives another key, by its time and size at least. "" is the key of inputs of which that cannot be told.
	InputKey(augmented bool) string
}

// Viewed is a data set that may tell that what is random about a training sample follows from the sample and
// Request.Epoch alone and changes no targets, so that a model's output for the samples of an epoch, a view of them, can be
// kept for later epochs.
type Viewed interface{ Views() bool }

// Slicer is a batch that can be computed in parts, as where gradients are accumulated.
type Slicer[B any] interface {
	// Slice gives the samples from (included) to to (not included) as a batch of the same width, whose tensors are views of
	// the batch's where those were made. What mixes samples with one another, such as MixUp, stays that of the whole batch.
	Slice(from, to int) B
}

// Closer is a batch that holds memory to free.
type Closer interface{ Close() }

// closeBatch frees what a batch holds, where it holds anything.
func closeBatch(b any) {
	if c, ok := b.(Closer); ok {
		c.Close()
	}
}

// closeTensors frees tensors.
func closeTensors(tensors []torch.Tensor) {
	for _, t := range tensors {
		t.Close()
	}
}
