package nn_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// pair is the module that these tests load.
type pair struct {
	A     *nn.Linear   `torch:"a"` // [2, 3], [2]
	B     *nn.Linear   `torch:"b"` // [1, 2], [1]
	Steps torch.Tensor `torch:"steps,buffer"`
}

// newPair has 7 everywhere, so that what is not loaded shows.
func newPair(t testing.TB) *pair {
	p := &pair{
		A: &nn.Linear{Weight: nn.Constant(7, 2, 3), Bias: nn.Constant(7, 2)},
		B: &nn.Linear{Weight: nn.Constant(7, 1, 2), Bias: nn.Constant(7, 1)}, Steps: nn.Constant(7),
	}
	t.Cleanup(func() { nn.Close(p) })
	return p
}

// values gives the elements by key.
func values(m any) map[string][]float32 {
	out := map[string][]float32{}
	for _, s := range nn.State(m) {
		out[s.Name] = torch.ToSlice[float32](s.Tensor)
	}
	return out
}

var untouched = map[string][]float32{
	"a.weight": {7, 7, 7, 7, 7, 7}, "a.bias": {7, 7}, "b.weight": {7, 7}, "b.bias": {7}, "steps": {7},
}

// checkpoint writes and opens a file with tensors of these shapes; element i of the k-th key is 10k + i.
func checkpoint(t testing.TB, keys []string, shapes map[string][]int) *torch.Checkpoint {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	torch.Scoped(func() {
		var tensors []torch.Named
		for k, key := range keys {
			shape := shapes[key]
			n := 1
			for _, s := range shape {
				n *= s
			}
			data := make([]float32, n)
			for i := range data {
				data[i] = float32(10*k + i)
			}
			x := torch.FromSlice(data).View(shape...)
			tensors = append(tensors, torch.Named{Name: key, Tensor: x})
		}
		require.NoError(t, torch.SaveCheckpoint(path, tensors, nil))
	})
	return open(t, path)
}

func open(t testing.TB, path string) *torch.Checkpoint {
	c, err := torch.OpenCheckpoint(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

var pairKeys = []string{"a.weight", "a.bias", "b.weight", "b.bias", "steps"}

func pairShapes() map[string][]int {
	return map[string][]int{"a.weight": {2, 3}, "a.bias": {2}, "b.weight": {1, 2}, "b.bias": {1}, "steps": {}}
}

var loaded = map[string][]float32{
	"a.weight": {0, 1, 2, 3, 4, 5}, "a.bias": {10, 11}, "b.weight": {20, 21}, "b.bias": {30}, "steps": {40},
}

func TestLoad(t *testing.T) {
	p, c := newPair(t), checkpoint(t, pairKeys, pairShapes())
	nn.RequireGrad(p, true)
	before := torch.Stats().Tensors
	report, err := nn.Load(p, c, nn.LoadOptions{})
	require.NoError(t, err)
	assert.Equal(t, nn.LoadReport{Loaded: 5}, report)
	assert.Equal(t, loaded, values(p))
	assert.Equal(t, before, torch.Stats().Tensors)
	assert.True(t, p.A.Weight.RequiresGrad() && p.A.Weight.IsLeaf(), "loading is not recorded")
}

func TestLoadOfWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(shapes map[string][]int)
		options nn.LoadOptions
		report  nn.LoadReport // lenient
		err     string        // strict, after the path
	}{
		{"missing", func(s map[string][]int) { delete(s, "a.bias"); delete(s, "steps") }, nn.LoadOptions{},
			nn.LoadReport{Loaded: 3, Missing: []string{"a.bias", "steps"}},
			"does not fit the model: 2 keys missing (a.bias, steps)"},
		{"unexpected", func(s map[string][]int) { s["z"] = []int{1}; s["c.weight"] = []int{2, 2} }, nn.LoadOptions{},
			nn.LoadReport{Loaded: 5, Unexpected: []string{"c.weight", "z"}},
			"does not fit the model: 2 keys unexpected (c.weight, z)"},
		{"another shape", func(s map[string][]int) { s["a.weight"] = []int{3, 2}; s["b.bias"] = []int{} }, nn.LoadOptions{},
			nn.LoadReport{Loaded: 3, Mismatched: []nn.Mismatch{{"a.weight", []int{2, 3}, []int{3, 2}}, {"b.bias", []int{1}, []int{}}}},
			"does not fit the model: 2 keys of another shape (a.weight: [2 3] in the model, [3 2] in the file, b.bias: [1] in the model, [] in the file)"},
		{"all at once", func(s map[string][]int) { delete(s, "a.bias"); s["d"] = []int{1}; s["b.weight"] = []int{2} }, nn.LoadOptions{},
			nn.LoadReport{Loaded: 3, Missing: []string{"a.bias"}, Unexpected: []string{"d"}, Mismatched: []nn.Mismatch{{"b.weight", []int{1, 2}, []int{2}}}},
			"does not fit the model: 1 keys missing (a.bias); 1 keys unexpected (d); 1 keys of another shape (b.weight: [1 2] in the model, [2] in the file)"},
		{"more than are named", func(s map[string][]int) {
			for i := range 7 {
				s[fmt.Sprint("x", i)] = []int{1}
			}
		}, nn.LoadOptions{},
			nn.LoadReport{Loaded: 5, Unexpected: []string{"x0", "x1", "x2", "x3", "x4", "x5", "x6"}},
			"does not fit the model: 7 keys unexpected (x0, x1, x2, x3, x4 and 2 more)"},
		{"optional, but mis-shaped", func(s map[string][]int) { s["b.weight"] = []int{5, 2} },
			nn.LoadOptions{Optional: func(key string) bool { return strings.HasPrefix(key, "b.") }},
			nn.LoadReport{Loaded: 4, Mismatched: []nn.Mismatch{{"b.weight", []int{1, 2}, []int{5, 2}}}},
			"does not fit the model: 1 keys of another shape (b.weight: [1 2] in the model, [5 2] in the file)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			shapes := pairShapes()
			c.change(shapes)
			keys := slices.Clone(pairKeys)
			keys = slices.DeleteFunc(keys, func(k string) bool { _, ok := shapes[k]; return !ok })
			for _, k := range slices.Sorted(maps.Keys(shapes)) {
				if !slices.Contains(keys, k) {
					keys = append(keys, k)
				}
			}
			file := checkpoint(t, keys, shapes)

			p := newPair(t)
			report, err := nn.Load(p, file, c.options)
			assert.EqualError(t, err, file.Path()+" "+c.err)
			assert.Equal(t, untouched, values(p), "strict loading copies all or nothing")
			strict := c.report
			strict.Loaded = 0
			assert.Equal(t, strict, report)

			c.options.Lenient = true
			report, err = nn.Load(p, file, c.options)
			require.NoError(t, err)
			assert.Equal(t, c.report, report)
			kept := 0
			for key, v := range values(p) {
				if slices.Equal(v, untouched[key]) {
					kept++
				}
			}
			assert.Equal(t, 5-report.Loaded, kept, "what does not fit stays as it was")
		})
	}
}

