package finetune

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

var twoOnTop = lora.Config{Rank: 2, Alpha: 4, Targets: []string{"linear"}, Top: 2, Seed: 3}

// Adapters and the head train, all else is frozen, and the stages below the first adapter are a prefix that is kept.
// The weights that are left have the adapters merged, and the adapters lie beside them.
func TestAdaptersTrainAlone(t *testing.T) {
	model := newNet(t)
	before := model.bytes()
	adapters, err := lora.Apply(model.Stages(), twoOnTop)
	require.NoError(t, err)
	assert.Equal(t, []string{"stage.2.linear", "stage.3.linear"}, adapters.Matched)
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2}, Phase{Train: adapters.Selection(), Epochs: 3, LR: 1e-2})
	o.Adapters = adapters
	var plans []*Plan
	checks := 0
	o.OnEvent = func(e Event) error {
		switch e := e.(type) {
		case Planned:
			plans = append(plans, e.Plan)
		case FreezeChecked:
			checks++
		}
		return nil
	}
	trainSet, testSet := newSamples(1, 40, mixed), newSamples(2, 20, mixed)
	result, err := Fit(t.Context(), model, trainSet, testSet, o)
	require.NoError(t, err)
	assert.Equal(t, 2, checks)
	require.Len(t, plans, 2)
	assert.Equal(t, 4, plans[0].NumFrozen, "of the head's phase, adapters included")
	assert.Equal(t, 2, plans[1].NumFrozen)
	assert.True(t, plans[1].Cached)
	assert.Equal(t, []int{0, 0, 32, 32, 18}, trainable(plans[1]))
	assert.Contains(t, plans[1].String(), "stage.2 ... stage.3      trained      64   of 208, lr 0.01")

	moved := map[string]bool{}
	for key, now := range model.bytes() {
		if was, ok := before[key]; !ok {
			assert.Contains(t, key, ".lora_")
		} else if string(was) != string(now) {
			moved[key] = true
		}
	}
	assert.Equal(t, map[string]bool{
		"head.weight": true, "head.bias": true, "stage.2.running_mean": true, "stage.3.running_mean": true, // of the trained stages
	}, moved)

	// A net without adapters, with the weights, and one with the adapters on the network as it was, are the same.
	merged := newNet(t)
	file, err := torch.OpenCheckpoint(filepath.Join(o.Folder.Weights(), "best.safetensors"))
	require.NoError(t, err)
	defer file.Close()
	_, err = nn.Load(merged, file, nn.LoadOptions{})
	require.NoError(t, err)
	for _, name := range file.Names() {
		assert.False(t, strings.Contains(name, "lora"), name)
	}
	beside := newNet(t)
	read, err := lora.Load(beside.Stages(), o.Folder.Adapters())
	require.NoError(t, err)
	assert.Equal(t, adapters.Matched, read.Matched)
	torch.Scoped(func() {
		for i := 2; i < 4; i++ { // which the net of the test moves in training, as a batch norm would if it were not fixed
			beside.Layers[i].Mean.Copy_(merged.Layers[i].Mean)
		}
	})
	score := func(n *net) float64 {
		inference, err := NewInference(n, "cpu", "float32")
		require.NoError(t, err)
		defer inference.Close()
		s, err := inference.Evaluate(t.Context(), testSet, 8)
		require.NoError(t, err)
		return s.Loss
	}
	assert.InDelta(t, result.Best.Loss, score(merged), 1e-5)
	assert.InDelta(t, result.Best.Loss, score(beside), 1e-5)
}

func trainable(p *Plan) (n []int) {
	for _, s := range p.Stages {
		n = append(n, s.Trainable)
	}
	return n
}

func TestAdaptersMustBeThere(t *testing.T) {
	err := CheckPhases(newNet(t), []Phase{{Train: LoRA(), Epochs: 1}})
	assert.EqualError(t, err, `Phases[0].Train: "lora" trains adapters, and the model has none: put some in with lora.Apply`)
}

// A phase of adapters has rates of its own.
func TestAdaptersRate(t *testing.T) {
	for _, c := range []struct {
		phase    Phase
		lr, head float64
	}{
		{Phase{Train: LoRA()}, 5e-4, 5e-4},
		{Phase{Train: Selection{"lora", "*.bias"}, LR: 1e-3}, 1e-3, 1e-3},
		{Phase{Train: LoRA(), LR: 1e-3, HeadLR: 2}, 1e-3, 2},
		{Phase{Train: Top(1)}, 5e-5, 5e-4},
	} {
		require.NoError(t, c.phase.resolve())
		assert.InDelta(t, c.lr, c.phase.LR, 1e-12)
		assert.InDelta(t, c.head, c.phase.HeadLR, 1e-12)
	}
}

// A run of adapters that was interrupted goes on bit for bit, its dropout too, on the CPU and on a stand-in for a GPU.
func TestAdaptersGoOn(t *testing.T) {
	unchangedTensors(t)
	run := func(on train.Backend, folder string, change func(o *Options)) error {
		model := newNet(t)
		config := twoOnTop
		config.Dropout = 0.2
		adapters, err := lora.Apply(model.Stages(), config)
		require.NoError(t, err)
		o, err := Options{
			Phases: []Phase{{Train: adapters.Selection(), Epochs: 3, LR: 1e-2}}, Batch: Batching{Size: 4, EvalSize: 8}, Seed: 5,
			Folder: NewFolder(folder), Checkpoint: Checkpointing{Steps: 3}, Adapters: adapters,
		}.resolved()
		require.NoError(t, err)
		change(&o)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		if inner := o.OnEvent; inner != nil {
			o.OnEvent = func(e Event) error {
				err := inner(e)
				if err != nil {
					stop()
				}
				return nil
			}
		}
		_, err = fitOn[*rows](ctx, on, torch.Float32, model, newSamples(1, 40, mixed), newSamples(2, 20, mixed), o)
		return err
	}
	files := func(folder string) map[string]string {
		out := leavings(t, folder)
		for _, name := range []string{lora.WeightsFile, lora.ConfigFile} {
			content, err := os.ReadFile(filepath.Join(folder, WeightsDir, AdapterDir, name))
			require.NoError(t, err)
			out[name] = string(content)
		}
		return out
	}
	for name, on := range backends(t) {
		t.Run(name, func(t *testing.T) {
			plain := t.TempDir() + "/run"
			require.NoError(t, run(on(), plain, func(*Options) {}))
			want := files(plain)
			for at := 4; at < 60; at += 17 {
				folder := t.TempDir() + "/run"
				events := 0
				err := run(on(), folder, func(o *Options) {
					o.OnEvent = func(Event) error {
						if events++; events == at {
							return errors.New("stop")
						}
						return nil
					}
				})
				require.ErrorIs(t, err, context.Canceled, "stopped at event %d", at)
				require.NoError(t, run(on(), folder, func(o *Options) { o.Resume = true }))
				assert.Equal(t, want, files(folder), "stopped at event %d", at)
			}
		})
	}
}

// backends are the CPU and a stand-in for a GPU.
func backends(t *testing.T) map[string]func() train.Backend {
	return map[string]func() train.Backend{
		"cpu": func() train.Backend { return train.CPU{} }, "gpu": func() train.Backend { return &replayer{t: t} },
	}
}
