package vision_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// allStages trains everything for an epoch.
var allStages = finetune.Options{
	Phases: []finetune.Phase{{Train: finetune.All(), Epochs: 1, LR: 1e-3}}, Batch: finetune.Batching{Size: 8}, Seed: 3, Device: "cpu",
}

// slow is a data set that tells how many batches are under way.
type slow struct {
	*vision.Dataset
	begun, done atomic.Int32
	most        atomic.Int32 // batches at a time
	each        func(begun int32)
}

func (s *slow) Batch(r data.Request) (*vision.Batch, error) {
	n := s.begun.Add(1)
	for at := n - s.done.Load(); ; {
		m := s.most.Load()
		if at <= m || s.most.CompareAndSwap(m, at) {
			break
		}
	}
	s.each(n)
	defer s.done.Add(1)
	return s.Dataset.Batch(r)
}

// A run that is stopped, or that meets a picture that cannot be read, leaves no goroutine behind and had few batches
// under way.
func TestClosedEarly(t *testing.T) {
	a := openAlbum(t, drawings(t, 4, 6))
	damage(t, a, 17)
	for name, c := range map[string]struct {
		stopAt int32
		want   string
	}{"stopped": {2, context.Canceled.Error()}, "damaged": {1 << 30, a.Name(17)}} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			s := &slow{Dataset: newSet(t, a, func(o *vision.DatasetOptions) { o.Workers = 2 })}
			s.each = func(begun int32) {
				if begun == c.stopAt {
					stop()
				}
			}
			good := a.Part(func(i int) bool { return i%17 != 0 }) // without the damaged one
			if name == "stopped" {
				s.Dataset = newSet(t, good, nil)
			}
			before := runtime.NumGoroutine()
			_, err := finetune.Fit[*vision.Batch](ctx, scratch(t, "resnet18", 4), s, newSet(t, good, nil), allStages)
			require.ErrorContains(t, err, c.want)
			if name == "stopped" {
				require.ErrorIs(t, err, context.Canceled)
			}
			assert.Equal(t, s.begun.Load(), s.done.Load(), "all that was begun has ended")
			assert.LessOrEqual(t, s.most.Load(), int32(3), "Concurrency's")
			for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			assert.LessOrEqual(t, runtime.NumGoroutine(), before)
		})
	}
}

var errTest = errors.New("no more")

// Batches that were made and not taken are few, however long the consumer takes.
func TestBatchesAheadAreBounded(t *testing.T) {
	a := openAlbum(t, drawings(t, 4, 12))
	s := &slow{Dataset: newSet(t, a, nil), each: func(int32) {}}
	model := scratch(t, "resnet18", 4)
	o := allStages
	o.Batch.Size = 2
	worst := int32(0)
	steps := int32(0)
	o.Objective = watch{model.Objective(), func() error {
		steps++
		time.Sleep(20 * time.Millisecond)
		worst = max(worst, s.begun.Load()-steps)
		if steps == 8 {
			return errTest
		}
		return nil
	}}
	_, err := finetune.Fit[*vision.Batch](t.Context(), model, s, newSet(t, a, nil), o)
	require.ErrorContains(t, err, errTest.Error())
	assert.LessOrEqual(t, worst, int32(4+3), "four places and three that are made")
	assert.Greater(t, worst, int32(1), "some are made ahead")
}

// watch calls step before each training step.
type watch struct {
	train.Objective
	step func() error
}

func (w watch) Loss(output, target nn.Values) torch.Tensor {
	if output[0].RequiresGrad() {
		if err := w.step(); err != nil {
			panic(&torch.Error{Op: "watch", Msg: err.Error()})
		}
	}
	return w.Objective.Loss(output, target)
}
