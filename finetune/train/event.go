package train

import (
	"fmt"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune/train/metric"
)

// Event is something that happened in a run. String is a line for a log.
type Event interface{ String() string }

// Task is a part of a run that goes over many samples.
type Task struct {
	Kind  TaskKind
	Epoch int // of Training, counted from 1 over all phases
}

// TaskKind is the sort of a task.
type TaskKind int

// The kinds of tasks.
const (
	Prefix     TaskKind = iota // the frozen stages run once over all samples
	Baseline                   // the model is measured before anything is trained
	Training                   // an epoch of steps and its evaluation
	Evaluation                 // the model is measured, outside a run
)

func (t Task) String() string {
	switch t.Kind {
	case Prefix:
		return "prefix"
	case Baseline:
		return "before"
	case Evaluation:
		return "evaluate"
	}
	return fmt.Sprintf("epoch %d", t.Epoch)
}

// TaskStarted comes before a task over so many samples.
type TaskStarted struct {
	Task    Task
	Samples int
}

// Progress comes within a task that does not train, after each batch.
type Progress struct {
	Task    Task
	Samples int // so far
}

// StepDone comes after each optimizer step. On a GPU steps run behind the CPU.
type StepDone struct {
	Epoch   int // counted from 1 over all phases
	Step    int // counted from 1 in the phase
	Samples int // of the epoch so far
	// Loss is the mean over the epoch's samples so far; on a GPU, over those whose steps are known to be done.
	Loss     float64
	Measured int     // the samples that Loss is the mean of
	LR       float64 // of the head
}

// TaskDone comes after a task.
type TaskDone struct {
	Task    Task
	Samples int
	Loss    float64 // the mean training loss; of Training alone
	Elapsed time.Duration
	Score   *metric.Score // of the evaluation at its end; nil where there was none
}

// GradientsChecked comes in the first step of a phase: every trained tensor has a gradient.
type GradientsChecked struct{ Tensors int }

// GraphsCaptured comes after an epoch in which steps of new shapes were captured as CUDA graphs. Each was compared with
// the step run operator by operator.
type GraphsCaptured struct{ Shapes []string }

// Warning tells something unusual that does not end the run.
type Warning struct {
	Kind WarningKind
	Text string
}

// WarningKind is the sort of a warning.
type WarningKind int

// The kinds of warnings.
const (
	NotCached        WarningKind = iota // the output of the frozen stages is too large to be kept
	NotCaptured                         // the steps of a shape run operator by operator
	GraphsReleased                      // captured graphs were given up for their memory
	Skipped                             // samples could not be read and were left out
	CheckpointFailed                    // a checkpoint could not be written
	RecordingFailed                     // what a report shows could not be written
	StepsSkipped                        // float16's loss scale dropped many steps
	Contended                           // others need the CPUs too, and the run may not take fewer threads
	NotFolded                           // batch norms folded into convolutions gave other numbers
	NotBFloat16                         // a step in bfloat16 gave other numbers than in float32
)

func (e TaskStarted) String() string { return fmt.Sprintf("%v: %d samples", e.Task, e.Samples) }
func (e Progress) String() string    { return fmt.Sprintf("%v: %d samples done", e.Task, e.Samples) }
func (e StepDone) String() string {
	return fmt.Sprintf("epoch %d, step %d: loss %.4f, lr %.3g", e.Epoch, e.Step, e.Loss, e.LR)
}
func (e TaskDone) String() string {
	s := fmt.Sprintf("%v: %d samples in %v", e.Task, e.Samples, e.Elapsed.Round(time.Millisecond))
	if e.Task.Kind == Training {
		s += fmt.Sprintf(", loss %.4f", e.Loss)
	}
	if e.Score != nil {
		s += ", " + e.Score.String()
	}
	return s
}
func (e GradientsChecked) String() string {
	return fmt.Sprintf("%d of %[1]d trained tensors have gradients", e.Tensors)
}
func (e GraphsCaptured) String() string {
	return fmt.Sprintf("steps of %s are CUDA graphs; each was compared with the step run operator by operator", strings.Join(e.Shapes, ", "))
}
func (e Warning) String() string { return "warning: " + e.Text }
