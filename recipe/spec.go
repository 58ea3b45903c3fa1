// Package recipe reads what to fine-tune from a YAML file, a spec, and opens what it names: the model and the data of
// one of the kinds of samples that Thaw knows, texts and images. Run folders are opened here too.
//
//	spec, err := recipe.Read("reviews.yaml", "seed=2")
//	task, err := recipe.Open(ctx, &spec)
//	defer task.Close()
//	result, err := task.Train(ctx, nil)
//
// The kinds are the rows of one table: a verb of the program is one call of this package, whatever the kind.
package recipe

import (
	"reflect"
	"slices"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch/dist"
)

// Spec is everything that a fine-tuning run depends on. A YAML file says it, and a run folder keeps
// it as it was resolved: with every default filled in and every path absolute.
//
// A field that is nil, or zero where zero is no possible value, takes its default. Parse, Read
// and Resolved check the rules below. A file must name model, data.train and phases, and for texts
// head.classes, data.columns.text and data.columns.label too.
type Spec struct {
	// Kind of the samples: "texts", "images", or "boxes", pictures with boxes around objects. Left out, the other keys
	// tell: images have a section images, a column of images, or training data that is no table; boxes a section boxes.
	Kind string `yaml:"kind,omitempty"`
	// Model is what to start from: a folder with config.json, the weights and, for texts, the tokenizer, as
	// transformers and Thaw's runs leave it; for images also a checkpoint file of torchvision's; or the name of a model
	// that thaw download has brought, such as resnet50 or bert-base-uncased (thaw models lists them). What is there as
	// a path is taken as a path.
	Model string `yaml:"model,omitempty"`
	// Weights is a weights file in place of the model's own. For images "none" starts from random weights, model being
	// an architecture.
	Weights string `yaml:"weights,omitempty"`
	Head    Head   `yaml:"head"`
	Data    Data   `yaml:"data"`
	// Images says how images become the network's input; nil where the data is none.
	Images *Images `yaml:"images,omitempty"`
	// Boxes says how annotated pictures are read and become the network's input; nil where the data is none.
	Boxes *Boxes `yaml:"boxes,omitempty"`
	// LoRA says which layers get adapters, which a phase with train: lora trains; nil where none does.
	LoRA *LoRA `yaml:"lora,omitempty"`
	// Preset names a published way to fine-tune, one of Presets, that stands for phases and for other keys which the spec
	// leaves out: "bert", "fastai-fine-tune" and so on. A resolved spec has those keys instead.
	Preset string  `yaml:"preset,omitempty"`
	Phases []Phase `yaml:"phases"` // one after the other; at least one
	// Metrics are measured after each epoch, in this order, beside the loss: of classes, say, [macro_f1, auroc, log_loss].
	// docs/guide/metrics.md lists the names for each objective. The default is the objective's: accuracy and macro_f1 for
	// classes, micro_f1, macro_f1 and subset_accuracy for several labels, mse, mae, pearson and spearman for numbers.
	Metrics []string `yaml:"metrics,omitempty"`
	// Best names the metric that chooses the best epoch: "loss", or one that is measured. The default is the first of
	// those, such as accuracy.
	Best string `yaml:"best,omitempty"`

	Batch     Batch     `yaml:"batch"`
	Optimizer Optimizer `yaml:"optimizer"`

	// ClipNorm is the largest Euclidean norm of all gradients together; larger ones are scaled down
	// to it. 0 is off. The default, 1, is that of BERT's optimization.py and of transformers'
	// TrainingArguments.max_grad_norm.
	ClipNorm *float64 `yaml:"clip_norm"`
	// LabelSmoothing, in [0, 1), is the share of the target that is spread over all classes
	// (Szegedy et al. 2015). 0 is off, and the default.
	LabelSmoothing float64 `yaml:"label_smoothing"`
	// ClassWeights say how much each class counts in the loss: a number for each of the classes, in their order, as weight
	// of PyTorch's CrossEntropyLoss (with several labels a sample, pos_weight of BCEWithLogitsLoss), or "balanced", which
	// makes all classes count the same (scikit-learn's class_weight). Evaluation measures the loss without.
	ClassWeights ClassWeights `yaml:"class_weights,omitempty"`
	// FocalGamma lets samples that are classified well count less (Lin et al. 2017, where 2 is best). 0 is off, and the
	// default. FocalAlpha, with several labels a sample, is the weight of those that hold, as torchvision's
	// sigmoid_focal_loss; 0 is off.
	FocalGamma float64 `yaml:"focal_gamma,omitempty"`
	FocalAlpha float64 `yaml:"focal_alpha,omitempty"`
	// EMA, in (0, 1), is the decay of an exponential moving average of what is trained, which is what is evaluated and
	// kept. 0 is off, and the default.
	EMA float64 `yaml:"ema,omitempty"`
	// EarlyStopping ends a phase that gets no better.
	EarlyStopping EarlyStopping `yaml:"early_stopping,omitempty"`

	// Precision of the matrix products: "float32", "bfloat16", "float16" (with a loss scale), or "auto", the default:
	// bfloat16 on a GPU that has it, and on a CPU that multiplies it where a step that is tried first is faster and comes to the same;
	// float32 elsewhere. eval and predict take float32 on a CPU by themselves.
	Precision string `yaml:"precision"`
	// Device: "cpu", "cuda", "cuda:1", or "auto", the default: the first GPU, if one is linked and
	// found.
	Device string `yaml:"device"`
	// Checkpointing computes the activations of each stage again in the backward pass in place of keeping them all (gradient checkpointing):
	// a third more time, less memory, the same numbers. "on", "off", or "auto", the default: where a container's memory would not do.
	Checkpointing string `yaml:"checkpointing,omitempty"`
	Threads       int    `yaml:"threads"` // of the CPU; 0, the default, is all of them
	// ShareCPUs has a run on the CPU compute otherwise while other programs need the CPUs (docs/guide/training.md).
	ShareCPUs bool  `yaml:"share_cpus,omitempty"`
	Cache     Cache `yaml:"cache"` // of the output of the frozen stages
	// Graph says how steps run on a GPU: "auto", the default, records those that come often as CUDA
	// graphs and replays them, "off" runs every step operator by operator, as the CPU does.
	Graph string `yaml:"graph"`
	// Deterministic makes a run on a GPU the same from run to run, at some cost of speed; runs on the
	// CPU are, on one machine with one number of threads.
	Deterministic bool       `yaml:"deterministic,omitempty"`
	Seed          uint64     `yaml:"seed"` // of the split, the new head, the order of the rows and dropout
	Checkpoint    Checkpoint `yaml:"checkpoint"`
	// StopAfter is the time after which the run saves a checkpoint and ends, to go on in another job: "3h50m". Empty is
	// no limit.
	StopAfter string `yaml:"stop_after,omitempty"`
	// Distributed is for runs of several processes.
	Distributed Distributed `yaml:"distributed,omitempty"`

	// Accept names findings about the data that would stop the run, or that are known and not worth a warning any more,
	// such as duplicates or conflicting-labels. docs/guide/check.md lists them.
	Accept []string `yaml:"accept,omitempty"`

	// Out is the run folder to make. Empty: thaw train chooses one.
	Out string `yaml:"out,omitempty"`

	shared *finetune.Shared
	group  *dist.Group // see Together
	share  int         // of the CPU's threads, where Threads is 0; 0: all
	goesOn bool        // the run was begun: its folder is there
	source *source     // where each key was given; nil for a Spec made in Go
}

