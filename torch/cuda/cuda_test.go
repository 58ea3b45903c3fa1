package cuda_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/cuda"
)

// Without a device every function fails with the mend in its message, and none panics.
func TestWithoutGPU(t *testing.T) {
	if cuda.Available() {
		t.Skip("this machine has a GPU")
	}
	why := "this program has no CUDA: build it with -tags cuda after make deps-cuda"
	if cuda.Built() {
		why = "no NVIDIA driver answers on this machine"
	}
	var event *cuda.Event
	var graph *cuda.Graph
	calls := map[string]func() error{
		"Check":            cuda.Check,
		"Devices":          func() error { _, err := cuda.Devices(); return err },
		"WithDevice":       func() error { return cuda.WithDevice(0, func() { t.Error("it ran") }) },
		"Synchronize":      func() error { return cuda.Synchronize(cuda.Current) },
		"CurrentSettings":  func() error { _, err := cuda.CurrentSettings(); return err },
		"Apply":            func() error { return cuda.Settings{TF32: true}.Apply() },
		"Seed":             func() error { return cuda.Seed(0, 1) },
		"Memory":           func() error { _, err := cuda.Memory(0); return err },
		"ResetPeak":        func() error { return cuda.ResetPeak(0) },
		"EmptyCache":       cuda.EmptyCache,
		"DropWorkspaces":   cuda.DropWorkspaces,
		"MemoryFraction":   func() error { return cuda.SetMemoryFraction(0, 0.5) },
		"Allocator":        func() error { return cuda.ConfigureAllocator("max_split_size_mb:512") },
		"NewStream":        func() error { _, err := cuda.NewStream(cuda.StreamOptions{}); return err },
		"CurrentStream":    func() error { _, err := cuda.CurrentStream(0); return err },
		"WithStream":       func() error { return cuda.WithStream(cuda.Stream{}, func() { t.Error("it ran") }) },
		"Stream.Done":      func() error { _, err := (cuda.Stream{}).Done(); return err },
		"Stream.WaitFor":   func() error { return cuda.Stream{}.WaitFor(cuda.Stream{}) },
		"Stream.Sync":      cuda.Stream{}.Synchronize,
		"NewEvent":         func() error { _, err := cuda.NewEvent(cuda.EventOptions{Timing: true}); return err },
		"NewGraph":         func() error { _, err := cuda.NewGraph(cuda.GraphOptions{}); return err },
		"Device.Check":     torch.CUDA(0).Check,
		"Device.Generator": func() error { _, err := torch.CUDA(0).Generator(); return err },
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, call(), why)
		})
	}
	assert.ErrorContains(t, event.Record(cuda.Stream{}), "was not made by NewEvent")
	assert.ErrorContains(t, graph.Replay(), "nothing was captured")
	assert.ErrorContains(t, graph.Capture(nil), "was not made by NewGraph")
	event.Close()
	graph.Close()
}

func TestVersions(t *testing.T) {
	v, err := cuda.FindVersions()
	if !cuda.Built() {
		assert.ErrorContains(t, err, "-tags cuda")
		return
	}
	require.NoError(t, err)
	assert.Equal(t, "13.0", v.Runtime.String())
	assert.Equal(t, 9, v.CuDNN.Major)
	assert.Equal(t, "2.28.9", v.NCCL.String())
	assert.Equal(t, cuda.Available(), v.Driver != cuda.Version{}, "driver %v", v.Driver)
	assert.Equal(t, "none", cuda.Version{}.String())
}

// The zero Event and Graph, and those that are closed, are refused without asking a device.
func TestClosed(t *testing.T) {
	var event cuda.Event
	_, done := event.Done()
	_, since := event.Since(nil)
	for _, err := range []error{event.Record(cuda.Stream{}), event.Block(cuda.Stream{}), event.Synchronize(), done, since} {
		assert.ErrorContains(t, err, "was not made by NewEvent")
	}
	event.Close()
	var graph cuda.Graph
	assert.ErrorContains(t, graph.Capture(func() []torch.Tensor { t.Error("it ran"); return nil }), "is closed")
	assert.ErrorContains(t, graph.Replay(), "nothing was captured")
	assert.Empty(t, graph.Outputs())
	_, err := cuda.NewGraph(cuda.GraphOptions{SharePool: &graph})
	assert.ErrorContains(t, err, "is closed")
	graph.Close()
}

func TestCPUIsADevice(t *testing.T) {
	assert.NoError(t, torch.CPU.Check())
	g, err := torch.CPU.Generator()
	require.NoError(t, err)
	torch.Scoped(func() {
		g.Seed(3)
		a := torch.Rand(nil, torch.Float32, torch.CPU, 4)
		g.Seed(3)
		assert.True(t, a.Equal(torch.Rand(nil, torch.Float32, torch.CPU, 4)))
	})
	assert.ErrorContains(t, torch.Device{Type: 13}.Check(), "cpu and cuda only")
}
