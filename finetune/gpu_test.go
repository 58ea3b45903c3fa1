package finetune

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/nn"
)

// These tests need a GPU; elsewhere each skips with a line that says why.

func needGPU(t testing.TB) {
	t.Helper()
	if err := cuda.Check(); err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
}

// onDevice is a Fit on a device, with dropout at rate drop; it gives the result, the weights and the events.
func onDevice(t *testing.T, device string, drop float64, o Options, trainSet, testSet *samples) (*Result, map[string][]byte, *events) {
	t.Helper()
	model := newNet(t)
	for _, l := range model.Layers {
		l.Dropout.P = drop
	}
	o.Device, o.Folder = device, NewFolder(t.TempDir()+"/run")
	var seen events
	result, err := start(t, o, model, trainSet, testSet, &seen)
	require.NoError(t, err)
	for _, n := range model.Layers {
		require.Equal(t, torch.CPU, n.Linear.Weight.Device(), "the model is back")
	}
	return result, model.bytes(), &seen
}

// In float32 and without dropout, a run on the GPU comes to what one on the CPU comes to. Both sum in other orders, and
// Adam's first steps make a unit of any gradient: over some 80 steps the losses drift apart by less than a thousandth.
func TestGPUTrainsAsTheCPU(t *testing.T) {
	needGPU(t)
	for _, name := range []string{"adamw", "sgd"} {
		for _, selection := range []Selection{All(), HeadOnly(), {"stage.1"}} {
			for _, noCache := range []bool{false, true} {
				t.Run(fmt.Sprint(name, selection, noCache), func(t *testing.T) {
					o := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-3})
					o.NoCache, o.Optimizer.Name = noCache, name
					trainSet, testSet := newSamples(1, 160, nil), newSamples(2, 60, nil)
					want, _, _ := onDevice(t, "cpu", 0, o, trainSet, testSet)
					got, _, seen := onDevice(t, "cuda:0", 0, o, trainSet, testSet)
					assert.InEpsilon(t, want.Before.Loss, got.Before.Loss, 1e-5)
					for i, e := range want.Epochs {
						assert.InEpsilon(t, e.TrainLoss, got.Epochs[i].TrainLoss, 1e-3, "epoch %d", i+1)
						assert.InEpsilon(t, e.Test.Loss, got.Epochs[i].Test.Loss, 1e-3, "epoch %d", i+1)
					}
					assert.Contains(t, seen.captured(), "8 samples")
					assert.Empty(t, eventsOf[train.Warning](seen))
				})
			}
		}
	}
}

// With deterministic kernels a run by graphs equals one operator by operator bit for bit, dropout included.
func TestGPUGraphsAreTheSteps(t *testing.T) {
	needGPU(t)
	for _, precision := range []string{"float32", "bfloat16"} {
		for _, selection := range []Selection{All(), Top(2)} {
			for _, lengths := range []func(int) int{mixed, nil} {
				t.Run(fmt.Sprint(precision, selection, lengths != nil), func(t *testing.T) {
					run := func(noGraphs bool) (*Result, map[string][]byte, *events) {
						o := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-3})
						o.NoGraphs, o.Deterministic, o.Precision = noGraphs, true, precision
						return onDevice(t, "cuda:0", 0.1, o, newSamples(1, 160, lengths), newSamples(2, 60, lengths))
					}
					want, eager, _ := run(true)
					got, replayed, seen := run(false)
					assert.Equal(t, eager, replayed)
					assert.Equal(t, want.Last, got.Last)
					assert.NotEmpty(t, seen.captured())
					assert.Empty(t, eventsOf[train.Warning](seen))
				})
			}
		}
	}
}

func TestGPULearns(t *testing.T) {
	needGPU(t)
	o := quick(t, Phase{Train: Top(2), Epochs: 6, LR: 1e-2, HeadLR: 1e-2})
	o.Precision = "auto"
	result, _, _ := onDevice(t, "auto", 0.1, o, newSamples(1, 160, mixed), newSamples(2, 60, mixed))
	assert.Greater(t, result.Best.Value("accuracy"), 0.85)
	assert.Positive(t, result.PeakDeviceBytes)
}