// Head is what replaces the checkpoint's own head.
type Head struct {
	// Objective is what the head is trained for: "classification", the default, gives each sample one of the classes,
	// "multi-label" any number of them, and "regression" a number, which the label column then holds; "detection" finds
	// objects of the classes and is that of boxes alone.
	Objective string `yaml:"objective"`
	// Classes are two or more labels; the order is that of the logits. For images they may be left out: then they are
	// those of the training data, sorted. A regression has none.
	Classes []string `yaml:"classes,omitempty"`
	// Separator parts the labels of a sample from one another in a multi-label table; the default is ",". In .jsonl
	// files the labels may be a list.
	Separator string `yaml:"separator,omitempty"`
	// Pooling makes one vector of a text's tokens: "cls" takes the first one (Devlin et al. 2018),
	// and is the default; "mean" averages those that are no padding (Reimers and Gurevych 2019).
	Pooling string `yaml:"pooling,omitempty"`
	// Dropout before the classifier, in [0, 1). nil is the model's own, as its config.json says.
	Dropout *float64 `yaml:"dropout,omitempty"`
}

// Data names the texts or images.
type Data struct {
	// Train is a table: .csv, .tsv or .jsonl, also with .gz. Images may also be a folder with a folder for each class,
	// or an idx file (MNIST's format) with its labels beside it.
	Train   string  `yaml:"train,omitempty"`
	Columns Columns `yaml:"columns,omitempty"`
	// Test is what to evaluate on: a share of the training data ("0.1"; of images, that share of each class), every so
	// many rows of it ("every 10": rows 0, 10, 20, ...), or data of its own. Empty: nothing is evaluated.
	Test string `yaml:"test,omitempty"`
	// MaxLength is where a text is cut, in tokens with the special ones. The default, 128, is
	// max_seq_length of BERT's run_classifier.py.
	MaxLength int `yaml:"max_length,omitempty"`
	// OtherClasses says what becomes of images whose class is not among head.classes: "fail", the default, is an error,
	// "skip" leaves them out.
	OtherClasses string `yaml:"other_classes,omitempty"`
	// PerClass keeps so many training images of each class, which the seed chooses; 0, the default, keeps all.
	PerClass int `yaml:"per_class,omitempty"`
}

