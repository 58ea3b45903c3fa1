// Program embed is a module of its own that uses Thaw's tensors. One command brings such a module its libtorch:
//
//	go mod download github.com/thaw-ml/thaw && bash "$(go list -m -f '{{.Dir}}' github.com/thaw-ml/thaw)/third_party/fetch.sh"
//	go run .
package main

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

func main() {
	torch.Scoped(func() {
		a := torch.FromSlice([]float32{1, 2, 3, 4}, 2, 2)
		b := torch.FromSlice([]float32{0, 1, 1, 0}, 2, 2)
		fmt.Println(a.MatMul(b))
	})
}
