package finetune

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch/dist"
)

// Off switches an option off whose zero value stands for a default: WarmUp, ClipNorm, WeightDecay, Momentum.
const Off = -1

// Options say how Fit trains. The zero value of a field stands for its default.
type Options struct {
	// Phases run one after the other. The default is the head alone for one epoch.
	Phases []Phase

	Batch     Batching
	Optimizer Optimizer

	// Objective is what is minimised and measured; nil is the model's own.
	Objective train.Objective
	// Best names the metric that chooses the best epoch: "loss" (lower is better), or one of the objective's metrics.
	// The default is the objective's first.
	Best string

	// ClipNorm is the largest Euclidean norm of all gradients together; larger ones are scaled down to it. The default,
	// 1, is that of BERT's optimization.py and of transformers' TrainingArguments.max_grad_norm. Off: not clipped.
	ClipNorm float64

	// EMA, in (0, 1), is the decay of an exponential moving average of what is trained, which is what evaluation measures
	// and what a phase leaves: 0.999, say. 0, the default, keeps none.
	EMA float64
	// EarlyStopping ends a phase whose evaluations do not get better; the zero value never does.
	EarlyStopping EarlyStopping

	// Device is "cpu", "cuda", "cuda:1", or "auto", the default: the first GPU, if the program has CUDA and finds one.
	Device string
	// Precision of matrix products: "float32", "bfloat16" or "float16" (autocast; float16 with a loss scale, as PyTorch's
	// GradScaler), or "auto", the default: bfloat16 on a GPU that multiplies it, and on a CPU that does (AMX or AVX512-BF16) where a
	// step that is tried before the first is faster and comes to the same, see PrecisionChosen; float32 elsewhere, and in runs of fewer
	// than 3,000 samples in all. Where runs are to be the same to the last digit whatever else the machine does, name it.
	Precision string
	// GradientCheckpointing has the backward pass compute the activations of each stage again in place of keeping them all, which takes a
	// third more time and less memory (Chen et al. 2016), to the same numbers: "on", "off", or "auto", the default, where a run on the
	// CPU is limited to less memory than its steps would take (a control group, as a container's). Of a GPU's memory auto knows too little.
	GradientCheckpointing string
	// Threads of the CPU; 0 leaves libtorch's number.
	Threads int
	// ShareCPUs has a run on the CPU look at its own steps, and compute otherwise while other programs need the CPUs: without
	// spinning, which changes no number, or on fewer threads, which changes the last digits; the latter not where Threads is set, it
	// is Deterministic, has checkpoints or is one of a Group. See ThreadsChosen.
	ShareCPUs bool
	// NoCache runs the frozen stages anew for every step, where the default is to run them once for each sample and to
	// keep their output, if the samples are not augmented and memory suffices.
	NoCache bool
	// Cache says where and how that output is kept.
	Cache Caching
	// NoGraphs runs every step operator by operator, where the default on a GPU is to capture steps whose shapes come
	// often as CUDA graphs.
	NoGraphs bool
	// Deterministic makes runs on a GPU the same from run to run, at some cost of speed. Runs on the CPU are, on one
	// machine with one number of threads, which it keeps them to.
	Deterministic bool
	// Seed decides the order of the samples and dropout.
	Seed uint64

	// Shared, where not nil, keeps the output of frozen stages for other runs of this process that freeze the same.
	Shared *Shared
	// Folder keeps what the run leaves (weights, metrics, summary); nil writes nothing.
	Folder *Folder
	// Adapters, where not nil, are those that lora.Apply has put into the model: Folder gets the best ones by themselves
	// too, in AdapterDir. Weights have them merged.
	Adapters AdapterSaver
	// Checkpoint says when the run saves in Folder what it needs to go on; the zero value never does.
	Checkpoint Checkpointing
	// Resume goes on from the newest checkpoint in Folder, bit for bit as if the run had not been interrupted. Options,
	// model and data must be those of the run; only Checkpoint, StopAfter and OnEvent may be others. Where the folder has
	// no checkpoint, the run begins anew in it; where the run came to its end, the error is ErrFinished.
	Resume bool
	// StopAfter ends the run with ErrTimeUp, between two steps, when it has taken so long; 0 is no limit.
	StopAfter time.Duration
	// Group are the processes that train together, from dist.Join; nil, the default, is this one alone. Each calls Fit
	// with the same model, data and options. A batch is one of all of them, of which each computes a part: so samples,
	// steps and losses are those of one process, up to rounding, however many there are, but for what is random in a step
	// (dropout). Rank 0 alone writes to Folder, and all go on from what it reads there. On the CPU only.
	Group *dist.Group
	// ShardOptimizer divides the optimizer's state among the processes of Group, as PyTorch's ZeroRedundancyOptimizer does (ZeRO,
	// stage 1): "on", "off", or "auto", the default, where gradients and state would take more than half of the free memory. The
	// numbers are the same to the last bit.
	ShardOptimizer string
	// LocalNorms lets batch norms that train see each process's part of the batch by itself, as PyTorch's
	// DistributedDataParallel does; the default is the whole batch's statistics, as in its SyncBatchNorm.
	LocalNorms bool
	// Observer sees the output for each test sample, in every evaluation of the run that is computed (the one before the first step
	// is not where an earlier run with the same weights and data left its outcome beside what is kept, see Cache); it may be nil.
	Observer train.Observer
	// OnEvent gets the events of the run, on Fit's goroutine. An error ends the run with that error; Stop ends it as if
	// its epochs were over. It must not use a GPU itself.
	OnEvent func(Event) error
}

