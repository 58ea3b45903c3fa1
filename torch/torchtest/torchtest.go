// Package torchtest holds what tests over tensors share: leak checks and comparisons.
package torchtest

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// Main runs a package's tests and fails when more tensors are alive at the end than at the start. Use it as
// `func TestMain(m *testing.M) { torchtest.Main(m) }`.
func Main(m *testing.M) {
	before := torch.Stats()
	code := m.Run()
	after := torch.Stats()
	if leaked := after.Tensors + after.Collected - before.Tensors - before.Collected; leaked > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: %d tensors of the tests were never freed (%d of them found by the collector)\n",
			leaked, after.Collected-before.Collected)
		code = max(code, 1)
	}
	os.Exit(code)
}

// Scoped runs f in a scope and fails when it leaves live tensors behind.
func Scoped(t testing.TB, f func()) {
	t.Helper()
	before := torch.Stats().Tensors
	torch.Scoped(f)
	require.Equal(t, before, torch.Stats().Tensors, "live tensors after the scope")
}

// Close fails when got and want differ in shape, or anywhere by more than atol + rtol*|want|.
func Close(t testing.TB, want, got torch.Tensor, rtol, atol float64, msg ...any) {
	t.Helper()
	torch.Scoped(func() {
		require.Equal(t, want.Shape(), got.Shape(), msg...)
		a, b := want.To(torch.Float64), got.To(torch.Float64)
		if !a.AllClose(b, rtol, atol) {
			diff := a.Sub(b).Abs()
			require.Failf(t, "tensors differ", "%v: largest difference %g (rtol %g, atol %g)", fmt.Sprint(msg...),
				diff.Max().Item(), rtol, atol)
		}
	})
}
