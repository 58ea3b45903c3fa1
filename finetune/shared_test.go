package finetune

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/torch"
)

// named is a data set that tells itself from others.
type named struct {
	*samples
	id string
}

func (n named) Fingerprint() string { return n.id }

// shareRun trains a new net and gives the bytes of its last weights, and how many stages 0 ran: once for each batch.
func shareRun(t *testing.T, o Options, trainSet, testSet named, change func(*net)) (weights []byte, frozenRuns int) {
	t.Helper()
	model := newNet(t)
	if change != nil {
		change(model)
	}
	model.before = func(stage int) {
		if stage == 0 {
			frozenRuns++
		}
	}
	o.Folder = NewFolder(filepath.Join(t.TempDir(), "run"))
	_, err := Fit[*rows](t.Context(), model, trainSet, testSet, o)
	require.NoError(t, err)
	weights, err = os.ReadFile(filepath.Join(o.Folder.Weights(), "last.safetensors"))
	require.NoError(t, err)
	return weights, frozenRuns
}

// Runs that freeze the same take the output from one another, and come to the same weights as by themselves.
func TestSharedIsBitIdentical(t *testing.T) {
	trainSet, testSet := named{newSamples(1, 40, mixed), "train"}, named{newSamples(2, 12, mixed), "test"}
	before := torch.Stats()
	var shared Shared
	phases := []Phase{{Train: HeadOnly(), Epochs: 2, LR: 1e-2}, {Train: Top(2), Epochs: 2, LR: 1e-2}}
	for i, c := range []struct {
		name    string
		seed    uint64
		lr      float64
		size    int
		change  func(*net)
		trainID string
		hits    int // by this run: training and test data in each phase
	}{
		{"first", 1, 1e-2, 8, nil, "train", 0},
		{"another rate: phase 1 freezes the same; phase 2 too, as what it freezes is never trained", 1, 1e-3, 8, nil, "train", 4},
		{"another seed", 2, 1e-2, 8, nil, "train", 4},
		{"another grouping", 1, 1e-2, 4, nil, "train", 0},
		{"other frozen weights", 1, 1e-2, 8, func(n *net) { torch.NoGrad(func() { n.Layers[0].Linear.Weight.MulScalar_(1.5) }) }, "train", 0},
		{"another frozen buffer", 1, 1e-2, 8, func(n *net) { torch.NoGrad(func() { n.Layers[0].Mean.MulScalar_(1.5) }) }, "train", 0},
		{"other data: the test data is the same", 1, 1e-2, 8, nil, "other", 2},
		{"the first again", 1, 1e-2, 8, nil, "train", 4},
	} {
		o := quick(t, phases...)
		o.Phases = []Phase{phases[0], phases[1]}
		o.Seed, o.Phases[0].LR, o.Phases[1].LR, o.Batch.Size = c.seed, c.lr, c.lr, c.size
		set := named{trainSet.samples, c.trainID}
		want, plain := shareRun(t, o, set, testSet, c.change)
		hits := shared.Hits
		o.Shared = &shared
		got, runs := shareRun(t, o, set, testSet, c.change)
		assert.Equal(t, want, got, c.name)
		assert.Equal(t, c.hits, shared.Hits-hits, c.name)
		assert.Equal(t, c.hits > 0, runs < plain, "%s: the frozen stages ran %d times, alone %d", c.name, runs, plain)
		assert.Positive(t, shared.held(torch.CPU), i)
	}
	shared.Close()
	assert.Zero(t, shared.held(torch.CPU))
	for _, l := range [][2]int64{{before.Collected, torch.Stats().Collected}} {
		assert.Equal(t, l[0], l[1])
	}
}

// A data set that does not tell itself from others is not shared.
func TestSharedNeedsAFingerprint(t *testing.T) {
	var shared Shared
	defer shared.Close()
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2})
	o.Shared = &shared
	for range 2 {
		o.Folder = NewFolder(filepath.Join(t.TempDir(), "run"))
		_, err := Fit[*rows](t.Context(), newNet(t), newSamples(1, 20, mixed), nil, o)
		require.NoError(t, err)
	}
	assert.Zero(t, shared.Hits)
	assert.Zero(t, shared.held(torch.CPU))
}

// What a run that fails has begun is not kept; what it had filled is.
func TestSharedAfterAFailure(t *testing.T) {
	var shared Shared
	o := quick(t, Phase{Train: HeadOnly(), Epochs: 1, LR: 1e-2})
	o.Shared, o.Folder = &shared, nil
	held := torch.Stats().Tensors
	ctx, cancel := context.WithCancel(t.Context())
	set := named{newSamples(1, 40, mixed), "train"}
	o.OnEvent = func(e Event) error {
		if p, ok := e.(train.Progress); ok && p.Samples >= 8 {
			cancel()
		}
		return nil
	}
	model := newNet(t)
	own := torch.Stats().Tensors - held
	_, err := Fit[*rows](ctx, model, set, nil, o)
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, shared.held(torch.CPU))
	assert.Equal(t, held+own, torch.Stats().Tensors)
	shared.Close()
}

// Where memory is short, what this phase does not need goes first.
func TestSharedMakesRoom(t *testing.T) {
	freed := map[string]bool{}
	s := &Shared{entries: map[string]*sharedRows{}}
	for _, key := range []string{"a", "b"} {
		s.entries[key] = &sharedRows{bytes: 100, free: func() { freed[key] = true }}
	}
	s.makeRoom(200, 200, "b") // 100 more in 200
	assert.Empty(t, freed)
	s.makeRoom(300, 0, "b") // not known
	assert.Empty(t, freed)
	s.makeRoom(300, 200, "b")
	assert.Equal(t, map[string]bool{"a": true}, freed)
}
