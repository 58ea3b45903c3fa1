package safetensors_test

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch/safetensors"
)

// The header of a file names its tensors; their bytes are read when they are touched.
func ExampleOpen() {
	f, err := safetensors.Open("testdata/shapes.safetensors")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	for _, name := range f.Names()[:3] {
		t, _ := f.Tensor(name)
		fmt.Println(t.Name, t.DType, t.Shape, len(t.Data), "bytes")
	}
	// Output:
	// one I64 [1] 8 bytes
	// empty F32 [0] 0 bytes
	// scalar F32 [] 4 bytes
}
