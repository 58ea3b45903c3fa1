package cuda_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// These tests need a GPU; elsewhere each skips with a line that says why.

const f32 = torch.Float32

var (
	cpu = torch.CPU
	gpu = torch.CUDA(0)
)

// setting applies settings until the test ends.
func setting(t testing.TB, s cuda.Settings) {
	t.Helper()
	before, err := cuda.CurrentSettings()
	require.NoError(t, err)
	require.NoError(t, s.Apply())
	t.Cleanup(func() { require.NoError(t, before.Apply()) })
}

func floats(x torch.Tensor) []float32 { return torch.ToSlice[float32](x) }

// random gives numbers on the CPU that depend on the seed only.
func random(seed uint64, size ...int) torch.Tensor {
	return torch.Randn(torch.NewGenerator(seed), f32, cpu, size...)
}

func TestDevices(t *testing.T) {
	needGPU(t)
	devices, err := cuda.Devices()
	require.NoError(t, err)
	require.NotEmpty(t, devices)
	for i, d := range devices {
		t.Logf("%+v", d)
		assert.Equal(t, i, d.Index)
		assert.NotEmpty(t, d.Name)
		assert.Greater(t, d.TotalMemory, int64(1)<<30)
		assert.GreaterOrEqual(t, d.ComputeCapability.Major, 7)
		assert.Positive(t, d.Multiprocessors)
		assert.NoError(t, torch.SelfTest(torch.CUDA(i)))
	}
	assert.True(t, torch.CUDAAvailable())
	assert.NoError(t, gpu.Check())
	assert.ErrorContains(t, torch.CUDA(len(devices)).Check(), "there is no CUDA device")
	assert.ErrorContains(t, cuda.WithDevice(len(devices), func() { t.Error("it ran") }), "numbered from 0")
	var on torch.Device
	require.NoError(t, cuda.WithDevice(len(devices)-1, func() {
		torch.Scoped(func() { on = torch.Zeros(f32, torch.CUDA(cuda.Current), 1).Device() })
	}))
	assert.Equal(t, torch.CUDA(len(devices)-1), on)
}