// A thousand steps, replayed or not, take no more memory of the device than a hundred; a run gives all of it back.
func TestGPUMemoryIsFlat(t *testing.T) {
	needGPU(t)
	for _, noGraphs := range []bool{false, true} {
		t.Run(fmt.Sprintf("graphs %t", !noGraphs), func(t *testing.T) {
			require.NoError(t, errors.Join(cuda.DropWorkspaces(), cuda.EmptyCache()))
			atFirst, err := cuda.Memory(0)
			require.NoError(t, err)
			o := quick(t, Phase{Train: All(), Epochs: 56, LR: 1e-4})
			o.NoGraphs = noGraphs
			o.Device = "cuda:0"
			var early, late cuda.MemoryStats
			steps := 0
			seen := &events{}
			seen.on = func(e Event) error {
				if _, ok := e.(train.StepDone); !ok {
					return nil
				}
				steps++
				if steps == 100 {
					early, _ = cuda.Memory(0)
				}
				late, _ = cuda.Memory(0)
				return nil
			}
			_, err = start(t, o, newNet(t), newSamples(1, 160, mixed), newSamples(2, 60, mixed), seen)
			require.NoError(t, err)
			require.Greater(t, steps, 1000)
			assert.Equal(t, !noGraphs, len(seen.captured()) > 0)
			assert.Empty(t, eventsOf[train.Warning](seen))
			assert.LessOrEqual(t, late.Reserved, early.Reserved)
			assert.LessOrEqual(t, late.Allocated, early.Allocated+1<<20) // what is in flight differs by a batch
			end, err := cuda.Memory(0)
			require.NoError(t, err)
			assert.Equal(t, atFirst.Allocated, end.Allocated)
		})
	}
}

// Steps that are not replayed, and evaluations, do with the memory that graphs keep.
func TestGPUStepsShareTheMemoryOfGraphs(t *testing.T) {
	needGPU(t)
	peak := map[bool]int64{}
	for _, noGraphs := range []bool{true, false} {
		o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-4})
		o.NoGraphs, o.Batch.Size, o.Batch.EvalSize = noGraphs, 1<<15, 1<<15
		result, _, seen := onDevice(t, "cuda:0", 0.1, o, newSamples(1, 3<<15-1, nil), newSamples(2, 1<<15, nil))
		peak[noGraphs] = result.PeakDeviceBytes
		assert.Empty(t, eventsOf[train.Warning](seen))
		assert.Equal(t, !noGraphs, slices.Contains(seen.captured(), "32768 samples"))
	}
	assert.Less(t, float64(peak[false]), 1.25*float64(peak[true]), "%v", peak) // the allocator rounds up in each of its pools
}

// Errors on the way leave nothing on the device.
func TestGPUFailuresLeaveNothing(t *testing.T) {
	needGPU(t)
	require.NoError(t, cuda.DropWorkspaces())
	before, err := cuda.Memory(0)
	require.NoError(t, err)
	o := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-3})
	o.Device = "cuda:0"

	model := newNet(t)
	model.change = func(l torch.Tensor) torch.Tensor {
		if !l.RequiresGrad() { // evaluating
			return l
		}
		return l.MulScalar(math.Inf(1))
	}
	_, err = start(t, o, model, newSamples(1, 160, nil), newSamples(2, 60, nil), nil)
	assert.ErrorIs(t, err, train.ErrNotFinite)

	model = newNet(t)
	model.change = func(l torch.Tensor) torch.Tensor { return l.AddScalar(l.Item()) } // which no graph can hold
	o.Folder = NewFolder(o.Folder.Path() + "-2")
	var seen events
	_, err = start(t, o, model, newSamples(1, 160, nil), newSamples(2, 60, nil), &seen)
	assert.NoError(t, err)
	warnings := seen.warnings(train.NotCaptured)
	require.NotEmpty(t, warnings)
	assert.Contains(t, warnings[0], "8 samples")

	after, err := cuda.Memory(0)
	require.NoError(t, err)
	assert.Equal(t, before.Allocated, after.Allocated)
}

func TestMeasureOnGPU(t *testing.T) {
	needGPU(t)
	o := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3})
	o.Device = "cuda:0"
	speed, err := Measure[*rows](t.Context(), newNet(t), newSamples(1, 64, mixed), o, Effort{Round: 50e6, Rounds: 3})
	require.NoError(t, err)
	assert.Positive(t, speed.SamplesPerSecond)
	assert.NotEmpty(t, speed.Captured)
}

// A model on the GPU says what it says on the CPU, and lies on the CPU again at the end.
func TestGPUInfers(t *testing.T) {
	needGPU(t)
	model, set := newNet(t), newSamples(3, 41, mixed)
	here, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	want := outputs(t, here, set, 7)
	measured, err := here.Evaluate(t.Context(), set, 7)
	require.NoError(t, err)
	require.NoError(t, cuda.EmptyCache())
	atFirst := reserved(t)
	for precision, tolerance := range map[string]float64{"float32": 1e-5, "bfloat16": 0.05} { // 8 bits of mantissa, three layers
		n, err := NewInference[*rows](model, "cuda:0", precision)
		require.NoError(t, err)
		assert.Equal(t, torch.CUDA(0), n.Device())
		for range 3 {
			for i, row := range outputs(t, n, set, 7) {
				assert.InDeltaSlice(t, want[i], row, tolerance, "sample %d in %s", i, precision)
			}
		}
		m, err := n.Evaluate(t.Context(), set, 7)
		require.NoError(t, err)
		assert.InDelta(t, measured.Loss, m.Loss, tolerance)
		require.NoError(t, n.Close())
		for _, l := range model.Layers {
			assert.Equal(t, torch.CPU, l.Linear.Weight.Device())
		}
	}
	assert.LessOrEqual(t, reserved(t), atFirst, "everything was given back")
}

