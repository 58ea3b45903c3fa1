// Package torch is Go's side of libtorch: tensors, operators, autograd and the thread state around them. Names are PyTorch's.
//
// # Making tensors
//
// A [Tensor] is an n-dimensional array of one [DType] on one [Device]. It comes from a Go slice, whose element type decides
// the dtype, or from a function that fills it:
//
//	x := torch.FromSlice([]float32{1, 2, 3, 4, 5, 6}, 2, 3) // [2, 3]; without a shape: [6]
//	z := torch.Zeros(torch.Float32, torch.CPU, 4, 4)
//	r := torch.Randn(torch.NewGenerator(seed), torch.Float32, torch.CPU, 4, 4)
//
// [ToSlice] and [Tensor.Item] read elements back, and a Tensor prints as in PyTorch.
//
// # Operators
//
// Operators are methods where PyTorch has methods, and functions where it has functions: x.MatMul(y), torch.Cat(list, 0).
// Shapes broadcast as in PyTorch. What Python tells apart by argument types has names of its own here:
//
//	x.Add(y)         x + y
//	x.AddScalar(2)   x + 2          a Go number; a constant 2 keeps integers, 2.0 makes them floating
//	x.Add_(y)        x += y         an underscore: in place
//	x.Sum()          x.sum()        over all elements
//	x.SumDim(0)      x.sum(0)       over dimensions, which go
//	x.SumKeepDim(0)  x.sum(0, keepdim=True)
//
// The undefined Tensor, the zero value, stands for None: a layer without bias is Linear(x, w, torch.Tensor{}).
// Parts are taken by [Tensor.Index], as x[1, 2:] in Python, or by [Tensor.Select] and [Tensor.Narrow]. The list of operators
// is torch/ops.txt: adding one is adding a line.
//
// # Autograd
//
// What is done with a tensor that requires gradients is recorded; [Tensor.Backward] adds gradients to the leaves.
//
//	w := torch.FromSlice([]float32{1, 2}).RequiresGrad_(true)
//	w.Square().Sum().Backward()
//	w.Grad() // [2, 4]
//
// [Grad] gives gradients without touching any leaf. [NoGrad] and [Inference] run a function that is not recorded.
//
// # Errors
//
// Tensor operations panic with an [*Error], which names the operator, the shapes, dtypes and devices, so that expressions stay
// readable. [Try] turns such a panic back into an error at the one place where it is wanted, and [TryErr] does so for a function
// that returns an error, as [ScopedErr] does within a scope. errors.Is(err, [ErrOutOfMemory]) finds memory that ran short. What touches files returns errors.
//
// # Memory
//
// Native memory is not the garbage collector's. [Scoped] frees at its end every tensor made inside except those passed
// to [Keep]; [Tidy] is the form that returns one tensor. A tensor made outside a scope, as by [NewParam], lives until
// [Tensor.Close], or until the collector finds it, which is a safety net and counted in [Stats].
//
//	norm := torch.Tidy(func() torch.Tensor { return x.Square().Sum().Sqrt() })
//
// # Threads
//
// Scopes, NoGrad, Inference and [Autocast] are state of an operating system thread: each runs a function with its goroutine
// pinned to its thread and puts back what was before. Goroutines that the function starts are outside. Tensors may go from
// goroutine to goroutine; one tensor is not to be written by two at a time.
//
// Operators use as many threads as there are cores, or as a container's CPU limit (its control group's quota, rounded up)
// allows; [SetNumThreads] or the environment's OMP_NUM_THREADS sets another number.
//
// # Checkpoints
//
// [OpenCheckpoint] reads safetensors files and what torch.save wrote, without running anything in it; [SaveCheckpoint] writes
// safetensors. Package torch/nn loads them into modules.
package torch
