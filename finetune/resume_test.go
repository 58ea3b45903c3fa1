package finetune

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// long are options of a run of five epochs in two phases, 50 steps, the first of which runs behind kept stages.
func long(t *testing.T, folder string) Options {
	t.Helper()
	o, err := Options{
		Phases: []Phase{{Train: HeadOnly(), Epochs: 2, LR: 1e-2}, {Train: Top(3), Epochs: 3, LR: 1e-2, Schedule: Cosine}},
		Batch:  Batching{Size: 4, EvalSize: 8}, Seed: 5, Folder: NewFolder(folder), Checkpoint: Checkpointing{Steps: 3},
	}.resolved()
	require.NoError(t, err)
	return o
}

// trainLong runs the long run on a new model, on the CPU or on a stand-in for a GPU.
func trainLong(t *testing.T, ctx context.Context, on train.Backend, o Options) (*Result, error) {
	t.Helper()
	return fitOn[*rows](ctx, on, torch.Float32, newNet(t), newSamples(1, 40, mixed), newSamples(2, 20, mixed), o)
}

// leavings is what a run leaves that is to be the same, by file.
func leavings(t *testing.T, folder string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{"weights/best.safetensors", "weights/last.safetensors", PlanFile} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		out[name] = string(content)
	}
	f, err := os.Open(filepath.Join(folder, MetricsFile))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	for _, row := range rows {
		out[MetricsFile] += strings.Join(row[:len(row)-1], ",") + "\n" // without seconds
	}
	return out
}

func TestResume(t *testing.T) {
	unchangedTensors(t)
	for _, on := range []func() train.Backend{func() train.Backend { return train.CPU{} }, func() train.Backend { return &replayer{t: t} }} {
		plain := t.TempDir() + "/run"
		want, err := trainLong(t, t.Context(), on(), long(t, plain))
		require.NoError(t, err)
		expected := leavings(t, plain)
		assert.NoDirExists(t, filepath.Join(plain, CheckpointsDir), "a run that is over needs none")
		// Stopped at an event, or killed behind it where kill is set: then the newest checkpoint is up to three steps old, or
		// there is none.
		for _, kill := range []bool{false, true} {
			for at := 1; at < 200; at += 13 {
				folder := t.TempDir() + "/run"
				o := long(t, folder)
				ctx, stop := context.WithCancel(t.Context())
				events := 0
				o.OnEvent = func(Event) error {
					if events++; events < at {
						return nil
					}
					if kill {
						return errKilled
					}
					stop()
					return nil
				}
				_, err := trainLong(t, ctx, on(), o)
				stop()
				if err == nil { // so many events there were not
					break
				}
				require.True(t, errors.Is(err, context.Canceled) || errors.Is(err, errKilled), "%v", err)
				o = long(t, folder)
				o.Resume = true
				result, err := trainLong(t, t.Context(), on(), o)
				require.NoError(t, err)
				assert.Equal(t, want.BestEpoch, result.BestEpoch)
				assert.Equal(t, want.Best, result.Best)
				assert.Equal(t, want.Before, result.Before)
				assert.Equal(t, expected, leavings(t, folder), "at event %d, killed %t", at, kill)
			}
		}
	}
}

var errKilled = errors.New("killed")

// unchangedTensors checks that a test leaves no tensors.
func unchangedTensors(t *testing.T) {
	t.Helper()
	before := torch.Stats().Tensors
	t.Cleanup(func() { assert.Equal(t, before, torch.Stats().Tensors) })
}

// interruptedRun is a folder with a checkpoint.
func interruptedRun(t *testing.T) string {
	t.Helper()
	folder := t.TempDir() + "/run"
	o := long(t, folder)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	o.OnEvent = func(e Event) error {
		if s, ok := e.(train.StepDone); ok && s.Epoch == 2 && s.Step == 14 {
			stop()
		}
		return nil
	}
	_, err := trainLong(t, ctx, train.CPU{}, o)
	require.ErrorIs(t, err, context.Canceled)
	assert.FileExists(t, filepath.Join(folder, CheckpointsDir, "step-00000014.safetensors"))
	latest, err := os.ReadFile(filepath.Join(folder, CheckpointsDir, "latest"))
	require.NoError(t, err)
	assert.Equal(t, "step-00000014.safetensors\n", string(latest))
	return folder
}

