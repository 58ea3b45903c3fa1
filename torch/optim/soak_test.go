package optim_test

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/optim"
)

type mlp struct {
	In   *nn.Linear    `torch:"in"`
	Norm *nn.LayerNorm `torch:"norm"`
	Drop *nn.Dropout   `torch:""`
	Out  *nn.Linear    `torch:"out"`
}

func (m *mlp) Forward(x torch.Tensor) torch.Tensor {
	return m.Out.Forward(m.Drop.Forward(m.Norm.Forward(m.In.Forward(x).GELU())))
}

// residentBytes is what the process holds in memory, without what Go's heap keeps for later: the heap grows to 4 MB
// before it is collected for the first time, and never gives back all that is free.
func residentBytes(t testing.TB) int {
	debug.FreeOSMemory()
	var heap runtime.MemStats
	runtime.ReadMemStats(&heap)
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	require.NoError(t, err)
	return pages*os.Getpagesize() - int(heap.HeapSys-heap.HeapReleased-heap.HeapAlloc)
}

// Ten thousand steps of all that a training step has: after the first thousand nothing grows.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const steps, settled, batch = 10_000, 1_000, 16
	// Go's heap, and the race detector's records of it, reach their size within the first steps.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	// One thread: beside other programs, OpenMP's threads wait for each other longer than toy tensors take to compute.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer torch.SetNumThreads(torch.NumThreads())
	torch.SetNumThreads(1)
	torch.ManualSeed(1) // dropout's masks
	g := torch.NewGenerator(1)
	m := &mlp{nn.NewLinear(8, 32, nn.LinearOptions{}, g), nn.NewLayerNorm(32, 1e-5), &nn.Dropout{P: 0.1}, nn.NewLinear(32, 3, nn.LinearOptions{}, g)}
	defer nn.Close(m)
	nn.RequireGrad(m, true)
	nn.SetTraining(m, true)
	var params []torch.Tensor
	for _, p := range nn.Params(m) {
		params = append(params, p)
	}
	optimizer := optim.NewAdamW(optim.AdamWOptions{}, &optim.Group{Params: params[:2], WeightDecay: 0.01}, &optim.Group{Params: params[2:]})
	defer optimizer.Close()
	schedule := optim.Cosine(steps/10, steps)

	var first, last float64
	step := func(i int) (loss float64) {
		torch.Scoped(func() {
			x := torch.Randn(g, torch.Float32, torch.CPU, batch, 8)
			classes := x.Narrow(1, 0, 3).Argmax(-1)
			l := nn.CrossEntropy(m.Forward(x), classes, 0.1)
			l.Backward()
			optim.ClipGradNorm(params, 1)
			for _, group := range optimizer.Groups() {
				group.LR = 1e-3 * schedule(i)
			}
			optimizer.Step()
			optimizer.ZeroGrad()
			loss = l.Item()
		})
		return loss
	}
	for i := range settled {
		last = step(i)
		switch i {
		case 0:
			first = last
		case settled / 2:
			residentBytes(t) // the collector's own memory comes with its first run
		}
	}
	live := torch.Stats()
	// A leak grows every time; malloc's arenas and the race detector's records grow once.
	grown := 1 << 20
	for tries := 0; tries < 4 && grown >= 1<<20; tries++ {
		resident := residentBytes(t)
		for i := settled; i < steps; i++ {
			last = step(i)
		}
		grown = residentBytes(t) - resident
	}
	after := torch.Stats()
	assert.Equal(t, live.Tensors, after.Tensors, "live tensors")
	assert.Equal(t, live.Bytes, after.Bytes, "bytes of live tensors")
	assert.Equal(t, live.Collected, after.Collected, "tensors that nobody closed")
	assert.Less(t, grown, 1<<20, "growth of resident memory in bytes")
	assert.Less(t, last, 0.8*first, "it learns")
	t.Logf("resident memory grew by %d KB, loss %.3f to %.3f", grown>>10, first, last)
}
