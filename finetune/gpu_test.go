package finetune

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// These tests need a GPU; elsewhere each skips with a line that says why.

func needGPU(t testing.TB) {
	t.Helper()
	if err := cuda.Check(); err != nil {
		t.Skipf("needs a GPU: %v", err)
	}
}

// onDevice runs a spec on a device, with dropout at rate drop, and gives the result, the weights and what was told.
func onDevice(t *testing.T, device string, drop float64, spec Spec, train, test *samples) (*Result, map[string][]byte, string) {
	t.Helper()
	model := newNet(t)
	for _, l := range model.Layers {
		l.Dropout.P = drop
	}
	spec.Device, spec.Out = device, t.TempDir()+"/run"
	var report record
	result, err := start(t, spec, model, train, test, &report)
	require.NoError(t, err)
	for _, n := range model.Layers {
		require.Equal(t, torch.CPU, n.Linear.Weight.Device(), "the model is back")
	}
	return result, model.bytes(), strings.Join(report.lines, "\n")
}

// In float32 and without dropout, a run on the GPU comes to what one on the CPU comes to. Both sum in other orders, and
// Adam's first steps make a unit of any gradient: over some 80 steps the losses drift apart by less than a thousandth.
func TestGPUTrainsAsTheCPU(t *testing.T) {
	needGPU(t)
	for _, name := range []string{"adamw", "sgd"} {
		for _, selection := range []Selection{All(), HeadOnly(), {"stage.1"}} {
			for _, cache := range []string{"auto", "off"} {
				t.Run(fmt.Sprint(name, selection, cache), func(t *testing.T) {
					spec := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-3})
					spec.Cache, spec.Optimizer.Name = cache, name
					train, test := newSamples(1, 160, nil), newSamples(2, 60, nil)
					want, _, _ := onDevice(t, "cpu", 0, spec, train, test)
					got, _, notes := onDevice(t, "cuda:0", 0, spec, train, test)
					assert.InEpsilon(t, want.Before.Loss, got.Before.Loss, 1e-5)
					for i, e := range want.Epochs {
						assert.InEpsilon(t, e.TrainLoss, got.Epochs[i].TrainLoss, 1e-3, "epoch %d", i+1)
						assert.InEpsilon(t, e.Test.Loss, got.Epochs[i].Test.Loss, 1e-3, "epoch %d", i+1)
					}
					assert.Contains(t, notes, "graphs steps of 8 samples are replayed")
					assert.NotContains(t, notes, "warning")
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
					run := func(graph string) (*Result, map[string][]byte, string) {
						spec := quick(t, Phase{Train: selection, Epochs: 4, LR: 1e-3})
						spec.Graph, spec.Deterministic, spec.Precision = graph, true, precision
						return onDevice(t, "cuda:0", 0.1, spec, newSamples(1, 160, lengths), newSamples(2, 60, lengths))
					}
					want, eager, _ := run("off")
					got, replayed, notes := run("auto")
					assert.Equal(t, eager, replayed)
					assert.Equal(t, want.Last, got.Last)
					assert.Contains(t, notes, "graphs steps of")
					assert.NotContains(t, notes, "warning")
				})
			}
		}
	}
}

func TestGPULearns(t *testing.T) {
	needGPU(t)
	spec := quick(t, Phase{Train: Top(2), Epochs: 6, LR: 1e-2, HeadLR: 1e-2})
	spec.Precision = "auto"
	result, _, _ := onDevice(t, "auto", 0.1, spec, newSamples(1, 160, mixed), newSamples(2, 60, mixed))
	assert.Greater(t, result.Best.Accuracy, 0.85)
	assert.Positive(t, result.PeakDeviceBytes)
}

