package torch_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) { torchtest.Main(m) }

// stored is a tensor in a golden file. JSON gives Data as base64.
type stored struct {
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Data  []byte `json:"data"`
}

func (s stored) tensor(t testing.TB) torch.Tensor {
	dtype, err := torch.ParseDType(s.DType)
	require.NoError(t, err)
	return torch.FromBytes(s.Data, dtype, s.Shape...)
}

// golden reads testdata/name, which a script beside it wrote.
func golden[T any](t testing.TB, name string) (content T) {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	require.NoError(t, err)
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		r, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	require.NoError(t, json.NewDecoder(r).Decode(&content))
	return content
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