func TestLoadOptionalAndRename(t *testing.T) {
	p := newPair(t)
	c := checkpoint(t, []string{"old.a.gamma", "old.a.beta", "old.steps", "head.extra"},
		map[string][]int{"old.a.gamma": {2, 3}, "old.a.beta": {2}, "old.steps": {}, "head.extra": {9}})
	report, err := nn.Load(p, c, nn.LoadOptions{
		Rename: func(key string) (string, bool) {
			key, ours := strings.CutPrefix(key, "old.")
			return strings.NewReplacer("gamma", "weight", "beta", "bias").Replace(key), ours
		},
		Optional: func(key string) bool { return strings.HasPrefix(key, "b.") },
	})
	require.NoError(t, err)
	assert.Equal(t, nn.LoadReport{Loaded: 3, Skipped: []string{"b.weight", "b.bias"}}, report)
	assert.Equal(t, map[string][]float32{"a.weight": {0, 1, 2, 3, 4, 5}, "a.bias": {10, 11}, "b.weight": {7, 7}, "b.bias": {7}, "steps": {20}}, values(p))
}

func TestLoadNamesUnexpectedKeysAsTheFileDoes(t *testing.T) {
	p := newPair(t)
	c := checkpoint(t, []string{"file.q"}, map[string][]int{"file.q": {1}})
	report, err := nn.Load(p, c, nn.LoadOptions{Lenient: true, Rename: func(key string) (string, bool) { return "module.q", true }})
	require.NoError(t, err)
	assert.Equal(t, []string{"file.q"}, report.Unexpected)
}

func TestLoadRefusesTwoKeysForOne(t *testing.T) {
	p := newPair(t)
	shapes := pairShapes()
	shapes["bert.a.bias"] = []int{2}
	c := checkpoint(t, append(slices.Clone(pairKeys), "bert.a.bias"), shapes)
	_, err := nn.Load(p, c, nn.LoadOptions{Lenient: true, Rename: func(key string) (string, bool) {
		return strings.TrimPrefix(key, "bert."), true
	}})
	assert.EqualError(t, err, c.Path()+`: "a.bias" and "bert.a.bias" both stand for "a.bias"`)
	assert.Equal(t, untouched, values(p))
}

