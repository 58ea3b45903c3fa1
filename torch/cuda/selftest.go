package cuda

import (
	"errors"
	"fmt"
	"slices"

	"github.com/thaw-ml/thaw/torch"
)

// SelfTest tries what a recorded step needs of a device: copies from pinned memory that do not wait, and a graph that
// gives the right sums of what it finds at each replay.
func SelfTest(device int) error {
	stream, err := NewStream(StreamOptions{Device: device})
	if err != nil {
		return err
	}
	failure := WithStream(stream, func() {
		err = torch.ScopedErr(func() error { return tryGraph(device, stream) })
	})
	return errors.Join(failure, err)
}

// tryGraph records x x and replays it with other numbers.
func tryGraph(device int, stream Stream) error {
	graph, err := NewGraph(GraphOptions{Device: device})
	if err != nil {
		return err
	}
	defer graph.Close()
	x := torch.Zeros(torch.Float32, torch.CUDA(device), 2, 2)
	if err := graph.Capture(func() []torch.Tensor { return []torch.Tensor{x.MM(x)} }); err != nil {
		return err
	}
	for _, c := range [][2][]float32{{{1, 2, 3, 4}, {7, 10, 15, 22}}, {{0, 1, 1, 0}, {1, 0, 0, 1}}} {
		x.CopyAsync_(torch.FromSlice(c[0], 2, 2).PinMemory())
		if err := graph.Replay(); err != nil {
			return err
		}
		got := torch.ToSlice[float32](graph.Outputs()[0].ToDevice(torch.CPU)) // which waits
		if !slices.Equal(got, c[1]) {
			return &Error{Op: "graph", Msg: fmt.Sprintf("a recorded matrix product gives %v, want %v", got, c[1])}
		}
	}
	return stream.Synchronize()
}
