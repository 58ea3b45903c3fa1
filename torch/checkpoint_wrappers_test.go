package torch_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

// keyed is a checkpoint in which the k-th key has the shape [k+1].
func keyed(t *testing.T, keys ...string) *torch.Checkpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	torchtest.Scoped(t, func() {
		var tensors []torch.Named
		for k, key := range keys {
			tensors = append(tensors, torch.Named{Name: key, Tensor: torch.Zeros(torch.Float32, torch.CPU, k+1)})
		}
		require.NoError(t, torch.SaveCheckpoint(path, tensors, nil))
	})
	c, err := torch.OpenCheckpoint(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func TestUnwrapped(t *testing.T) {
	wanted := func(key string) bool { return strings.HasPrefix(key, "conv1.") || strings.HasPrefix(key, "fc.") }
	for name, c := range map[string]struct{ keys, want, strays []string }{
		"none":                      {[]string{"conv1.w", "fc.w"}, []string{"conv1.w", "fc.w"}, nil},
		"DataParallel":              {[]string{"module.conv1.w", "module.fc.w"}, []string{"conv1.w", "fc.w"}, nil},
		"torch.compile":             {[]string{"_orig_mod.conv1.w", "_orig_mod.fc.w"}, []string{"conv1.w", "fc.w"}, nil},
		"Lightning, with a loss":    {[]string{"criterion.weight", "model.conv1.w", "model.fc.w"}, []string{"conv1.w", "fc.w"}, []string{"criterion.weight"}},
		"one in another":            {[]string{"module._orig_mod.conv1.w", "module._orig_mod.fc.w"}, []string{"conv1.w", "fc.w"}, nil},
		"three":                     {[]string{"model.module._orig_mod.conv1.w"}, []string{"conv1.w"}, nil},
		"a compiled part":           {[]string{"conv1._orig_mod.w", "fc.w"}, []string{"conv1.w", "fc.w"}, nil},
		"a compiled part in it":     {[]string{"model.conv1._orig_mod.w", "model.fc.w"}, []string{"conv1.w", "fc.w"}, nil},
		"two networks":              {[]string{"conv1.w", "fc.w", "model.conv1.w"}, []string{"conv1.w", "fc.w", "model.conv1.w"}, nil},
		"one that helps nothing":    {[]string{"module.a", "module.b"}, []string{"module.a", "module.b"}, nil},
		"one of another's":          {[]string{"net.conv1.w"}, []string{"net.conv1.w"}, nil},
		"the same key twice":        {[]string{"conv1.w", "conv1._orig_mod.w"}, []string{"conv1.w", "conv1._orig_mod.w"}, nil},
		"a key that is the prefix":  {[]string{"module.", "module.conv1.w"}, []string{"", "conv1.w"}, nil},
		"no keys":                   {nil, []string{}, nil},
		"a prefix without its stop": {[]string{"modules.conv1.w"}, []string{"modules.conv1.w"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			u := keyed(t, c.keys...).Unwrapped(wanted)
			assert.ElementsMatch(t, c.want, u.Names())
			assert.Equal(t, c.strays, u.Strays())
			for _, key := range u.Names() {
				_, ok := u.Shape(key)
				assert.True(t, ok, key)
			}
		})
	}
	u := keyed(t, "criterion.weight", "module.conv1.w", "module.fc.w").Unwrapped(wanted)
	shape, ok := u.Shape("fc.w")
	assert.True(t, ok)
	assert.Equal(t, []int{3}, shape, "it is that key's tensor")
	_, ok = u.Shape("module.fc.w")
	assert.False(t, ok)
	_, err := u.DType("criterion.weight")
	assert.ErrorContains(t, err, `no tensor is named "criterion.weight"`)
}

func TestDescribeKeys(t *testing.T) {
	for want, keys := range map[string][]string{
		`it has no tensors`:       nil,
		`its 1 key is "net.a"`:    {"net.a"},
		`its 2 keys are "a", "b"`: {"a", "b"},
		`its 5 keys are such as "net.a", "net.c", "net.e", all under "net."`: {"net.a", "net.b", "net.c", "net.d", "net.e"},
		`its 3 keys are "net.a", "net.b", "nets.c"`:                          {"net.a", "net.b", "nets.c"},
	} {
		assert.Equal(t, want, keyed(t, keys...).DescribeKeys())
	}
}

func TestFindWeights(t *testing.T) {
	folder := t.TempDir()
	write := func(name string) { require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o644)) }
	_, err := torch.FindWeights(folder)
	require.EqualError(t, err, folder+" has no weights: looked for best.safetensors, model.safetensors, model.safetensors.index.json, pytorch_model.bin")
	write("pytorch_model.bin.index.json")
	_, err = torch.FindWeights(folder)
	require.ErrorContains(t, err, "; pytorch_model.bin.index.json is not read: save the model as safetensors")
	for _, name := range []string{"pytorch_model.bin", "model.safetensors.index.json", "model.safetensors", "best.safetensors"} { // each wins over those before
		write(name)
		path, err := torch.FindWeights(folder)
		require.NoError(t, err)
		assert.Equal(t, filepath.Join(folder, name), path)
	}
	_, err = torch.FindWeights(filepath.Join(folder, "pytorch_model.bin"))
	assert.ErrorContains(t, err, "not a directory")
}
