package finetune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/torch/dist"
	"github.com/thaw-ml/thaw/torch/dist/disttest"
	"github.com/thaw-ml/thaw/torch/dist/launch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// togetherKey is the environment's variable that makes the test program one of several processes that train a togetherCase.
const togetherKey = "THAW_TOGETHER"

// togetherCase is a run of several processes.
type togetherCase struct {
	Name       string
	On         []int // processes
	Samples    int
	Padded     bool
	Top        string // what is trained
	Batch      Batching
	EMA        float64
	Weights    []float64
	Precision  string
	Clip       float64
	Dropout    float64
	Epochs     int
	Norms      bool // the first layer is followed by a batch norm
	LocalNorms bool
	Shard      string
	OnGPUs     bool
	Free       int64 // bytes, of rank 1's memory; 0: as much as there is
	Folder     string
	Resume     bool
	StopAt     int    // steps, after which rank 1 is asked to stop
	FailAt     int    // steps, after which rank 1 fails to read
	BadAt      int    // steps, after which rank 1's loss is NaN
	DieAt      int    // steps, after which rank 1 ends without a word
	EndAt      int    // epochs, after which rank 0's OnEvent says Stop
	Kept       string // the folder of files of the frozen stages' output
	Loop       bool   // network, samples and rates are those of testdata/ddp.py
}

// togetherResult is what a process came to.
type togetherResult struct {
	Losses  []float64
	Before  float64
	Loss    []float64 // of evaluations
	Score   []float64 // accuracy
	Weights map[string][]float32
	Steps   int
	Error   string
	Stopped bool // the error is an interruption
	Found   int  // files of the frozen stages' output
	Made    int
	Sharded bool
}

