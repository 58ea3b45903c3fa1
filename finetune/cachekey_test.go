package finetune

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
)

// What the kept output depends on is in the key: of all of these none takes the file of another.
func TestCacheFileKeys(t *testing.T) {
	trainSet, testSet := keyed{samples: newSamples(1, 24, mixed), key: "train"}, keyed{samples: newSamples(2, 12, mixed), key: "test"}
	folder := t.TempDir()
	scaled := func(tensor func(*net) torch.Tensor) func(*net) {
		return func(n *net) { torch.Scoped(func() { torch.NoGrad(func() { tensor(n).MulScalar_(1.0001) }) }) }
	}
	weight := scaled(func(n *net) torch.Tensor { return n.Layers[0].Linear.Weight.Select(0, 3).Select(0, 1) }) // one number of it
	buffer := scaled(func(n *net) torch.Tensor { return n.Layers[1].Mean })
	config := func(n *net) {
		n.saveConfig = func(folder string) error {
			return os.WriteFile(filepath.Join(folder, "config.json"), []byte(`{"act": "relu"}`), 0o644)
		}
	}
	later := scaled(func(n *net) torch.Tensor { return n.Layers[2].Linear.Weight }) // is trained
	all := map[string]bool{}
	for _, c := range []struct {
		name   string
		change func(*net)
		set    func(o *Options, s *keyed)
		found  int
		skip   bool
	}{
		{name: "first"},
		{name: "frozen weight", change: weight},
		{name: "frozen buffer", change: buffer},
		{name: "configuration", change: config},
		{name: "trained weight", change: later, found: 2},
		{name: "data", set: func(_ *Options, s *keyed) { s.key = "other" }, found: 1},
		{name: "fewer frozen stages", set: func(o *Options, _ *keyed) { o.Phases[0].Train = Top(3) }},
		{name: "grouping", set: func(o *Options, _ *keyed) { o.Batch.Size = 4 }, found: 0},
		{name: "rate and seed", set: func(o *Options, _ *keyed) { o.Phases[0].LR, o.Seed = 1e-3, 7 }, found: 2},
		{name: "precision of rows", set: func(o *Options, _ *keyed) { o.Cache.Precision = "bfloat16" }},
		{name: "libraries' kernels", set: func(*Options, *keyed) { t.Setenv("MKL_CBWR", "COMPATIBLE") }},
	} {
		o, set := keeping(t, CacheDisk, folder), trainSet
		if c.set != nil {
			c.set(&o, &set)
		}
		got := keepRun(t, o, set, testSet, c.change)
		assert.Len(t, got.found, c.found, c.name)
		assert.Len(t, got.made, 2-c.found, c.name)
		for _, path := range got.made {
			assert.False(t, all[path], c.name)
			all[path] = true
		}
		t.Setenv("MKL_CBWR", "")
	}
}

// A program's file has its build's identity.
func TestBuildID(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	assert.Greater(t, strings.Count(buildID(self), "/"), 1)
	assert.Empty(t, buildID("/proc/self/status"))
	id, err := programID()
	require.NoError(t, err)
	assert.Equal(t, buildID(self), id)
}