func TestLoadConvertsDTypes(t *testing.T) {
	c := open(t, "testdata/halves.safetensors")
	want := torchtest.Golden[golden](t, "golden.json").AsFloat32
	require.Len(t, c.Names(), 8)
	for _, key := range c.Names() {
		t.Run(key, func(t *testing.T) {
			shape, ok := c.Shape(key)
			require.True(t, ok)
			m := &struct {
				X torch.Tensor `torch:"x"`
			}{nn.Constant(7, shape...)}
			defer nn.Close(m)
			rename := func(k string) (string, bool) { return "x", k == key }
			_, err := nn.Load(m, c, nn.LoadOptions{Rename: rename})
			require.NoError(t, err)
			assert.Equal(t, torch.Float32, m.X.DType())
			assert.Equal(t, want[key].Data, m.X.Bytes(), "converting is exact, or rounds as PyTorch does")
		})
	}
}

// raw is a file whose header is what it is: the reference pads it, so that tensors are aligned; others do not.
func raw(t testing.TB, header string, data []byte) string {
	path := filepath.Join(t.TempDir(), "raw.safetensors")
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	require.NoError(t, os.WriteFile(path, append(append(file, header...), data...), 0o644))
	return path
}

func TestLoadOfUnalignedTensors(t *testing.T) {
	var data bytes.Buffer
	data.WriteByte(1)
	want := []float32{1.5, -2, float32(math.Inf(1)), 4, 5, 6}
	require.NoError(t, binary.Write(&data, binary.LittleEndian, want))
	require.NoError(t, binary.Write(&data, binary.LittleEndian, []float64{0.5, 0.25}))
	for _, space := range []int{0, 1, 2, 3, 5, 7} {
		header := `{"flag":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},"weight":{"dtype":"F32","shape":[2,3],"data_offsets":[1,25]},` +
			`"bias":{"dtype":"F64","shape":[2],"data_offsets":[25,41]}}` + strings.Repeat(" ", space)
		c := open(t, raw(t, header, data.Bytes()))
		l := nn.EmptyLinear(3, 2, nn.LinearOptions{})
		report, err := nn.Load(l, c, nn.LoadOptions{Lenient: true})
		require.NoError(t, err)
		assert.Equal(t, nn.LoadReport{Loaded: 2, Unexpected: []string{"flag"}}, report)
		assert.Equal(t, map[string][]float32{"weight": want, "bias": {0.5, 0.25}}, values(l), "%d spaces", space)
		x, err := c.Tensor("weight")
		require.NoError(t, err)
		assert.Equal(t, want, torch.ToSlice[float32](x))
		x.Close()
		nn.Close(l)
	}
}

func TestLoadRefusesUnknownDTypesBeforeCopying(t *testing.T) {
	header := `{"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"a.bias":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[24,26]}}`
	c := open(t, raw(t, header, make([]byte, 26)))
	p := newPair(t)
	_, err := nn.Load(p, c, nn.LoadOptions{Lenient: true})
	assert.ErrorContains(t, err, c.Path()+`: tensor "a.bias": elements of type F8_E4M3 are not supported; there are [`)
	assert.Equal(t, untouched, values(p))
}

func TestLoadIntoAClosedModule(t *testing.T) {
	l := nn.EmptyLinear(3, 2, nn.LinearOptions{})
	c := checkpoint(t, []string{"weight", "bias"}, map[string][]int{"weight": {2, 3}, "bias": {2}})
	nn.Close(l)
	err := torch.Try(func() { _, _ = nn.Load(l, c, nn.LoadOptions{}) })
	assert.ErrorContains(t, err, "the tensor was freed already")
}

// Prefixes of wrappers go before Rename sees a key; what is not under them is reported, not refused.
func TestLoadTakesPrefixesAway(t *testing.T) {
	shapes := map[string][]int{}
	keys := []string{"criterion.weight"}
	for _, s := range nn.State(newPair(t)) {
		key := "module._orig_mod." + s.Name
		keys, shapes[key] = append(keys, key), s.Tensor.Shape()
	}
	shapes["criterion.weight"] = []int{4}
	p := newPair(t)
	report, err := nn.Load(p, checkpoint(t, keys, shapes), nn.LoadOptions{Rename: func(key string) (string, bool) {
		assert.NotContains(t, key, "_orig_mod", key)
		return key, true
	}})
	require.NoError(t, err)
	assert.Equal(t, []string{"criterion.weight"}, report.Strays)
	assert.Equal(t, 5, report.Loaded)
	assert.NotEqual(t, untouched, values(p))

	c := checkpoint(t, []string{"net.x", "net.y"}, map[string][]int{"net.x": {1}, "net.y": {1}})
	_, err = nn.Load(p, c, nn.LoadOptions{})
	assert.ErrorContains(t, err, `; its 2 keys are "net.x", "net.y", all under "net."`)
}