// What was stopped before its first step has nothing to go on from: no checkpoint of step 0, the size of the model, is
// written.
func TestStoppedBeforeTheFirstStep(t *testing.T) {
	for _, at := range []train.Event{train.TaskStarted{}, train.Progress{}, train.TaskDone{}} {
		folder := t.TempDir() + "/run"
		o := long(t, folder)
		ctx, stop := context.WithCancel(t.Context())
		stopped := false
		o.OnEvent = func(e Event) error {
			assert.NotContains(t, fmt.Sprintf("%T", e), "CheckpointSaved")
			task := train.Task{Kind: train.Training}
			switch e := e.(type) {
			case train.TaskStarted:
				task = e.Task
			case train.Progress:
				task = e.Task
			case train.TaskDone:
				task = e.Task
			}
			if task.Kind == train.Baseline && fmt.Sprintf("%T", e) == fmt.Sprintf("%T", at) {
				stopped = true
				stop()
			}
			return nil
		}
		_, err := trainLong(t, ctx, train.CPU{}, o)
		require.ErrorIs(t, err, context.Canceled)
		assert.True(t, stopped)
		assert.NoDirExists(t, folder, "stopped at %T", at)
		o = long(t, folder)
		o.Resume = true
		_, err = trainLong(t, t.Context(), train.CPU{}, o)
		require.NoError(t, err, "it begins anew")
	}
}

func TestResumeRefusesAnotherRun(t *testing.T) {
	folder := interruptedRun(t)
	for _, c := range []struct {
		change func(o *Options)
		want   string
	}{
		{func(o *Options) { o.Seed = 6 }, "it is of another run: seed was 5 and is 6"},
		{func(o *Options) { o.Batch.Size = 5 }, "batch was "},
		{func(o *Options) { o.Phases = o.Phases[:1] }, "phases"},
		{func(o *Options) { o.Threads = 7 }, "threads was "},
	} {
		o := long(t, folder)
		o.Resume = true
		c.change(&o)
		_, err := trainLong(t, t.Context(), train.CPU{}, o)
		assert.ErrorContains(t, err, c.want)
		assert.ErrorContains(t, err, "step-00000014.safetensors")
	}
	o := long(t, folder)
	o.Resume = true
	_, err := fitOn[*rows](t.Context(), train.CPU{}, torch.Float32, newNet(t), newSamples(1, 41, mixed), newSamples(2, 20, mixed), o)
	assert.ErrorContains(t, err, "training data")

	// Without Resume a folder that is there is another run's.
	_, err = trainLong(t, t.Context(), train.CPU{}, long(t, folder))
	assert.ErrorContains(t, err, "exists already")

	// Other intervals are not another run.
	o = long(t, folder)
	o.Resume, o.Checkpoint = true, Checkpointing{Every: time.Hour, Keep: 1}
	_, err = trainLong(t, t.Context(), train.CPU{}, o)
	require.NoError(t, err)
	_, err = trainLong(t, t.Context(), train.CPU{}, o)
	assert.ErrorIs(t, err, ErrFinished)
}

func TestResumeOfADamagedCheckpoint(t *testing.T) {
	folder := interruptedRun(t)
	path := filepath.Join(folder, CheckpointsDir, "step-00000014.safetensors")
	require.NoError(t, os.Truncate(path, 1000))
	o := long(t, folder)
	o.Resume = true
	_, err := trainLong(t, t.Context(), train.CPU{}, o)
	assert.ErrorContains(t, err, path)
	var wrong *ResumeError
	assert.ErrorAs(t, err, &wrong)
}

// A folder in which a process trains is no other's.
func TestOneProcessAFolder(t *testing.T) {
	folder := interruptedRun(t)
	other, err := os.Open(folder)
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, syscall.Flock(int(other.Fd()), syscall.LOCK_EX))
	o := long(t, folder)
	o.Resume = true
	_, err = trainLong(t, t.Context(), train.CPU{}, o)
	assert.ErrorContains(t, err, "another process trains there")
}

func TestStopAfter(t *testing.T) {
	folder := t.TempDir() + "/run"
	o := long(t, folder)
	o.StopAfter = time.Nanosecond
	for n := 1; ; n++ {
		_, err := trainLong(t, t.Context(), train.CPU{}, o)
		if err == nil {
			assert.Equal(t, 51, n, "a step each, and the end")
			break
		}
		require.ErrorIs(t, err, ErrTimeUp)
		require.Less(t, n, 60)
		o = long(t, folder)
		o.Resume, o.StopAfter = true, time.Nanosecond
	}
	plain := t.TempDir() + "/run"
	_, err := trainLong(t, t.Context(), train.CPU{}, long(t, plain))
	require.NoError(t, err)
	assert.Equal(t, leavings(t, plain), leavings(t, folder))
}