func (c togetherCase) run(t testing.TB, g *dist.Group) (out togetherResult) {
	torch.SetNumThreads(1)
	var lengths func(int) int
	if c.Padded {
		lengths = mixed
	}
	trainSet, testSet := newSamples(1, c.Samples, lengths), newSamples(2, 21, lengths)
	model := newNet(t)
	for _, l := range model.Layers {
		l.Dropout.P = c.Dropout
		l.still = true
	}
	var m Model[*rows] = model
	if c.Norms {
		m = newNormed(t, model)
	}
	if c.Loop {
		model = loopNet(t)
		for _, l := range model.Layers {
			l.still = true
		}
		m, trainSet, testSet = model, loopSamples(28, 3), loopSamples(20, 5)
	}
	o := Options{
		Phases: []Phase{{Train: Selection{c.Top}, Epochs: max(1, c.Epochs), LR: 0.02, WarmUp: Off}}, Batch: c.Batch, EMA: c.EMA, Precision: c.Precision,
		ClipNorm: c.Clip, Seed: 5, Device: "cpu", Group: g, LocalNorms: c.LocalNorms, ShardOptimizer: c.Shard, Resume: c.Resume,
	}
	if c.OnGPUs {
		o.Device = "cuda"
		if g != nil {
			o.Device = g.Device().String()
		}
	}
	if c.Loop {
		o.Phases[0].LR, o.Phases[0].HeadLR, o.Phases[0].Schedule = 0.01, 0.01, Constant
	}
	if c.Weights != nil {
		o.Objective = objective.Classification{Classes: []string{"minus", "plus"}, Weights: c.Weights}
	}
	if c.Folder != "" {
		o.Folder, o.Checkpoint = NewFolder(c.Folder), Checkpointing{Steps: 2}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	reads := 0
	if c.FailAt > 0 && g.Rank() == 1 {
		trainSet.before = func([]int) error {
			if reads++; reads > c.FailAt {
				return errors.New("row 7 cannot be read")
			}
			return nil
		}
	}
	steps := 0
	if c.BadAt > 0 && g.Rank() == 1 {
		model.change = func(loss torch.Tensor) torch.Tensor {
			if steps >= c.BadAt {
				return loss.MulScalar(0).Log().MulScalar(0) // NaN
			}
			return loss
		}
	}
	var training, testing data.Dataset[*rows] = trainSet, testSet
	if c.Kept != "" {
		training, testing = keyed{samples: trainSet, key: "train"}, keyed{samples: testSet, key: "test"}
		o.Cache = Caching{Place: CacheDisk, Folder: c.Kept}
	}
	o.OnEvent = func(e Event) error {
		switch e := e.(type) {
		case CacheFound:
			out.Found++
		case CacheKept:
			out.Made++
		case Planned:
			out.Sharded = e.Plan.Sharded
		case train.StepDone:
			steps = e.Step
			if !c.OnGPUs { // where it is of the steps that are known to be over
				out.Losses = append(out.Losses, e.Loss)
			}
			if e.Step == c.DieAt && g.Rank() == 1 {
				os.Exit(3)
			}
			if e.Step == c.StopAt && g.Rank() == 1 {
				cancel()
			}
		case EpochDone:
			if e.Number == c.EndAt && g.Rank() == 0 {
				return Stop
			}
		}
		return nil
	}
	result, err := c.fit(ctx, g, m, training, testing, o)
	out.Steps = steps
	if err != nil {
		out.Error, out.Stopped = err.Error(), interrupted(ctx, err)
		g.Fail(err)
		return out
	}
	out.Before = result.Before.Loss
	for _, e := range result.Epochs {
		out.Loss, out.Score = append(out.Loss, e.Test.Loss), append(out.Score, e.Test.Value("accuracy"))
	}
	out.Weights = map[string][]float32{}
	for _, n := range nn.StageState(m.Stages()) {
		if n.Tensor.DType() == torch.Float32 {
			out.Weights[n.Name] = torch.ToSlice[float32](n.Tensor)
		}
	}
	return out
}

// fit is Fit, on a machine with little memory where the case says so.
func (c togetherCase) fit(ctx context.Context, g *dist.Group, m Model[*rows], trainSet, testSet data.Dataset[*rows], o Options) (*Result, error) {
	if c.Free == 0 || g.Rank() != 1 {
		return Fit(ctx, m, trainSet, testSet, o)
	}
	o, err := o.resolved()
	if err != nil {
		return nil, err
	}
	return fitOn(ctx, small{free: c.Free}, torch.Float32, m, trainSet, testSet, o)
}

// cleaner is a testing.TB of a process that is none of go test's.
type cleaner struct {
	testing.TB
	f []func()
}

func (c *cleaner) Cleanup(f func()) { c.f = append(c.f, f) }

func runTogether() int {
	var c togetherCase
	w, err := launch.Find(launch.Flags{}, os.Getenv)
	if err == nil {
		err = json.Unmarshal([]byte(os.Getenv(togetherKey)), &c)
	}
	if err == nil {
		device := torch.CPU
		if c.OnGPUs {
			device, err = train.RankDevice("cuda", w.LocalRank, w.LocalSize)
		}
		var g *dist.Group
		if err == nil {
			g, err = dist.Join(context.Background(), w, dist.Options{Timeout: 20 * time.Second, Device: device})
		}
		if err == nil {
			out := c.run(&cleaner{}, g)
			g.Close(out.Error != "")
			err = json.NewEncoder(os.Stdout).Encode(out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// on runs a case on so many processes.
func (c togetherCase) on(t *testing.T, processes int) []togetherResult {
	t.Helper()
	text, err := json.Marshal(c)
	require.NoError(t, err)
	return disttest.Results[togetherResult](t, processes, togetherKey+"="+string(text))
}

var togetherCases = []togetherCase{
	{Name: "whole", On: []int{2}, Samples: 50, Top: "all", Batch: Batching{Size: 8}, Epochs: 3},
	{Name: "kept prefix, padded", On: []int{3}, Samples: 50, Padded: true, Top: "top 2", Batch: Batching{Size: 8}, Epochs: 3},
	{Name: "accumulated, clipped", On: []int{2}, Samples: 50, Padded: true, Top: "all", Batch: Batching{Size: 4, Accumulate: 3}, Epochs: 3, Clip: 0.1},
	{Name: "average, few in the last batch", On: []int{3}, Samples: 25, Top: "all", Batch: Batching{Size: 8}, Epochs: 4, EMA: 0.9},
	{Name: "class weights", On: []int{2}, Samples: 50, Top: "all", Batch: Batching{Size: 8}, Epochs: 3, Weights: []float64{1, 3}},
	{Name: "class weights, accumulated", On: []int{3}, Samples: 49, Top: "all", Batch: Batching{Size: 4, Accumulate: 2}, Epochs: 3, Weights: []float64{1, 3}},
	{Name: "bfloat16", On: []int{2}, Samples: 50, Top: "all", Batch: Batching{Size: 4, Accumulate: 2}, Epochs: 3, Precision: "bfloat16"},
	{Name: "batch norms", On: []int{2, 3}, Samples: 50, Top: "all", Batch: Batching{Size: 8}, Epochs: 3, Norms: true},
}

// A run of several processes is that of one, but for rounding.
func TestTogetherIsAlone(t *testing.T) {
	for _, c := range togetherCases {
		t.Run(c.Name, func(t *testing.T) {
			alone := c.run(t, nil)
			require.Empty(t, alone.Error)
			tolerance, ofWeights := 1e-5, 1e-4
			if c.Precision != "" { // products of 16 bits round parts otherwise
				tolerance, ofWeights = 2e-2, 2e-2
			}
			for _, processes := range c.On {
				all := c.on(t, processes)
				for r, got := range all {
					require.Empty(t, got.Error, "rank %d of %d", r, processes)
					require.Len(t, got.Losses, len(alone.Losses))
					for i := range got.Losses {
						require.InEpsilon(t, alone.Losses[i], got.Losses[i], tolerance, "rank %d of %d, step %d", r, processes, i+1)
					}
					assert.InEpsilon(t, alone.Before, got.Before, 1e-6)
					assert.InEpsilonSlice(t, alone.Loss, got.Loss, max(1e-4, tolerance))
					assert.Equal(t, alone.Score, got.Score)
					assert.Len(t, got.Weights, len(alone.Weights))
					for name, want := range alone.Weights {
						assert.InDeltaSlice(t, want, got.Weights[name], ofWeights, "rank %d of %d: %s", r, processes, name)
						assert.Equal(t, all[0].Weights[name], got.Weights[name], "ranks differ in %s", name)
					}
				}
			}
		})
	}
}

// Processes that train together make no files of what they keep, and read those that are there, where all have them.
func TestTogetherReadsKeptFiles(t *testing.T) {
	c := togetherCase{Samples: 50, Padded: true, Top: "top 2", Batch: Batching{Size: 8}, Epochs: 2, Kept: filepath.Join(t.TempDir(), "frozen")}
	without := c.on(t, 2)
	require.Empty(t, without[0].Error)
	assert.NoDirExists(t, c.Kept)
	alone := c.run(t, nil)
	require.Empty(t, alone.Error)
	assert.Equal(t, 2, alone.Made)
	with := c.on(t, 2)
	for r, got := range with {
		assert.Equal(t, 2, got.Found, "rank %d", r)
		assert.Equal(t, without[r].Losses, got.Losses)
		assert.Equal(t, without[r].Weights, got.Weights)
	}
}

// Dropout and local batch norms see other numbers than in one process, and each process others than the next.
func TestTogetherIsRandom(t *testing.T) {
	c := togetherCase{Samples: 48, Top: "all", Batch: Batching{Size: 8}, Epochs: 2, Dropout: 0.2, Norms: true, LocalNorms: true, EMA: 0.9}
	alone := c.run(t, nil)
	all := c.on(t, 2)
	require.Empty(t, all[0].Error)
	for name := range alone.Weights {
		assert.Equal(t, all[0].Weights[name], all[1].Weights[name], name)
	}
	assert.NotEqual(t, alone.Losses, all[0].Losses)
	assert.InDelta(t, alone.Losses[len(alone.Losses)-1], all[0].Losses[len(alone.Losses)-1], 0.3)
	assert.Equal(t, all, c.on(t, 2))
}

// A run that was stopped on one process goes on bit for bit on as many, and but for rounding on others.
func TestTogetherResumes(t *testing.T) {
	for _, stop := range []int{3, 9} { // in the first epoch, and in the second
		c := togetherCase{Samples: 50, Padded: true, Top: "top 2", Batch: Batching{Size: 8}, Epochs: 2, Dropout: 0.2}
		whole := c.on(t, 2)
		c.Folder, c.StopAt = filepath.Join(t.TempDir(), "run"), stop
		for r, got := range c.on(t, 2) {
			assert.True(t, got.Stopped, "rank %d: %s", r, got.Error)
			assert.Equal(t, stop, got.Steps, "rank %d", r)
		}
		c.StopAt, c.Resume = 0, true
		for r, got := range c.on(t, 2) {
			require.Empty(t, got.Error, "rank %d", r)
			assert.Equal(t, whole[r].Weights, got.Weights, "rank %d, stopped after %d", r, stop)
			assert.Equal(t, whole[r].Loss, got.Loss)
		}
		assert.NoDirExists(t, filepath.Join(c.Folder, CheckpointsDir))
	}
	c := togetherCase{Samples: 50, Top: "all", Batch: Batching{Size: 8}, Epochs: 2}
	whole := c.on(t, 2)
	c.Folder, c.StopAt = filepath.Join(t.TempDir(), "run"), 4
	c.on(t, 2)
	c.StopAt, c.Resume = 0, true
	other := c.on(t, 3)
	for name, want := range whole[0].Weights {
		assert.InDeltaSlice(t, want, other[2].Weights[name], 1e-4, name)
	}
	for _, got := range c.on(t, 2) { // it is over
		assert.Contains(t, got.Error, ErrFinished.Error())
	}
}

// With the optimizer's state divided among processes a run is, to the last bit, the one whose state is not; it goes on from its
// checkpoints on any number of processes, divided or not.
func TestTogetherSharded(t *testing.T) {
	c := togetherCase{Samples: 50, Padded: true, Top: "top 2", Batch: Batching{Size: 8, Accumulate: 2}, Epochs: 3, Dropout: 0.2, EMA: 0.9, Clip: 0.1}
	plain := c.on(t, 2)
	require.Empty(t, plain[0].Error)
	c.Shard = "on"
	for r, got := range c.on(t, 2) {
		require.True(t, got.Sharded)
		got.Sharded = false
		require.True(t, assert.ObjectsAreEqual(plain[r], got), "rank %d comes to other numbers", r)
	}
	for _, stop := range []int{3, 5} {
		c.Folder, c.StopAt = filepath.Join(t.TempDir(), "run"), stop
		for r, got := range c.on(t, 2) {
			assert.True(t, got.Stopped, "rank %d: %s", r, got.Error)
		}
		c.StopAt, c.Resume = 0, true
		copied := filepath.Join(t.TempDir(), "run")
		require.NoError(t, os.CopyFS(copied, os.DirFS(c.Folder)))
		for r, got := range c.on(t, 2) {
			require.Empty(t, got.Error, "rank %d", r)
			assert.Equal(t, plain[r].Weights, got.Weights, "rank %d, stopped after %d", r, stop)
		}
		c.Folder, c.Dropout, c.Shard = copied, 0, map[int]string{3: "off", 5: "on"}[stop]
		for r, got := range c.on(t, 3) { // but for rounding and dropout
			require.Empty(t, got.Error, "rank %d", r)
			assert.InDelta(t, plain[0].Loss[2], got.Loss[2], 0.1)
		}
		c.Resume, c.Dropout, c.Shard = false, 0.2, "on"
	}
}

// Where one process has little memory for it, all divide the optimizer's state.
func TestTogetherShardsByItself(t *testing.T) {
	trained := int64(nn.NumParams(newNet(t)))
	for free, want := range map[int64]bool{30 * trained: false, 20 * trained: true, 9 * trained: true} { // of 12, and of 8 divided
		c := togetherCase{Samples: 24, Top: "all", Batch: Batching{Size: 8}, Free: free}
		for r, got := range c.on(t, 2) {
			require.Empty(t, got.Error, "rank %d", r)
			assert.Equal(t, want, got.Sharded, "rank %d, %d bytes for %d values", r, free, trained)
		}
	}
	c := togetherCase{Samples: 24, Top: "all", Batch: Batching{Size: 8}, Free: 7 * trained}
	for r, got := range c.on(t, 2) {
		assert.Contains(t, got.Error, "allow more memory", "rank %d", r)
	}
}

// What goes wrong on one process ends all, at once, with its reason.
func TestTogetherFails(t *testing.T) {
	c := togetherCase{Samples: 50, Top: "all", Batch: Batching{Size: 8}, Epochs: 2}
	failing := c
	failing.FailAt = 3
	for r, got := range failing.on(t, 2) {
		assert.Contains(t, got.Error, "row 7 cannot be read", "rank %d", r)
		if r == 0 {
			assert.Contains(t, got.Error, "rank 1: ")
		}
	}
	bad := c
	bad.BadAt = 3
	for r, got := range bad.on(t, 2) {
		assert.Contains(t, got.Error, "step 4: the loss is not a finite number", "rank %d", r)
		if r == 0 {
			assert.Contains(t, got.Error, "on rank 1")
		}
	}
	ended := c
	ended.EndAt = 1
	for _, got := range ended.on(t, 2) {
		assert.Empty(t, got.Error)
		assert.Len(t, got.Loss, 1)
	}
	c.Folder = t.TempDir()
	for r, got := range c.on(t, 2) {
		assert.Contains(t, got.Error, "exists already", "rank %d", r)
	}
}

// normed is a net with a batch norm behind each layer.
type normed struct {
	*net
	Norms []*nn.BatchNorm
}

func newNormed(t testing.TB, n *net) *normed {
	m := &normed{net: n}
	for range n.Layers {
		m.Norms = append(m.Norms, nn.NewBatchNorm(width))
	}
	t.Cleanup(func() {
		for _, b := range m.Norms {
			nn.Close(b)
		}
	})
	return m
}

func (m *normed) Stages() []nn.Stage[*rows] {
	var out []nn.Stage[*rows]
	for i, s := range m.net.Stages() {
		out = append(out, s)
		if i < len(m.Norms) {
			name := fmt.Sprintf("norm.%d", i)
			out = append(out, nn.Stage[*rows]{Name: name, Module: m.Norms[i], Key: name + ".", Forward: func(_ *rows, in nn.Values) nn.Values {
				return nn.Values{m.Norms[i].Forward(in[0])}
			}})
		}
	}
	return out
}
