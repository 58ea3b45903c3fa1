package torch_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(keepFreedChild) != "" {
		if err := keepFreed(); err != nil {
			panic(err)
		}
		return
	}
	torchtest.Main(m)
}

// caught is the *Error that f panics with.
func caught(t testing.TB, f func()) *torch.Error {
	t.Helper()
	var e *torch.Error
	require.ErrorAs(t, torch.Try(f), &e)
	return e
}

// vector makes a float32 tensor.
func vector(values ...float32) torch.Tensor { return torch.FromSlice(values) }