// A checkpoint that cannot be written is a warning, and the one before stays.
func TestCheckpointThatFails(t *testing.T) {
	folder := t.TempDir() + "/run"
	o := long(t, folder)
	o.Checkpoint = Checkpointing{Steps: 5, Keep: 2}
	var warnings, saved []string
	o.OnEvent = func(e Event) error {
		switch e := e.(type) {
		case train.Warning:
			warnings = append(warnings, fmt.Sprintln(e.Kind == train.CheckpointFailed, e.Text))
		case CheckpointSaved:
			saved = append(saved, filepath.Base(e.Path))
			if len(saved) == 2 { // a file where the folder is: nothing can be written there, whoever writes
				require.NoError(t, os.Rename(filepath.Dir(e.Path), folder+"/kept"))
				require.NoError(t, os.WriteFile(filepath.Dir(e.Path), nil, 0o644))
			}
		}
		return nil
	}
	_, err := trainLong(t, t.Context(), train.CPU{}, o)
	require.NoError(t, err)
	require.NotEmpty(t, warnings)
	assert.Contains(t, warnings[0], "true no checkpoint was written, the one before is kept: ")
	files, err := listCheckpoints(folder + "/kept")
	require.NoError(t, err)
	assert.Len(t, files, 2)
}

func TestVerify(t *testing.T) {
	unchangedTensors(t)
	folder := interruptedRun(t)
	verify := func(set *samples) (from, to string, err error) {
		o := long(t, folder)
		o.Device, o.Precision = "cpu", "float32"
		return Verify[*rows](t.Context(), newNet(t), set, newSamples(2, 20, mixed), o)
	}
	from, to, err := verify(newSamples(1, 40, mixed))
	require.NoError(t, err)
	assert.Less(t, from, to)
	assert.Equal(t, "step-00000014.safetensors", filepath.Base(to))

	// One bit of one value.
	changed := newSamples(1, 40, mixed)
	for _, v := range changed.vectors {
		v[0] = math.Float32frombits(math.Float32bits(v[0]) ^ 1)
	}
	_, _, err = verify(changed)
	assert.ErrorContains(t, err, "differ from those of the run that went on: ")
	assert.ErrorContains(t, err, "head.weight")

	require.NoError(t, os.Remove(from))
	_, _, err = verify(newSamples(1, 40, mixed))
	assert.ErrorContains(t, err, "has 1 checkpoints: two are compared")
}

// holed is a data set some of whose samples cannot be read, and are left out.
type holed struct{ *samples }

func (h holed) Batch(r data.Request) (*rows, error) {
	r.Indices = slices.DeleteFunc(slices.Clone(r.Indices), func(i int) bool { return i%5 == 2 })
	if len(r.Indices) == 0 {
		return &rows{longest: 1}, nil
	}
	return h.samples.Batch(r)
}

// A batch none of whose samples can be read makes no step, and is not asked for again by a run that goes on.
func TestResumeBehindBatchesThatCannotBeRead(t *testing.T) {
	run := func(ctx context.Context, o Options) error {
		o.Batch.Size = 1
		_, err := fitOn[*rows](ctx, train.CPU{}, torch.Float32, newNet(t), holed{newSamples(1, 40, mixed)}, newSamples(2, 20, mixed), o)
		return err
	}
	plain := t.TempDir() + "/run"
	require.NoError(t, run(t.Context(), long(t, plain)))
	for _, at := range []int{5, 23, 77} {
		folder := t.TempDir() + "/run"
		o := long(t, folder)
		ctx, stop := context.WithCancel(t.Context())
		o.OnEvent = func(e Event) error {
			if s, ok := e.(train.StepDone); ok && s.Step == at {
				stop()
			}
			return nil
		}
		require.ErrorIs(t, run(ctx, o), context.Canceled)
		stop()
		o = long(t, folder)
		o.Resume = true
		require.NoError(t, run(t.Context(), o))
		assert.Equal(t, leavings(t, plain), leavings(t, folder), "stopped at step %d", at)
	}
}