// Images says how images become the network's input.
type Images struct {
	Size int `yaml:"size"` // pixels of a side of the square that the network sees; 0, the default, is the model's own
	// Resize is what the shorter side becomes in evaluation before the middle is cut out; 0, the default, is the
	// model's own, or 8/7 of Size where that was given (256 for 224, as Krizhevsky et al. 2012).
	Resize int `yaml:"resize"`
	// Augment is what happens to training images: "crop", the default, is a random part of the image, turned over in
	// one of two cases (Szegedy et al. 2014); "randaugment" (Cubuk et al. 2019) and "trivialaugment" (Müller and Hutter
	// 2021) change colours and geometry after that; "flip" only turns over; "none" shows them as in evaluation. With
	// "none" the output of frozen layers is kept.
	Augment string `yaml:"augment"`
	// Scale is the share of the image's area that a random part has, from and to. The default is 0.08 and 1.
	Scale [2]float64 `yaml:"scale,omitempty"`
	// Erase is the probability of covering a random box (Zhong et al. 2017). 0 is off, and the default.
	Erase float64 `yaml:"erase"`
	// MixUp and CutMix are the alpha of Zhang et al. 2017 and of Yun et al. 2019: each batch is mixed by one of those
	// that are above 0. 0 is off, and the default.
	MixUp  float64 `yaml:"mixup"`
	CutMix float64 `yaml:"cutmix"`
	// Unreadable says what becomes of an image that is damaged: "fail", the default, ends the run, "skip" goes on
	// without it. Either names it.
	Unreadable string `yaml:"unreadable"`
	// Workers is the number of images that are read at a time; 0, the default, is one for each core.
	Workers int `yaml:"workers"`
}

// Columns names the columns of the data files.
type Columns struct {
	Text  string `yaml:"text,omitempty"`
	Image string `yaml:"image,omitempty"` // the column with the images' paths, relative to the table's folder
	Pair  string `yaml:"pair,omitempty"`  // the second text of a pair; empty for single texts
	Label string `yaml:"label,omitempty"`
}

// Phase is a stretch of training with one set of layers thawed.
type Phase struct {
	Train  Selection `yaml:"train"`
	Epochs int       `yaml:"epochs"` // passes over the training rows, 1 or more
	LR     float64   `yaml:"lr"`     // the highest learning rate of the stage just below the head
	// HeadLR is the highest learning rate of the head. The default is 10 times LR, as in Caffe's
	// fine-tuning of CaffeNet for Flickr style (lr_mult 10 on the new layer), and LR itself in a
	// phase that trains nothing but the head, or adapters.
	HeadLR float64 `yaml:"head_lr"`
	// LayerDecay, in (0, 1], multiplies the learning rate once for each stage further down: the
	// stage just below the head has LR, the next LR*LayerDecay (Howard and Ruder 2018; Clark et al.
	// 2020 fine-tune at 0.8 and 0.9). The default is 1: one rate for all, as Devlin et al. 2018.
	LayerDecay float64 `yaml:"layer_decay"`
	// WarmUp, in [0, 1), is the share of the phase's steps in which the learning rate rises from 0.
	// The default is 0.1, warmup_proportion of BERT's run_classifier.py; for "one-cycle" it is 0.3,
	// pct_start of torch.optim.lr_scheduler.OneCycleLR.
	WarmUp *float64 `yaml:"warm_up"`
	// Schedule of the learning rate after the warm-up: "linear" to 0, the default (BERT's
	// optimization.py, and TrainingArguments.lr_scheduler_type), "cosine" to 0, "constant",
	// "one-cycle" (Smith and Topin 2017), "polynomial" to EndLR, "step" after every few epochs, or
	// "plateau", which lowers the rate when the evaluation gets no better.
	Schedule string `yaml:"schedule"`
	// Power of "polynomial", 1 unless given, and the rate that it ends at, 1e-7 unless given.
	Power float64  `yaml:"power,omitempty"`
	EndLR *float64 `yaml:"end_lr,omitempty"`
	// StepEpochs of "step", and what the rate is multiplied by after so many: 0.1 unless given.
	StepEpochs int     `yaml:"step_epochs,omitempty"`
	Gamma      float64 `yaml:"gamma,omitempty"`
	// Patience of "plateau": the epochs without an improvement that are put up with, 10 unless given, and what the rate is
	// multiplied by then: 0.1 unless given.
	Patience *int    `yaml:"patience,omitempty"`
	Factor   float64 `yaml:"factor,omitempty"`
}

