package cuda_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

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
	grads := torch.Grad([]torch.Tensor{loss}, w, torch.BackwardOptions{})
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
			torch.Scoped(func() {
				for _, w := range c.weights {
					losses = append(losses, floats(w.Detach())...)
				}
			})
		}))
		return losses
	}
	assert.Equal(t, trace(false), trace(true))
}
