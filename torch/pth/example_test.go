package pth_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch/pth"
)

// The tensors of a training checkpoint, which also holds an optimizer's state, an epoch and the like.
func ExampleOpen() {
	f, err := pth.Open("testdata/training.pth")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	fmt.Println(f.Others())
	for _, name := range f.Names()[:4] {
		t, _ := f.Tensor(name)
		fmt.Println(t.Name, t.DType, t.Shape, len(t.Bytes()), "bytes")
	}
	// Output:
	// [2._extra_state]
	// 0.weight float32 [3 2 3 3] 216 bytes
	// 0.bias float32 [3] 12 bytes
	// 1.weight float32 [3] 12 bytes
	// 1.bias float32 [3] 12 bytes
}