// Stop is what OnEvent returns to end a run early without an error, as early stopping does: the metrics so far and the
// last weights are kept.
//
//lint:ignore ST1012 an answer like io.EOF, not a failure
var Stop = errors.New("the run was stopped")

// EarlyStopping says when a phase has had enough epochs.
type EarlyStopping struct {
	// Patience is the number of epochs in a row that are no better than the phase's best, by the metric that chooses the
	// best epoch, after which the phase ends. 0 is off.
	Patience int
	// MinDelta is how much better an epoch must be.
	MinDelta float64
}

// Batching says how many samples go through the model together.
type Batching struct {
	Size int // samples of a training batch at most; the default is 32 (Devlin et al. 2018, A.3)
	// Accumulate makes each step's batch so many times as large, Accumulate*Size samples, and computes it in parts of Size
	// samples, whose gradients add up to those of the whole: for batches that memory does not hold
	// (gradient_accumulation_steps). Batch norms see the parts. The default is 1.
	Accumulate int
	// Tokens is the budget of a training batch, padding counted: samples times the longest sample's length is at most
	// this. 0 is no budget.
	Tokens int
	// EvalSize is the samples of a batch in evaluation at most. The default is twice Size: without a gradient less
	// memory is kept.
	EvalSize int
}

// Optimizer says how gradients move the weights.
type Optimizer struct {
	Name string // "adamw", the default, or "sgd"
	// WeightDecay is decoupled from the gradient in adamw (Loshchilov and Hutter 2017), where the default is 0.01
	// (BERT's run_classifier.py, torch.optim.AdamW), and added to it in sgd, where the default is 1e-4 (He et al.
	// 2015). Off: none. Parameters with one dimension, biases and norms, are never decayed.
	WeightDecay float64
	// Betas, in [0, 1) and (0, 1), are the decay rates of adamw's two averages. The default is 0.9 and 0.999 (Kingma
	// and Ba 2014, torch).
	Betas [2]float64
	// Eps keeps adamw from dividing by 0. The default is 1e-8 (Kingma and Ba 2014, torch).
	Eps float64
	// Momentum of sgd, in [0, 1). The default is 0.9 (He et al. 2015). Off: none.
	Momentum float64
	Nesterov bool // sgd's momentum in Nesterov's form
}