// EarlyStopping ends a phase whose evaluations get no better by the metric that chooses the best epoch.
type EarlyStopping struct {
	Patience int     `yaml:"patience,omitempty"`  // epochs in a row that are no better, after which the phase ends; 0 is off
	MinDelta float64 `yaml:"min_delta,omitempty"` // how much better an epoch must be
}

// Batch says how many rows go through the model together.
type Batch struct {
	Size int `yaml:"size"` // rows of a training batch at most; the default is 32 (Devlin et al. 2018, A.3)
	// Accumulate makes a step's batch so many times as large, and computes it in parts of Size rows whose gradients add up
	// to those of the whole (gradient_accumulation_steps). 0 and 1 are off; 0 is the default.
	Accumulate int `yaml:"accumulate,omitempty"`
	// Tokens is the budget of a training batch, padding counted: rows times the longest row is at
	// most this. 0, the default, is no budget.
	Tokens int `yaml:"tokens"`
	// EvalSize is the rows of a batch in evaluation at most. The default is twice Size: without a
	// gradient less is kept.
	EvalSize int `yaml:"eval_size"`
}

// Optimizer says how gradients move the weights.
type Optimizer struct {
	Name string `yaml:"name"` // "adamw", the default, or "sgd"
	// WeightDecay is decoupled from the gradient in adamw (Loshchilov and Hutter 2017), where the
	// default is 0.01 (BERT's run_classifier.py, torch.optim.AdamW), and added to it in sgd, where
	// the default is 1e-4 (He et al. 2015).
	WeightDecay *float64 `yaml:"weight_decay"`
	// Betas, in [0, 1) and (0, 1), are the decay rates of adamw's two averages. The default is 0.9
	// and 0.999 (Kingma and Ba 2014, TrainingArguments, torch).
	Betas Betas `yaml:"betas,omitempty"`
	// Eps keeps adamw from dividing by 0. The default is 1e-8 (Kingma and Ba 2014,
	// TrainingArguments, torch; BERT's own optimization.py has 1e-6).
	Eps float64 `yaml:"eps,omitempty"`
	// Momentum of sgd, in [0, 1). The default is 0.9 (He et al. 2015).
	Momentum *float64 `yaml:"momentum,omitempty"`
	Nesterov bool     `yaml:"nesterov,omitempty"` // sgd's momentum in Nesterov's form
}

// Betas are the decay rates of adamw's two averages.
type Betas [2]float64

// IsZero reports whether none were given; a spec without does not name them.
func (b Betas) IsZero() bool { return b == Betas{} }

// Selection says what a phase trains, see [finetune.Selection]. In YAML it is one item, or a list.
type Selection finetune.Selection

// MarshalYAML writes a single item as a scalar.
func (s Selection) MarshalYAML() (any, error) {
	if len(s) == 1 {
		return s[0], nil
	}
	return []string(s), nil
}

// Equal reports whether two specs say the same, wherever it was said.
func (s Spec) Equal(other Spec) bool {
	s.source, other.source = nil, nil
	s.goesOn, other.goesOn = false, false
	s.shared, other.shared = nil, nil
	return reflect.DeepEqual(s, other)
}

// Resolved fills in what is left out, makes every path absolute and checks all values. Paths are
// relative to the working folder. The error is SpecErrors, with all that was found wrong. s is not
// changed, and shares nothing with the result. A resolved Spec resolves to itself.
func (s Spec) Resolved() (Spec, error) {
	s = s.clone()
	f := newFaults(s.source)
	s.resolve(f)
	if err := f.err(); err != nil {
		return Spec{}, err
	}
	return s, nil
}

func (s Spec) clone() Spec {
	s.Head.Classes = slices.Clone(s.Head.Classes)
	s.Head.Dropout = clonePointer(s.Head.Dropout)
	s.Images = clonePointer(s.Images)
	if s.LoRA = clonePointer(s.LoRA); s.LoRA != nil {
		s.LoRA.Targets = slices.Clone(s.LoRA.Targets)
	}
	s.ClipNorm = clonePointer(s.ClipNorm)
	s.Optimizer.WeightDecay = clonePointer(s.Optimizer.WeightDecay)
	s.Optimizer.Momentum = clonePointer(s.Optimizer.Momentum)
	s.Phases = slices.Clone(s.Phases)
	s.Metrics = slices.Clone(s.Metrics)
	s.ClassWeights = slices.Clone(s.ClassWeights)
	s.Accept = slices.Clone(s.Accept)
	for i := range s.Phases {
		s.Phases[i].Train = slices.Clone(s.Phases[i].Train)
		s.Phases[i].WarmUp = clonePointer(s.Phases[i].WarmUp)
		s.Phases[i].EndLR = clonePointer(s.Phases[i].EndLR)
		s.Phases[i].Patience = clonePointer(s.Phases[i].Patience)
	}
	return s
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	return new(*p)
}
