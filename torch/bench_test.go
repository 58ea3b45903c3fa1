package torch_test

import (
	"testing"

	"github.com/thaw-ml/thaw/torch"
)

// BenchmarkAdd is the cost of an operator call, result freed: add of 8 floats, freed one by one or by a scope of 32
// calls, which is what a training step is. bench/opcall runs it beside PyTorch.
func BenchmarkAdd(b *testing.B) {
	for _, grad := range []bool{false, true} {
		name := "plain"
		if grad {
			name = "grad"
		}
		torch.Scoped(func() {
			x := torch.Ones(torch.Float32, torch.CPU, 8).RequiresGrad_(grad)
			y := torch.Ones(torch.Float32, torch.CPU, 8)
			b.Run(name+"/close", func(b *testing.B) {
				b.ReportAllocs()
				torch.Unscoped(func() {
					for range b.N {
						x.Add(y).Close()
					}
				})
			})
			b.Run(name+"/scope", func(b *testing.B) {
				b.ReportAllocs()
				for n := b.N; n > 0; n -= 32 {
					torch.Scoped(func() {
						for range min(n, 32) {
							x.Add(y)
						}
					})
				}
			})
		})
	}
}
