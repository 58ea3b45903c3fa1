// Package optim holds optimizers on libtorch's fused kernels, gradient clipping, and learning-rate schedules.
//
// # A step
//
//	o := optim.NewAdamW(optim.AdamWOptions{}, optim.GroupOf(model, 1e-3))
//	defer o.Close()
//	schedule := optim.Linear(warmUp, total)
//	for step := range total {
//		torch.Scoped(func() {
//			for _, g := range o.Groups() {
//				g.LR = 1e-3 * schedule(step)
//			}
//			loss(model).Backward()
//			optim.ClipGradNorm(o.Groups()[0].Params, 1)
//			o.Step()
//			o.ZeroGrad()
//		})
//	}
//
// # Groups
//
// A [Group] is a set of parameters with a learning rate and weight decay of their own. [GroupOf] makes one of a module; what is
// trained otherwise, as a head at a higher rate, is another group.
//
// # State
//
// [Optimizer.State] names the optimizer's tensors as PyTorch does, and [Optimizer.Load] restores them bit for bit: saved with
// the parameters they let a run continue as if it had not stopped.
//
// # Steps in a CUDA graph
//
// For steps that a CUDA graph captures, the learning rates are a tensor (Rates in the optimizers' options): [groups], float32,
// on the parameters' device, read at every step in place of the groups' LR, which the graph would fix.
package optim
