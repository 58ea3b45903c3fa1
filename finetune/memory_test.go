package finetune

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
)

// small is a machine with little memory.
type small struct {
	train.CPU
	free int64
}

func (s small) FreeMemory() int64 { return s.free }

func TestCheckMemory(t *testing.T) {
	r := onHost(newNet(t), newSamples(1, 8, nil))
	trained := 0
	plan, err := newPlan(Phase{Train: All()}, r.forward.Stages)
	require.NoError(t, err)
	for _, s := range plan.Stages {
		trained += s.Trainable
	}
	needed := int64(trained) * 12 // a gradient and AdamW's two averages, four bytes each
	o, err := Options{Phases: []Phase{{}, {Train: All()}}}.resolved()
	require.NoError(t, err)
	r.options = o
	for _, c := range []struct {
		free int64
		want string
	}{
		{0, ""}, // unknown
		{needed, ""},
		{needed - 1, "phase 2 trains "},
	} {
		r.backend = small{free: c.free}
		err := r.checkMemory(t.Context())
		if c.want == "" {
			assert.NoError(t, err)
			continue
		}
		assert.ErrorContains(t, err, c.want)
		assert.ErrorContains(t, err, "their gradients and the optimizer's state take")
		assert.ErrorContains(t, err, "train fewer stages, or allow more memory")
	}
	r.options.Optimizer = Optimizer{Name: "sgd", Momentum: 0}
	r.backend = small{free: needed / 3}
	assert.NoError(t, r.checkMemory(t.Context()), "SGD without momentum keeps nothing but gradients")
}

// What other runs left for this one is freed before a run is refused, and only then.
func TestCheckMemoryFreesWhatIsShared(t *testing.T) {
	r := onHost(newNet(t), newSamples(1, 8, nil))
	o, err := Options{Phases: []Phase{{Train: All()}}}.resolved()
	require.NoError(t, err)
	var freed []string
	shared := &Shared{entries: map[string]*sharedRows{}}
	machine := &full{free: 1}
	for name, device := range map[string]torch.Device{"here": torch.CPU, "elsewhere": torch.CUDA(0)} {
		shared.entries[name] = &sharedRows{bytes: 100, device: device, free: func() {
			freed = append(freed, name)
			machine.free = 1 << 30
		}}
	}
	o.Shared = shared
	r.options, r.backend = o, machine
	assert.NoError(t, r.checkMemory(t.Context()))
	assert.Equal(t, []string{"here"}, freed)
	assert.NoError(t, r.checkMemory(t.Context()))
	assert.Len(t, shared.entries, 1)
	machine.free = 1
	assert.ErrorContains(t, r.checkMemory(t.Context()), "phase 1 trains ", "there is nothing left to free")
}

// full is a machine whose free memory changes.
type full struct {
	train.CPU
	free int64
}

func (f *full) FreeMemory() int64 { return f.free }

// within lets a test run as in a container that may use so much.
func within(t *testing.T, limit int64) {
	before := memoryLimit
	memoryLimit = func() int64 { return limit }
	t.Cleanup(func() { memoryLimit = before })
}

// Where a container has a limit, a step is tried on a few samples first: that changes nothing of the run.
func TestForecastChangesNothing(t *testing.T) {
	run := func() (map[string][]byte, *Result) {
		model := newNet(t)
		o := quick(t, Phase{}, Phase{Train: All(), Epochs: 2, LR: 0.01})
		result, err := start(t, o, model, newSamples(1, 50, mixed), newSamples(2, 20, mixed), nil)
		require.NoError(t, err)
		return model.bytes(), result
	}
	want, plain := run()
	within(t, 64<<30)
	got, limited := run()
	assert.Equal(t, want, got)
	assert.Equal(t, plain.Epochs[1].TrainLoss, limited.Epochs[1].TrainLoss)
}

// What a step takes grows with the batch, with the trained stages, and less where it is computed in parts; a run that
// does not fit is refused before it starts.
func TestForecast(t *testing.T) {
	within(t, 64<<30)
	forecast := func(batch Batching, train Selection) int64 {
		o, err := Options{Phases: []Phase{{Train: train}}, Batch: batch, Seed: 1, Device: "cpu"}.resolved()
		require.NoError(t, err)
		r := newRun[*rows](small{free: 64 << 30}, torch.Float32, newNet(t), newSamples(1, 4000, mixed), nil, o)
		plan, err := newPlan(o.Phases[0], r.forward.Stages)
		require.NoError(t, err)
		bytes, rows, err := r.rehearse(t.Context(), plan)
		require.NoError(t, err)
		assert.Equal(t, batch.Size*max(1, batch.Accumulate), rows)
		return bytes
	}
	one := forecast(Batching{Size: 64}, All())
	assert.InEpsilon(t, 4*one, forecast(Batching{Size: 256}, All()), 0.1)
	assert.Less(t, forecast(Batching{Size: 64}, Top(1)), one)
	assert.InEpsilon(t, one, forecast(Batching{Size: 64, Accumulate: 4}, All()), 0.1)

	o, err := Options{Phases: []Phase{{Train: All()}}, Batch: Batching{Size: 256}, Seed: 1, Device: "cpu"}.resolved()
	require.NoError(t, err)
	for free, refused := range map[int64]bool{spare: true, 1 << 30: false} {
		r := newRun[*rows](small{free: free}, torch.Float32, newNet(t), newSamples(1, 4000, mixed), nil, o)
		err := r.checkMemory(t.Context())
		assert.Equal(t, refused, err != nil, "%v", err)
		if refused {
			assert.ErrorContains(t, err, "phase 1: a step on 256 samples takes about ")
			assert.ErrorContains(t, err, "smaller batches, shorter or smaller samples, or fewer trained stages take less")
		}
	}
}
