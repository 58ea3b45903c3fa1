package finetune

import (
	"fmt"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/quantity"
)

// Event is something that happened in a run: one of the types here and of package train, such as train.StepDone and
// train.TaskDone. String is a line for a log.
type Event = train.Event

// Planned comes before a phase.
type Planned struct {
	Phase  int // counted from 1
	Phases int
	Plan   *Plan
}

// Resumed comes, after the phase's Planned, before a run goes on from a checkpoint.
type Resumed struct {
	Path        string // of the checkpoint
	Step        int    // of all phases, the last that was made
	StepOfPhase int
	Samples     int     // of the epoch in hand, that are done
	Epochs      []Epoch // that were done
}

// EpochDone comes after each epoch, its evaluation and the saving of weights. Stop as OnEvent's answer is early
// stopping.
type EpochDone struct {
	Epoch
	Best bool // the epoch is the best so far
}

// FreezeChecked comes after a phase: no frozen tensor moved, and every trained stage did.
type FreezeChecked struct{ Phase int }

// Saved comes after weights were written.
type Saved struct{ Path string }

// CacheFound comes where what an earlier run kept of the frozen stages' output is taken.
type CacheFound struct {
	Path  string
	Bytes int64
	Made  time.Time
}

// CacheKept comes when the frozen stages' output is in a file that later runs can take.
type CacheKept struct {
	Path  string
	Bytes int64
}

// ActivationsRecomputed comes where GradientCheckpointing is "auto" and a step would take more memory than there is.
type ActivationsRecomputed struct{}

func (ActivationsRecomputed) String() string {
	return "memory: a step that keeps all activations does not fit: those of each stage are computed again in the backward pass (gradient checkpointing)"
}

func (e CacheFound) String() string {
	return fmt.Sprintf("cache: %s found, of %s: %s", quantity.Bytes(e.Bytes), e.Made.Local().Format(time.DateTime), e.Path)
}
func (e CacheKept) String() string {
	return fmt.Sprintf("cache: %s kept: %s", quantity.Bytes(e.Bytes), e.Path)
}

func (e Planned) String() string { return fmt.Sprintf("phase %d of %d\n%v", e.Phase, e.Phases, e.Plan) }
func (e Resumed) String() string {
	return fmt.Sprintf("resumed at step %d from %s", e.Step, e.Path)
}
func (e EpochDone) String() string {
	s := fmt.Sprintf("epoch %d: train loss %.4f, %v", e.Number, e.TrainLoss, e.Test)
	if e.Best {
		s += " (best)"
	}
	return s
}
func (FreezeChecked) String() string { return "frozen tensors unchanged, every trained stage moved" }
func (e Saved) String() string       { return "saved " + e.Path }