// resolved fills in the defaults and checks all values.
func (o Options) resolved() (Options, error) {
	o.Phases = slices.Clone(o.Phases)
	if len(o.Phases) == 0 {
		o.Phases = []Phase{HeadFor(1)}
	}
	var wrong []error
	for i := range o.Phases {
		if err := o.Phases[i].resolve(); err != nil {
			wrong = append(wrong, fmt.Errorf("Phases[%d].%w", i, err))
		}
	}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	orDefault(&o.Batch.Size, 32)
	check(o.Batch.Size >= 1, "Batch.Size must be 1 or more, found %d", o.Batch.Size)
	check(o.Batch.Tokens >= 0, "Batch.Tokens must be 0 (no budget) or above, found %d", o.Batch.Tokens)
	orDefault(&o.Batch.Accumulate, 1)
	check(o.Batch.Accumulate >= 1, "Batch.Accumulate must be 1 or more, found %d", o.Batch.Accumulate)
	orDefault(&o.Batch.EvalSize, 2*o.Batch.Size)
	check(o.Batch.EvalSize >= 1, "Batch.EvalSize must be 1 or more, found %d", o.Batch.EvalSize)
	orOff(&o.ClipNorm, 1)
	check(o.ClipNorm == 0 || positive(o.ClipNorm), "ClipNorm must be above 0 or Off, found %v", o.ClipNorm)
	check(0 <= o.EMA && o.EMA < 1, "EMA must be 0 (none) or above and below 1, found %v", o.EMA)
	check(o.EarlyStopping.Patience >= 0, "EarlyStopping.Patience must be 0 (off) or above, found %d", o.EarlyStopping.Patience)
	check(o.EarlyStopping.MinDelta >= 0, "EarlyStopping.MinDelta must be 0 or above, found %v", o.EarlyStopping.MinDelta)
	orDefault(&o.GradientCheckpointing, "auto")
	check(slices.Contains([]string{"auto", "on", "off"}, o.GradientCheckpointing), "GradientCheckpointing must be auto, on or off, found %q", o.GradientCheckpointing)
	orDefault(&o.ShardOptimizer, "auto")
	check(slices.Contains([]string{"auto", "on", "off"}, o.ShardOptimizer), "ShardOptimizer must be auto, on or off, found %q", o.ShardOptimizer)
	orDefault(&o.Checkpoint.Keep, 2)
	check(o.Checkpoint.Keep >= 1, "Checkpoint.Keep must be 1 or more, found %d", o.Checkpoint.Keep)
	check(o.Checkpoint.Steps >= 0, "Checkpoint.Steps must be 0 (not by steps) or above, found %d", o.Checkpoint.Steps)
	check(o.Checkpoint.Every >= 0, "Checkpoint.Every must be 0 (not by time) or above, found %v", o.Checkpoint.Every)
	check(o.Folder != nil || o.Group.Rank() != 0 || !o.Checkpoint.on() && !o.Resume, "Checkpoint and Resume need a Folder")
	check(o.StopAfter >= 0, "StopAfter must be 0 (no limit) or above, found %v", o.StopAfter)
	check(o.Threads >= 0, "Threads must be 0 (libtorch's choice) or above, found %d", o.Threads)
	if err := o.Cache.resolve(); err != nil {
		wrong = append(wrong, fmt.Errorf("Cache.%w", err))
	}
	if err := o.Optimizer.resolve(); err != nil {
		wrong = append(wrong, fmt.Errorf("Optimizer.%w", err))
	}
	if err := errors.Join(wrong...); err != nil {
		return o, fmt.Errorf("finetune: Options.%w", err)
	}
	return o, nil
}

func (p *Optimizer) resolve() error {
	switch p.Name {
	case "", "adamw":
		p.Name = "adamw"
		orOff(&p.WeightDecay, 0.01)
		if p.Betas == [2]float64{} {
			p.Betas = [2]float64{0.9, 0.999}
		}
		orDefault(&p.Eps, 1e-8)
		if !(0 <= p.Betas[0] && p.Betas[0] < 1 && 0 < p.Betas[1] && p.Betas[1] < 1) {
			return fault("Betas", "must be from 0 to below 1, found %v", p.Betas)
		}
		if !positive(p.Eps) {
			return fault("Eps", "must be above 0, found %v", p.Eps)
		}
	case "sgd":
		orOff(&p.WeightDecay, 1e-4)
		orOff(&p.Momentum, 0.9)
		if !(0 <= p.Momentum && p.Momentum < 1) {
			return fault("Momentum", "must be from 0 to below 1, found %v", p.Momentum)
		}
		if p.Nesterov && p.Momentum == 0 {
			return fault("Nesterov", "needs a momentum above 0")
		}
	default:
		return fault("Name", "must be adamw or sgd, found %q", p.Name)
	}
	if !(p.WeightDecay == 0 || positive(p.WeightDecay)) {
		return fault("WeightDecay", "must be above 0 or Off, found %v", p.WeightDecay)
	}
	return nil
}

// fault is an error about a field.
func fault(field, format string, args ...any) error {
	return fmt.Errorf("%s %s", field, fmt.Sprintf(format, args...))
}

func positive(x float64) bool { return x > 0 && !math.IsInf(x, 1) }

// orDefault sets a field that was left out.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// orOff sets a field that was left out, and turns Off into 0.
func orOff(field *float64, value float64) {
	switch *field {
	case 0:
		*field = value
	case Off:
		*field = 0
	}
}
