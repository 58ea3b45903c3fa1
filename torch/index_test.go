package torch_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

type indexed struct {
	Shape  []int
	Values []float32
}

func (w indexed) check(t *testing.T, got torch.Tensor, what string) {
	t.Helper()
	assert.Equal(t, w.Shape, got.Shape(), what)
	assert.Equal(t, w.Values, torch.ToSlice[float32](got), what)
}

type indexCase struct {
	Index      []json.RawMessage
	Read       indexed
	SetScalar  indexed `json:"set_scalar"`
	Set        indexed
	SetLeading indexed `json:"set_leading"`
	Add        indexed
}

// parseIndex reads an index as testdata/indexing.py writes it.
func parseIndex(t *testing.T, raw json.RawMessage) any {
	var n int
	if json.Unmarshal(raw, &n) == nil {
		return n
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		switch s {
		case ":":
			return torch.All
		case "...":
			return torch.Ellipsis
		case "none":
			return torch.NewAxis
		}
		r := torch.From(0)
		for i, part := range strings.Split(s, ":") {
			if part != "" {
				v, err := strconv.Atoi(part)
				require.NoError(t, err)
				*[]*int{&r.Start, &r.Stop, &r.Step}[i] = v
			}
		}
		return r
	}
	var o struct {
		Ints  []int
		Mask  []bool
		Shape []int
	}
	require.NoError(t, json.Unmarshal(raw, &o))
	if o.Mask != nil {
		return torch.FromSlice(o.Mask).Reshape(o.Shape...)
	}
	return torch.FromSlice(o.Ints).Reshape(o.Shape...)
}

func TestIndexIsPyTorchs(t *testing.T) {
	g := torchtest.Golden[struct{ Cases []indexCase }](t, "indexing.json")
	for _, c := range g.Cases {
		t.Run(fmt.Sprintf("%s", c.Index), func(t *testing.T) {
			torchtest.Scoped(t, func() {
				var index []any
				for _, raw := range c.Index {
					index = append(index, parseIndex(t, raw))
				}
				base := func() torch.Tensor { return torch.Arange(0, 24, torch.CPU).To(torch.Float32).View(2, 3, 4) }
				c.Read.check(t, base().Index(index...), "read")

				x := base()
				x.SetIndex(torch.FromScalar[float32](-1), index...)
				c.SetScalar.check(t, x, "set to a scalar")

				n := len(c.Read.Values)
				count := torch.Arange(0, n, torch.CPU).To(torch.Float32).Reshape(c.Read.Shape...)
				value := count.MulScalar(10).AddScalar(100)
				x = base()
				x.SetIndex(value, index...)
				c.Set.check(t, x, "set")
				x = base()
				x.SetIndex(value.Unsqueeze(0), index...)
				c.SetLeading.check(t, x, "set to a value with a leading 1")

				x = base().ZerosLike()
				x.AddIndex(count.AddScalar(1), index...)
				c.Add.check(t, x, "add")
			})
		})
	}
}

func TestIndexGivesViews(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.Zeros(torch.Float32, torch.CPU, 2, 3)
		x.Index(1, torch.From(1)).Fill_(5)
		assert.Equal(t, []float32{0, 0, 0, 0, 5, 5}, torch.ToSlice[float32](x))
		x.Index(torch.FromSlice([]int{0})).Fill_(9) // a copy
		assert.Equal(t, []float32{0, 0, 0, 0, 5, 5}, torch.ToSlice[float32](x))
	})
}

func TestIndexCarriesGradients(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := vector(1, 2, 3, 4).RequiresGrad_(true)
		x.Index(torch.FromSlice([]int{0, 2, 0})).Sum().Add(x.Index(torch.Range{Start: 1, Stop: 3}).Sum()).Backward()
		assert.Equal(t, []float32{2, 1, 2, 0}, torch.ToSlice[float32](x.Grad()))
	})
}

func TestIndexErrors(t *testing.T) {
	torchtest.Scoped(t, func() {
		x := torch.Zeros(torch.Float32, torch.CPU, 2, 3)
		for name, c := range map[string]struct {
			index []any
			msg   string
		}{
			"out of range":           {[]any{2}, "out of"},
			"far negative":           {[]any{0, -4}, "out of"},
			"too many":               {[]any{0, 0, 0}, "3 indices for 2 dimensions"},
			"two ellipses":           {[]any{torch.Ellipsis, torch.Ellipsis}, "Ellipsis"},
			"a string":               {[]any{"a"}, "string"},
			"tensor out of range":    {[]any{torch.FromSlice([]int{0, 7})}, "out of"},
			"mask of another length": {[]any{torch.FromSlice([]bool{true, false, true})}, "mask"},
		} {
			e := caught(t, func() { x.Index(c.index...) })
			assert.Equal(t, torch.IndexError, e.Kind, name)
			assert.Contains(t, e.Error(), c.msg, name)
		}
		e := caught(t, func() { x.Index(torch.FromSlice([]float32{1})) })
		assert.Contains(t, e.Error(), "tensors used as indices")
		e = caught(t, func() { x.Index(torch.Range{Stop: 2, Step: -1}) })
		assert.Contains(t, e.Error(), "step")
	})
}