func TestSettings(t *testing.T) {
	needGPU(t)
	for _, want := range []cuda.Settings{{TF32: true}, {ConvTF32: true}, {CuDNNAttention: true}, {Benchmark: true}, {Deterministic: true}, {}} {
		setting(t, want)
		got, err := cuda.CurrentSettings()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

// Operators, and their gradients, against the CPU. The tolerances are for sums of up to 288 products of numbers about 1
// in float32, taken in another order.
func TestOperatorsAgainstCPU(t *testing.T) {
	needGPU(t)
	setting(t, cuda.Settings{})
	for name, c := range map[string]struct {
		inputs []torch.Tensor
		f      func(x []torch.Tensor) torch.Tensor
	}{
		"add": {[]torch.Tensor{random(1, 64, 33), random(2, 33)},
			func(x []torch.Tensor) torch.Tensor { return x[0].Add(x[1]) }},
		"mm": {[]torch.Tensor{random(1, 65, 130), random(2, 130, 67)},
			func(x []torch.Tensor) torch.Tensor { return x[0].MM(x[1]) }},
		"linear": {[]torch.Tensor{random(1, 4, 9, 64), random(2, 48, 64), random(3, 48)},
			func(x []torch.Tensor) torch.Tensor { return torch.Linear(x[0], x[1], x[2]) }},
		"conv2d": {[]torch.Tensor{random(1, 2, 32, 17, 19), random(2, 40, 32, 3, 3), random(3, 40)},
			func(x []torch.Tensor) torch.Tensor {
				return torch.Conv2d(x[0], x[1], x[2], []int{2, 2}, []int{1, 1}, []int{1, 1}, 1)
			}},
		"layer_norm": {[]torch.Tensor{random(1, 5, 7, 96), random(2, 96), random(3, 96)},
			func(x []torch.Tensor) torch.Tensor { return torch.LayerNorm(x[0], []int{96}, x[1], x[2], 1e-12) }},
		"gelu":    {[]torch.Tensor{random(1, 1000)}, func(x []torch.Tensor) torch.Tensor { return x[0].GELU() }},
		"softmax": {[]torch.Tensor{random(1, 12, 128)}, func(x []torch.Tensor) torch.Tensor { return x[0].Softmax(-1) }},
		"mean":    {[]torch.Tensor{random(1, 100, 100)}, func(x []torch.Tensor) torch.Tensor { return x[0].Mean() }},
		"attention": {[]torch.Tensor{random(1, 2, 3, 16, 32), random(2, 2, 3, 16, 32), random(3, 2, 3, 16, 32)},
			func(x []torch.Tensor) torch.Tensor {
				return torch.ScaledDotProductAttention(x[0], x[1], x[2], torch.Tensor{}, 0, false)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			torchtest.Scoped(t, func() {
				var want []torch.Tensor
				for _, device := range []torch.Device{cpu, gpu} {
					leaves := make([]torch.Tensor, len(c.inputs))
					for i, x := range c.inputs {
						leaves[i] = x.ToDevice(device).Detach().RequiresGrad_(true)
					}
					y := c.f(leaves)
					require.Equal(t, device, y.Device())
					// Square: gradients that differ from element to element.
					got := append([]torch.Tensor{y.Detach()}, torch.Grad([]torch.Tensor{y.Square().Sum()}, leaves, torch.BackwardOptions{}, false)...)
					if device == cpu {
						want = got
						continue
					}
					for i := range want {
						torchtest.Close(t, want[i], got[i].ToDevice(cpu), 1e-4, 2e-3, name, "result or gradient", i)
					}
				}
			})
		})
		for _, x := range c.inputs {
			x.Close()
		}
	}
}

// classifier is a small network with a training step, all on one device.
type classifier struct {
	x, target, loss torch.Tensor
	weights         []torch.Tensor
	dropout         float64
}

func newClassifier(device torch.Device, dropout float64) *classifier {
	c := &classifier{dropout: dropout}
	torch.Scoped(func() {
		labels := make([]int64, 32)
		for i := range labels {
			labels[i] = int64(i * 7 % 10)
		}
		c.x = torch.Keep(random(1, 32, 64).ToDevice(device))
		c.target = torch.Keep(torch.FromSlice(labels).ToDevice(device))
		c.loss = torch.Keep(torch.Zeros(f32, device))
		for i, size := range [][]int{{128, 64}, {128}, {10, 128}, {10}} {
			w := torch.Keep(random(uint64(10+i), size...).MulScalar(0.1).ToDevice(device))
			c.weights = append(c.weights, w.RequiresGrad_(true))
		}
	})
	return c
}

func (c *classifier) close() {
	for _, t := range append([]torch.Tensor{c.x, c.target, c.loss}, c.weights...) {
		t.Close()
	}
}

// step is forward, loss, backward and SGD; what it leaves is in the weights and in loss.
func (c *classifier) step() []torch.Tensor {
	w := c.weights
	h := torch.Dropout(torch.Linear(c.x, w[0], w[1]).GELU(), c.dropout, true)
	loss := torch.CrossEntropyLoss(torch.Linear(h, w[2], w[3]), c.target, torch.Tensor{}, torch.ReduceMean, -100, 0)
	grads := torch.Grad([]torch.Tensor{loss}, w, torch.BackwardOptions{}, false)
	torch.NoGrad(func() {
		c.loss.Copy_(loss.Detach())
		for i, g := range grads {
			w[i].AddScaled_(g, -0.1)
		}
	})
	return nil
}

// trace takes steps and gives the losses, then the weights.
func (c *classifier) trace(t *testing.T, steps int, step func()) [][]float32 {
	t.Helper()
	var out [][]float32
	for range steps {
		step()
		out = append(out, floats(c.loss))
	}
	torch.Scoped(func() {
		for _, w := range c.weights {
			out = append(out, floats(w.Detach()))
		}
	})
	return out
}

// A captured training step is the eager one bit for bit, with dropout: a replay takes from the generator what an eager
// step would.
func TestGraphIsEager(t *testing.T) {
	needGPU(t)
	setting(t, cuda.Settings{Deterministic: true})
	for name, dropout := range map[string]float64{"plain": 0, "dropout": 0.3} {
		t.Run(name, func(t *testing.T) {
			const steps = 20
			eager := newClassifier(gpu, dropout)
			defer eager.close()
			require.NoError(t, cuda.Seed(0, 5))
			want := eager.trace(t, steps, func() { torch.Scoped(func() { eager.step() }) })
			assert.Less(t, want[steps-1][0], want[0][0], "it learns")

			graphed := newClassifier(gpu, dropout)
			defer graphed.close()
			start := newClassifier(gpu, dropout)
			defer start.close()
			g, err := cuda.NewGraph(cuda.GraphOptions{})
			require.NoError(t, err)
			defer g.Close()
			require.NoError(t, g.Capture(graphed.step))
			torch.NoGrad(func() { // the warm-up has trained
				for i, w := range graphed.weights {
					w.Copy_(start.weights[i])
				}
			})
			require.NoError(t, cuda.Seed(0, 5))
			got := graphed.trace(t, steps, func() { require.NoError(t, g.Replay()) })
			require.Equal(t, len(want), len(got))
			for i := range want {
				require.Equal(t, want[i], got[i], "loss of step %d, or weights", i)
			}
		})
	}
}

// dropout captures a dropout of ones, p 0.5.
func dropout(t *testing.T, o cuda.GraphOptions) *cuda.Graph {
	t.Helper()
	g, err := cuda.NewGraph(o)
	require.NoError(t, err)
	t.Cleanup(g.Close)
	ones := torch.Ones(f32, gpu, 4096)
	t.Cleanup(ones.Close)
	require.NoError(t, g.Capture(func() []torch.Tensor { return []torch.Tensor{torch.Dropout(ones, 0.5, true)} }))
	return g
}

func TestDropoutDiffersBetweenReplays(t *testing.T) {
	needGPU(t)
	g := dropout(t, cuda.GraphOptions{})
	require.Len(t, g.Outputs(), 1)
	replay := func() []float32 {
		require.NoError(t, g.Replay())
		return floats(g.Outputs()[0])
	}
	require.NoError(t, cuda.Seed(0, 11))
	first, second := replay(), replay()
	assert.NotEqual(t, first, second)
	for _, mask := range [][]float32{first, second} {
		zeros := 0
		for _, v := range mask {
			if v == 0 {
				zeros++
			} else {
				require.Equal(t, float32(2), v)
			}
		}
		assert.InDelta(t, 2048, zeros, 200) // 6 standard deviations of 32
	}
	require.NoError(t, cuda.Seed(0, 11))
	assert.Equal(t, first, replay(), "the seed decides")
	assert.Equal(t, second, replay())
}

// A function that waits for the device cannot be captured; what was before goes on, and the graph may try again.
func TestCaptureFails(t *testing.T) {
	needGPU(t)
	x := torch.Ones(f32, gpu, 8)
	defer x.Close()
	for name, c := range map[string]struct {
		f    func() []torch.Tensor
		want string
	}{
		"item":     {func() []torch.Tensor { x.Sum().Item(); return nil }, "Item, ToSlice"},
		"nonzero":  {func() []torch.Tensor { x.Nonzero(); return nil }, "Item, ToSlice"},
		"from CPU": {func() []torch.Tensor { torch.FromSlice([]float32{1}).ToDevice(gpu); return nil }, "PinMemory"},
		"shapes":   {func() []torch.Tensor { return []torch.Tensor{x.View(3)} }, "invalid for input of size 8"},
	} {
		t.Run(name, func(t *testing.T) {
			before := torch.Stats().Tensors
			g, err := cuda.NewGraph(cuda.GraphOptions{WarmUp: -1})
			require.NoError(t, err)
			defer g.Close()
			assert.ErrorContains(t, g.Capture(c.f), c.want)
			assert.ErrorContains(t, g.Replay(), "nothing was captured")
			assert.Equal(t, before, torch.Stats().Tensors)

			torch.Scoped(func() { // eager work, with random numbers and memory, goes on
				y := torch.Dropout(x, 0.5, true).Add(torch.Rand(nil, f32, gpu, 8))
				assert.Len(t, floats(y), 8)
			})
			require.NoError(t, g.Capture(func() []torch.Tensor { return []torch.Tensor{torch.Dropout(x, 0.5, true).AddScalar(1)} }))
			require.NoError(t, g.Replay())
			for _, v := range floats(g.Outputs()[0]) {
				assert.Contains(t, []float32{1, 3}, v)
			}
			assert.ErrorContains(t, g.Capture(c.f), "captured already")
		})
	}
	t.Run("panic", func(t *testing.T) {
		g, err := cuda.NewGraph(cuda.GraphOptions{WarmUp: -1})
		require.NoError(t, err)
		defer g.Close()
		assert.PanicsWithValue(t, "mine", func() { _ = g.Capture(func() []torch.Tensor { panic("mine") }) })
		require.NoError(t, g.Capture(func() []torch.Tensor { return []torch.Tensor{x.AddScalar(1)} }))
	})
	stream, err := cuda.CurrentStream(0)
	require.NoError(t, err)
	assert.Equal(t, cuda.Stream{}, stream, "the default stream again")
}

func TestGraphsShareMemory(t *testing.T) {
	needGPU(t)
	first := dropout(t, cuda.GraphOptions{})
	second := dropout(t, cuda.GraphOptions{SharePool: first})
	for _, g := range []*cuda.Graph{first, second, first} {
		require.NoError(t, g.Replay())
		assert.Contains(t, []float32{0, 2}, floats(g.Outputs()[0])[0])
	}
	first.Close()
	require.NoError(t, second.Replay())
	assert.Contains(t, []float32{0, 2}, floats(second.Outputs()[0])[0])
}

// Work on a side stream that is not waited for would be seen half-done; with an event between, it is whole.
func TestStreamsAndEvents(t *testing.T) {
	needGPU(t)
	side, err := cuda.NewStream(cuda.StreamOptions{HighPriority: true})
	require.NoError(t, err)
	main, err := cuda.CurrentStream(0)
	require.NoError(t, err)
	require.NotEqual(t, main, side)
	start, err := cuda.NewEvent(cuda.EventOptions{Timing: true})
	require.NoError(t, err)
	defer start.Close()
	done, err := cuda.NewEvent(cuda.EventOptions{Timing: true})
	require.NoError(t, err)
	defer done.Close()

	torchtest.Scoped(t, func() {
		a := torch.Ones(f32, gpu, 4096, 4096)
		sum := torch.Zeros(f32, gpu, 4096, 4096)
		pinned := torch.Full([]int{4096, 4096}, 2, f32, cpu).PinMemory()
		require.NoError(t, side.WaitFor(main))
		require.NoError(t, cuda.WithStream(side, func() {
			current, err := cuda.CurrentStream(0)
			require.NoError(t, err)
			assert.Equal(t, side, current)
			require.NoError(t, start.Record(side))
			sum.CopyAsync_(pinned)
			for range 20 {
				sum.Copy_(a.MM(sum).MulScalar(1.0 / 4096)) // the mean of each column: 2 again
			}
			require.NoError(t, done.Record(side))
		}))
		current, err := cuda.CurrentStream(0)
		require.NoError(t, err)
		assert.Equal(t, main, current)
		require.NoError(t, done.Block(main))
		assert.InDelta(t, 2, sum.Mean().Item(), 1e-5)
		took, err := done.Since(start)
		require.NoError(t, err)
		assert.Greater(t, took, 100*time.Microsecond) // 20 products of 137 GFLOP: over 2 ms on any GPU of 2026
		finished, err := done.Done()
		require.NoError(t, err)
		assert.True(t, finished)
		finished, err = side.Done()
		require.NoError(t, err)
		assert.True(t, finished)
	})
	assert.PanicsWithValue(t, "mine", func() { _ = cuda.WithStream(side, func() { panic("mine") }) })
	current, err := cuda.CurrentStream(0)
	require.NoError(t, err)
	assert.Equal(t, main, current, "after a panic")
	untimed, err := cuda.NewEvent(cuda.EventOptions{})
	require.NoError(t, err)
	require.NoError(t, untimed.Record(main))
	_, err = done.Since(untimed)
	assert.Error(t, err)
	untimed.Close()
	assert.ErrorContains(t, untimed.Synchronize(), "closed")
}

func TestMemory(t *testing.T) {
	needGPU(t)
	stats := func() cuda.MemoryStats {
		require.NoError(t, cuda.Synchronize(0))
		m, err := cuda.Memory(0)
		require.NoError(t, err)
		return m
	}
	before := stats()
	require.NoError(t, cuda.ResetPeak(0))
	x := torch.Zeros(torch.Uint8, gpu, 32<<20)
	with := stats()
	x.Close()
	after := stats()
	assert.Equal(t, before.Allocated+32<<20, with.Allocated)
	assert.Equal(t, before.Allocations+1, with.Allocations)
	assert.Equal(t, before.Allocated, after.Allocated)
	assert.Equal(t, with.Allocated, after.AllocatedPeak)
	assert.GreaterOrEqual(t, after.Reserved, int64(32<<20))
	assert.Greater(t, after.Total, after.Free)
	require.NoError(t, cuda.ResetPeak(0))
	assert.Equal(t, before.Allocated, stats().AllocatedPeak)
	require.NoError(t, cuda.EmptyCache())
	assert.Less(t, stats().Reserved, after.Reserved)
	e := torch.Try(func() { torch.Empty(torch.Uint8, gpu, 1<<50).Close() })
	var failed *torch.Error
	require.ErrorAs(t, e, &failed)
	assert.Equal(t, torch.OutOfMemory, failed.Kind)
}

// 1,000 steps, eager and replayed, leave the device's memory where it was.
func TestMemoryIsFlat(t *testing.T) {
	needGPU(t)
	c := newClassifier(gpu, 0.1)
	defer c.close()
	g, err := cuda.NewGraph(cuda.GraphOptions{})
	require.NoError(t, err)
	defer g.Close()
	require.NoError(t, g.Capture(c.step))
	for name, step := range map[string]func(){
		"eager": func() { torch.Scoped(func() { c.step() }) },
		"graph": func() { require.NoError(t, g.Replay()) },
	} {
		t.Run(name, func(t *testing.T) {
			var at [2]cuda.MemoryStats
			for i := range at {
				for range 20 + 980*i {
					step()
				}
				require.NoError(t, cuda.Synchronize(0))
				at[i], err = cuda.Memory(0)
				require.NoError(t, err)
			}
			assert.Equal(t, at[0].Allocated, at[1].Allocated)
			assert.Equal(t, at[0].Reserved, at[1].Reserved)
			assert.Equal(t, at[0].Allocations, at[1].Allocations)
		})
	}
}

// Graphs that come and go, and captures that fail, give their memory back.
func TestGraphsGiveMemoryBack(t *testing.T) {
	needGPU(t)
	x := torch.Ones(f32, gpu, 1<<20)
	defer x.Close()
	var reserved [2]int64
	for i := range reserved {
		for range 5 + 25*i {
			g, err := cuda.NewGraph(cuda.GraphOptions{WarmUp: -1})
			require.NoError(t, err)
			assert.Error(t, g.Capture(func() []torch.Tensor { x.AddScalar(1).Sum().Item(); return nil }))
			require.NoError(t, g.Capture(func() []torch.Tensor { return []torch.Tensor{x.AddScalar(1)} }))
			g.Close()
		}
		require.NoError(t, cuda.EmptyCache())
		m, err := cuda.Memory(0)
		require.NoError(t, err)
		reserved[i] = m.Reserved
	}
	assert.Equal(t, reserved[0], reserved[1])
}

// Inside a stream of its own a function is captured on that stream, so that a backward pass that adds up gradients, as
// training does, can be recorded: its parameters took part on that stream before.
func TestCaptureOnTheCurrentStream(t *testing.T) {
	needGPU(t)
	setting(t, cuda.Settings{Deterministic: true})
	s, err := cuda.NewStream(cuda.StreamOptions{})
	require.NoError(t, err)
	trace := func(graph bool) (losses []float32) {
		require.NoError(t, cuda.Seed(0, 5))
		require.NoError(t, cuda.WithStream(s, func() {
			c := newClassifier(gpu, 0.3)
			defer c.close()
			step := func() []torch.Tensor {
				w := c.weights
				h := torch.Dropout(torch.Linear(c.x, w[0], w[1]).GELU(), c.dropout, true)
				loss := torch.CrossEntropyLoss(torch.Linear(h, w[2], w[3]), c.target, torch.Tensor{}, torch.ReduceMean, -100, 0)
				loss.Backward()
				torch.NoGrad(func() {
					c.loss.Copy_(loss.Detach())
					for _, p := range w {
						p.AddScaled_(p.Grad(), -0.1)
						p.ZeroGrad()
					}
				})
				return nil
			}
			torch.Scoped(func() { step() })
			losses = append(losses, floats(c.loss)...)
			run := func() { torch.Scoped(func() { step() }) }
			if graph {
				g, err := cuda.NewGraph(cuda.GraphOptions{WarmUp: -1})
				require.NoError(t, err)
				defer g.Close()
				require.NoError(t, g.Capture(step))
				run = func() { require.NoError(t, g.Replay()) }
			}
			for range 10 {
				run()
				losses = append(losses, floats(c.loss)...)
			}
			for _, w := range c.weights {
				losses = append(losses, floats(w.Detach())...)
			}
		}))
		return losses
	}
	assert.Equal(t, trace(false), trace(true))
}
