package recipe

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// lr in a sweep is the last phase's rate, and the others keep their proportions to it.
func TestReadWithRate(t *testing.T) {
	const start = "model: m\nhead: {classes: [a, b]}\ndata: {train: t.tsv, columns: {text: t, label: l}}\n"
	path := filepath.Join(t.TempDir(), "spec.yaml")
	for _, c := range []struct {
		spec, rate string
		overrides  []string
		want       [][2]float64 // lr and head_lr of each phase
	}{
		{"phases: [{train: all, epochs: 1, lr: 1e-4}]", "3e-4", nil, [][2]float64{{3e-4, 3e-3}}},
		{"phases: [{train: all, epochs: 1, lr: 1e-4, head_lr: 2e-4}]", "3e-4", nil, [][2]float64{{3e-4, 6e-4}}},
		{"phases: [{train: head, epochs: 1, lr: 1e-3}, {train: all, epochs: 1, lr: 2e-5}]", "6e-5", nil, [][2]float64{{3e-3, 3e-3}, {6e-5, 6e-4}}},
		{"phases: [{train: head, epochs: 1, lr: 1e-3}, {train: all, epochs: 1, lr: 2e-5}]", "", nil, [][2]float64{{1e-3, 1e-3}, {2e-5, 2e-4}}},
		{"preset: bert", "5e-5", nil, [][2]float64{{5e-5, 5e-5}}},
		{"preset: bert", "5e-5", []string{"preset=fastai-fine-tune"}, [][2]float64{{2.5e-4, 2.5e-4}, {5e-5, 1.25e-4}}},
	} {
		require.NoError(t, os.WriteFile(path, []byte(start+c.spec+"\n"), 0o644))
		s, err := readWithRate(path, c.overrides, c.rate)
		require.NoError(t, err, c.spec)
		require.Len(t, s.Phases, len(c.want))
		for i, p := range s.Phases {
			assert.InEpsilonSlice(t, c.want[i][:], []float64{p.LR, p.HeadLR}, 1e-12, "%s %s", c.spec, c.rate)
		}
	}
	polynomial := "phases: [{train: all, epochs: 1, lr: 1e-4, schedule: polynomial, power: 2, end_lr: 5e-5}]\n"
	require.NoError(t, os.WriteFile(path, []byte(start+polynomial), 0o644))
	_, err := readWithRate(path, nil, "2e-5")
	assert.ErrorContains(t, err, "phases[0].end_lr: must be from 0 to below lr, found 5e-05")
}
