package terminal

import (
	"context"
	"io"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"time"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/internal/version"
	"github.com/thaw-ml/thaw/torch"
)

// progressEvery is the time between two records of a task that goes on.
const progressEvery = 10 * time.Second

// Records writes what happens in a run as JSON objects, one a line, for programs that collect logs: time, level, msg
// (the event's name) and the event's own fields.
type Records struct {
	log     *slog.Logger
	run     Settings
	phase   int // counted from 1
	task    train.Task
	samples int // of the task
	before  int // samples that were done when the task began, in a run that goes on
	resumed int // before, of the epoch that begins next
	began   time.Time
	last    time.Time
}

// NewRecords makes the records of a run.
func NewRecords(out io.Writer, run Settings) *Records {
	return &Records{log: slog.New(slog.NewJSONHandler(out, nil)), run: run}
}

// Greet tells what runs.
func (r *Records) Greet() {
	threads := r.run.Threads
	if threads == 0 {
		threads = torch.NumThreads()
	}
	r.log.Info("start", "thaw", version.WithRevision(), "libtorch", torch.Version(), "go", runtime.Version(),
		"device", r.run.Device, "precision", r.run.Precision, "threads", threads, "folder", r.run.Folder)
}

// Note tells a line about a subject.
func (r *Records) Note(subject, text string) {
	level := slog.LevelInfo
	if subject == "warning" {
		level = slog.LevelWarn
	}
	r.log.Log(context.Background(), level, "note", "subject", subject, "text", text)
}

// Event writes an event; it is what finetune.Options.OnEvent calls.
func (r *Records) Event(e finetune.Event) error {
	switch e := e.(type) {
	case finetune.Planned:
		r.phase = e.Phase
		frozen, trained := 0, 0
		for _, s := range e.Plan.Stages {
			trained += s.Trainable
			frozen += s.Params - s.Trainable
		}
		r.log.Info("plan", "phase", e.Phase, "phases", e.Phases, "epochs", e.Plan.Phase.Epochs, "steps", e.Plan.Steps,
			"batches", e.Plan.Batches, "rows", e.Plan.Rows, "trained_params", trained, "frozen_params", frozen,
			"cached", e.Plan.Cached, "cache_bytes", e.Plan.CacheBytes)
	case train.TaskStarted:
		r.task, r.samples, r.last = e.Task, e.Samples, time.Now()
		r.began, r.before = r.last, 0
		if e.Task.Kind == train.Training {
			r.before, r.resumed = r.resumed, 0
		}
		r.log.Info("task", "task", e.Task.String(), "phase", r.phase, "samples", e.Samples)
	case train.Progress:
		if r.due() {
			r.log.Info("progress", "task", r.task.String(), "phase", r.phase, "done", e.Samples, "samples", r.samples)
		}
	case train.StepDone:
		if r.due() {
			r.log.Info("progress", "task", r.task.String(), "phase", r.phase, "done", e.Samples, "samples", r.samples,
				"step", e.Step, "loss", finite(e.Loss), "lr", e.LR, "samples_per_second", r.speed(e.Samples), "memory_bytes", torch.Stats().Bytes)
		}
	case train.TaskDone:
		fields := []any{"task", e.Task.String(), "phase", r.phase, "samples", e.Samples, "seconds", e.Elapsed.Seconds()}
		if e.Task.Kind == train.Training {
			fields = append(fields, "epoch", e.Task.Epoch, "train_loss", finite(e.Loss))
		}
		r.log.Info("done", append(fields, scores(e.Score)...)...)
	case finetune.EpochDone: // TaskDone has told it
	case finetune.Saved:
		r.log.Info("saved", "path", e.Path)
	case finetune.Resumed:
		r.resumed = e.Samples
		r.log.Info("resumed", "path", e.Path, "step", e.Step, "epochs", len(e.Epochs))
	case finetune.CheckpointSaved:
		r.log.Info("checkpoint", "path", e.Path, "step", e.Step)
	case finetune.StoppedEarly:
		r.log.Info("stopped early", "phase", e.Phase, "epoch", e.Epoch, "metric", e.Metric, "best", finite(e.Best), "text", e.String())
	case finetune.RateLowered:
		r.log.Info("rate lowered", "epoch", e.Epoch, "scale", e.Scale, "text", e.String())
	case train.Warning:
		r.log.Warn("warning", "text", e.Text)
	case train.GradientsChecked:
		r.log.Info("check", "phase", r.phase, "text", e.String())
	case finetune.FreezeChecked:
		r.log.Info("check", "phase", e.Phase, "text", e.String())
	default:
		r.log.Info("note", "text", strings.TrimSpace(e.String()))
	}
	return nil
}

// speed is the number of samples in a second since the task began.
func (r *Records) speed(done int) float64 {
	return math.Round(10*float64(done-r.before)/max(time.Since(r.began).Seconds(), 1e-3)) / 10
}

// due reports whether a running task is to be told of again.
func (r *Records) due() bool {
	now := time.Now()
	if now.Sub(r.last) < progressEvery {
		return false
	}
	r.last = now
	return true
}

// Close ends nothing: each record is written at once.
func (*Records) Close() {}

// Abandon tells why a run did not come to its end, and what is left of it.
func (r *Records) Abandon(err error) {
	fields := []any{"error", err.Error()}
	if folder, epochs, _ := left(r.run.Folder); r.phase > 0 && folder != "" {
		fields = append(fields, "folder", folder, "epochs", epochs)
	}
	r.log.Error("failed", fields...)
}

// Finish tells what the run came to.
func (r *Records) Finish(result *finetune.Result) {
	fields := []any{"folder", result.Folder, "seconds", result.Seconds.Total, "prefix_seconds", result.Seconds.Prefix,
		"train_seconds", result.Seconds.Train, "evaluate_seconds", result.Seconds.Evaluate, "peak_memory_bytes", result.PeakBytes}
	if result.PeakDeviceBytes > 0 {
		fields = append(fields, "peak_device_memory_bytes", result.PeakDeviceBytes)
	}
	if result.Best.Rows > 0 {
		fields = append(append(fields, "best_epoch", result.BestEpoch), scores(&result.Best)...)
	}
	r.log.Info("finished", fields...)
}

// scores are the fields of an evaluation.
func scores(s *metric.Score) []any {
	if s == nil {
		return nil
	}
	fields := []any{"rows", s.Rows, "loss", finite(s.Loss)}
	for _, v := range s.Values {
		fields = append(fields, v.Name, finite(v.Value))
	}
	return fields
}

// finite is x, or nil, JSON's null, where JSON has no number for it.
func finite(x float64) any {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return x
}
