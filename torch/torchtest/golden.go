package torchtest

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// Stored is a tensor in a golden file.
type Stored struct {
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
	Data  []byte `json:"data"` // the elements, row-major and little-endian; base64 in JSON
}

// Tensor makes the tensor.
func (s Stored) Tensor(t testing.TB) torch.Tensor {
	t.Helper()
	dtype, err := torch.ParseDType(s.DType)
	require.NoError(t, err)
	return torch.FromBytes(s.Data, dtype, s.Shape...)
}

// Golden reads testdata/name, JSON that a script beside it wrote, or JSON packed by gzip where the name ends in .gz.
func Golden[T any](t testing.TB, name string) (content T) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
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