// A thousand steps, replayed or not, take no more memory of the device than a hundred; a run gives all of it back.
func TestGPUMemoryIsFlat(t *testing.T) {
	needGPU(t)
	for _, graph := range []string{"auto", "off"} {
		t.Run(graph, func(t *testing.T) {
			require.NoError(t, errors.Join(cuda.DropWorkspaces(), cuda.EmptyCache()))
			start, err := cuda.Memory(0)
			require.NoError(t, err)
			spec := quick(t, Phase{Train: All(), Epochs: 56, LR: 1e-4})
			spec.Graph = graph
			spec, err = spec.Resolved()
			require.NoError(t, err)
			spec.Device = "cuda:0"
			m, err := newMachine(&spec)
			require.NoError(t, err)
			var early, late cuda.MemoryStats
			steps := 0
			report := &record{}
			report.advance = func(task string, _ int) {
				if !strings.HasPrefix(task, "epoch") {
					return
				}
				steps++
				if steps == 100 {
					early, _ = cuda.Memory(0)
				}
				late, _ = cuda.Memory(0)
			}
			_, err = runOn(t.Context(), m, spec, newNet(t), newSamples(1, 160, mixed), newSamples(2, 60, mixed), report)
			require.NoError(t, err)
			require.Greater(t, steps, 1000)
			told := strings.Join(report.lines, "\n")
			assert.Equal(t, graph == "auto", strings.Contains(told, "are replayed"))
			assert.NotContains(t, told, "warning")
			assert.LessOrEqual(t, late.Reserved, early.Reserved)
			assert.LessOrEqual(t, late.Allocated, early.Allocated+1<<20) // what is in flight differs by a batch
			end, err := cuda.Memory(0)
			require.NoError(t, err)
			assert.Equal(t, start.Allocated, end.Allocated)
		})
	}
}

// Steps that are not replayed, and evaluations, do with the memory that recordings keep.
func TestGPUStepsShareTheMemoryOfRecordings(t *testing.T) {
	needGPU(t)
	peak := map[string]int64{}
	for _, graph := range []string{"off", "auto"} {
		spec := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-4})
		spec.Graph, spec.Batch.Size, spec.Batch.EvalSize = graph, 1<<15, 1<<15
		result, _, notes := onDevice(t, "cuda:0", 0.1, spec, newSamples(1, 3<<15-1, nil), newSamples(2, 1<<15, nil))
		peak[graph] = result.PeakDeviceBytes
		assert.NotContains(t, notes, "warning")
		assert.Equal(t, graph == "auto", strings.Contains(notes, "steps of 32768 samples are replayed"), notes)
	}
	assert.Less(t, float64(peak["auto"]), 1.25*float64(peak["off"]), "%v", peak) // the allocator rounds up in each of its pools
}

// Errors on the way leave nothing on the device.
func TestGPUFailuresLeaveNothing(t *testing.T) {
	needGPU(t)
	require.NoError(t, cuda.DropWorkspaces())
	before, err := cuda.Memory(0)
	require.NoError(t, err)
	spec := quick(t, Phase{Train: All(), Epochs: 2, LR: 1e-3})
	spec.Device = "cuda:0"

	model := newNet(t)
	model.change = func(l torch.Tensor) torch.Tensor {
		if !l.RequiresGrad() { // evaluating
			return l
		}
		return l.MulScalar(math.Inf(1))
	}
	_, err = start(t, spec, model, newSamples(1, 160, nil), newSamples(2, 60, nil), nil)
	assert.ErrorIs(t, err, errNotFinite)

	model = newNet(t)
	model.change = func(l torch.Tensor) torch.Tensor { return l.AddScalar(l.Item()) } // which no graph can hold
	spec.Out += "-2"
	var report record
	_, err = start(t, spec, model, newSamples(1, 160, nil), newSamples(2, 60, nil), &report)
	assert.NoError(t, err)
	assert.Contains(t, strings.Join(report.lines, "\n"), "warning steps of 8 samples run operator by operator, which is slower: ")

	after, err := cuda.Memory(0)
	require.NoError(t, err)
	assert.Equal(t, before.Allocated, after.Allocated)
}

func TestMeasureOnGPU(t *testing.T) {
	needGPU(t)
	spec := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3})
	spec.Device = "cuda:0"
	speed, err := Measure[*rows](t.Context(), spec, newNet(t), newSamples(1, 64, mixed), Effort{Round: 50e6, Rounds: 3})
	require.NoError(t, err)
	assert.Positive(t, speed.SamplesPerSecond)
	assert.NotEmpty(t, speed.Replayed)
}

