package torch_test

import (
	"errors"
	"fmt"

	"github.com/thaw-ml/thaw/torch"
)

func ExampleFromSlice() {
	torch.Scoped(func() {
		x := torch.FromSlice([]float32{1, 2.5, -3, 4, 0, 6}, 2, 3)
		fmt.Println(x)
		fmt.Println(x.SumDim(0))
		fmt.Println(torch.ToSlice[float32](x.T()))
	})
	// Output:
	// tensor([[ 1.0000,  2.5000, -3.0000],
	//         [ 4.0000,  0.0000,  6.0000]])
	// tensor([5.0000, 2.5000, 3.0000])
	// [1 4 2.5 0 -3 6]
}

func ExampleScoped() {
	// Everything made inside is freed at the end, except what is kept.
	var norm torch.Tensor
	torch.Scoped(func() {
		x := torch.FromSlice([]float64{3, 4})
		norm = torch.Keep(x.Square().Sum().Sqrt())
	})
	defer norm.Close()
	fmt.Println(norm)
	// Output: tensor(5., dtype=torch.float64)
}

func ExampleTensor_Backward() {
	torch.Scoped(func() {
		w := torch.FromSlice([]float32{1, 2}).RequiresGrad_(true)
		loss := w.Square().Sum() // d/dw = 2w
		fmt.Println(loss)
		loss.Backward()
		fmt.Println(w.Grad())
	})
	// Output:
	// tensor(5., grad_fn=<SumBackward0>)
	// tensor([2., 4.])
}

func ExampleNoGrad() {
	torch.Scoped(func() {
		w := torch.FromSlice([]float32{1, 2}).RequiresGrad_(true)
		torch.NoGrad(func() { w.SubScalar_(0.5) }) // as an optimizer's step
		fmt.Println(w)
	})
	// Output: tensor([0.5000, 1.5000], requires_grad=True)
}

func ExampleTry() {
	err := torch.Try(func() {
		torch.Scoped(func() {
			a := torch.Zeros(torch.Float32, torch.CPU, 2, 3)
			a.MM(a)
		})
	})
	fmt.Println(err)
	// Output: aten::mm: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3) (given float32 [2, 3], float32 [2, 3])
}

func ExampleTensor_Index() {
	torch.Scoped(func() {
		x := torch.Arange(0, 12, torch.CPU).View(3, 4)
		fmt.Println(x.Index(1, torch.From(2)))                                 // x[1, 2:]
		fmt.Println(x.Index(torch.Ellipsis, -1))                               // x[..., -1]
		fmt.Println(x.Index(x.GtScalar(8)))                                    // x[x > 8]
		fmt.Println(x.Index(torch.FromSlice([]int{2, 0}), 0))                  // x[[2, 0], 0]
		x.SetIndex(torch.FromScalar(0), torch.Range{Stop: 2})                  // x[:2] = 0
		fmt.Println(x.Index(torch.All, torch.Range{Step: 2, Stop: torch.End})) // x[:, ::2]
	})
	// Output:
	// tensor([6, 7])
	// tensor([ 3,  7, 11])
	// tensor([ 9, 10, 11])
	// tensor([8, 0])
	// tensor([[ 0,  0],
	//         [ 0,  0],
	//         [ 8, 10]])
}

func ExampleTidy() {
	torch.Scoped(func() {
		x := torch.FromSlice([]float32{3, 4})
		before := torch.Stats().Tensors
		norm := torch.Tidy(func() torch.Tensor { return x.Square().Sum().Sqrt() })
		fmt.Println(norm, torch.Stats().Tensors-before) // the square and the sum are freed
	})
	// Output: tensor(5.) 1
}

func ExampleErrOutOfMemory() {
	err := torch.Try(func() { torch.Empty(torch.Float32, torch.CPU, 1<<50).Close() })
	fmt.Println(errors.Is(err, torch.ErrOutOfMemory))
	// Output: true
}