func TestGPUInferenceMoves(t *testing.T) {
	needGPU(t)
	moves(t, "cuda:0")
}

// A callback that would wait for its own caller is told so.
func TestGPUCallsFromCallbacksAreRefused(t *testing.T) {
	needGPU(t)
	set := newSamples(3, 12, mixed)
	n, err := NewInference[*rows](newNet(t), "cuda:0", "float32")
	require.NoError(t, err)
	other, err := NewInference[*rows](newNet(t), "cuda:0", "float32")
	require.NoError(t, err)
	asked := sortedBatches(set, 12)
	require.NoError(t, n.Outputs(t.Context(), set, asked, func(*rows, nn.Values) error {
		err := other.Outputs(t.Context(), set, asked, func(*rows, nn.Values) error { return nil })
		assert.ErrorContains(t, err, "take turns")
		return nil
	}))
	outputs(t, other, set, 12)
	require.NoError(t, n.Close())
	require.NoError(t, other.Close())
}

// A model that finds no room stays where it was, and computes there.
func TestGPUWithoutRoomForTheModel(t *testing.T) {
	needGPU(t)
	set := newSamples(3, 12, mixed)
	model := newNet(t)
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	want := outputs(t, n, set, 12)
	torch.Scoped(func() {
		// All that this process may take is taken.
		require.NoError(t, cuda.EmptyCache())
		m, err := cuda.Memory(0)
		require.NoError(t, err)
		require.NoError(t, cuda.SetMemoryFraction(0, float64(m.Reserved+(32<<20))/float64(m.Total)))
		defer func() { require.NoError(t, cuda.SetMemoryFraction(0, 1)) }()
		for size := 32 << 20; size >= 512; {
			if torch.Try(func() { torch.Empty(torch.Uint8, torch.CUDA(0), size) }) != nil {
				size /= 2
			}
		}
		assert.ErrorContains(t, n.Move("cuda:0", "float32"), "out of memory")
	})
	assert.Equal(t, torch.CPU, n.Device())
	for _, l := range model.Layers {
		assert.Equal(t, torch.CPU, l.Linear.Weight.Device())
	}
	assert.Equal(t, want, outputs(t, n, set, 12))
	require.NoError(t, n.Move("cuda:0", "float32"))
	require.NoError(t, n.Close())
	require.NoError(t, cuda.EmptyCache())
}

// A run that finds no room for the model, or for what training takes beside it, leaves the model on the CPU and
// nothing on the device, and says what takes less.
func TestGPUWithoutRoomForTheRun(t *testing.T) {
	needGPU(t)
	require.NoError(t, errors.Join(cuda.DropWorkspaces(), cuda.EmptyCache()))
	atFirst, err := cuda.Memory(0)
	require.NoError(t, err)
	defer func() { require.NoError(t, cuda.SetMemoryFraction(0, 1)) }()
	for _, room := range []int64{0, 2 << 20} { // the allocator asks for 2 MiB at a time
		model := newNet(t)
		require.NoError(t, cuda.SetMemoryFraction(0, float64(atFirst.Reserved+room)/float64(atFirst.Total)))
		o := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3})
		o.Device, o.Batch.Size = "cuda:0", 32768
		_, err := start(t, o, model, newSamples(1, 32768, nil), newSamples(2, 60, nil), nil)
		require.ErrorContains(t, err, "; smaller batches (now 32768 samples")
		require.ErrorIs(t, err, torch.ErrOutOfMemory)
		for _, l := range model.Layers {
			assert.Equal(t, torch.CPU, l.Linear.Weight.Device())
		}
		end, err := cuda.Memory(0)
		require.NoError(t, err)
		assert.Equal(t, atFirst.Allocated, end.Allocated)
	}
}

// What a call leaves on the device the next one uses, also of another goroutine.
func TestGPUInferenceKeepsItsMemory(t *testing.T) {
	needGPU(t)
	set := newSamples(3, 41, mixed)
	n, err := NewInference[*rows](newNet(t), "cuda:0", "float32")
	require.NoError(t, err)
	var after []cuda.MemoryStats
	for range 40 { // more than a device has streams
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread() // the thread ends with the goroutine, so that no other call has it
			defer close(done)
			outputs(t, n, set, 7)
		}()
		<-done
		m, err := cuda.Memory(0)
		require.NoError(t, err)
		after = append(after, m)
	}
	first, last := after[1], after[len(after)-1]
	assert.Equal(t, first.DeviceAllocations, last.DeviceAllocations)
	assert.Equal(t, first.Reserved, last.Reserved)
	require.NoError(t, n.Close())
}

func reserved(t *testing.T) int64 {
	t.Helper()
	m, err := cuda.Memory(0)
	require.NoError(t, err)
	return m.Reserved
}