// A model on the GPU says what it says on the CPU, and lies on the CPU again at the end.
func TestGPUInfers(t *testing.T) {
	needGPU(t)
	model, data := newNet(t), newSamples(3, 41, mixed)
	here, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	want := outputs(t, here, data, 7)
	measured, err := here.Evaluate(t.Context(), data, 7, nil)
	require.NoError(t, err)
	require.NoError(t, cuda.EmptyCache())
	atFirst := reserved(t)
	for precision, tolerance := range map[string]float64{"float32": 1e-5, "bfloat16": 0.05} { // 8 bits of mantissa, three layers
		n, err := NewInference[*rows](model, "cuda:0", precision)
		require.NoError(t, err)
		assert.Equal(t, torch.CUDA(0), n.Device())
		for range 3 {
			for i, row := range outputs(t, n, data, 7) {
				assert.InDeltaSlice(t, want[i], row, tolerance, "sample %d in %s", i, precision)
			}
		}
		m, err := n.Evaluate(t.Context(), data, 7, nil)
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
	data := newSamples(3, 12, mixed)
	n, err := NewInference[*rows](newNet(t), "cuda:0", "float32")
	require.NoError(t, err)
	other, err := NewInference[*rows](newNet(t), "cuda:0", "float32")
	require.NoError(t, err)
	asked := SortedBatches(data, 12)
	require.NoError(t, n.Outputs(t.Context(), data, asked, func(*rows, torch.Tensor) error {
		err := other.Outputs(t.Context(), data, asked, func(*rows, torch.Tensor) error { return nil })
		assert.ErrorContains(t, err, "take turns")
		return nil
	}))
	outputs(t, other, data, 12)
	require.NoError(t, n.Close())
	require.NoError(t, other.Close())
}

// A model that finds no room stays where it was, and computes there.
func TestGPUWithoutRoomForTheModel(t *testing.T) {
	needGPU(t)
	data := newSamples(3, 12, mixed)
	model := newNet(t)
	n, err := NewInference[*rows](model, "cpu", "float32")
	require.NoError(t, err)
	want := outputs(t, n, data, 12)
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
	assert.Equal(t, want, outputs(t, n, data, 12))
	require.NoError(t, n.Move("cuda:0", "float32"))
	require.NoError(t, n.Close())
	require.NoError(t, cuda.EmptyCache())
}

// A run that finds no room for the model, or for what training takes beside it, leaves the model on the CPU and nothing on
// the device, and says what takes less.
func TestGPUWithoutRoomForTheRun(t *testing.T) {
	needGPU(t)
	require.NoError(t, errors.Join(cuda.DropWorkspaces(), cuda.EmptyCache()))
	atFirst, err := cuda.Memory(0)
	require.NoError(t, err)
	defer func() { require.NoError(t, cuda.SetMemoryFraction(0, 1)) }()
	for _, room := range []int64{0, 2 << 20} { // the allocator asks for 2 MiB at a time
		model := newNet(t)
		require.NoError(t, cuda.SetMemoryFraction(0, float64(atFirst.Reserved+room)/float64(atFirst.Total)))
		spec := quick(t, Phase{Train: All(), Epochs: 1, LR: 1e-3})
		spec.Device, spec.Batch.Size = "cuda:0", 4096
		_, err := start(t, spec, model, newSamples(1, 4096, nil), newSamples(2, 60, nil), nil)
		require.ErrorContains(t, err, "; a smaller batch.size (now 4096;")
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
	data := newSamples(3, 41, mixed)
	n, err := NewInference[*rows](newNet(t), "cuda:0", "float32")
	require.NoError(t, err)
	var after []cuda.MemoryStats
	for range 40 { // more than a device has streams
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread() // the thread ends with the goroutine, so that no other call has it
			defer close(done)
			outputs(t, n, data, 7)
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
