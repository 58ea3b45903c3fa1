package launch_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/dist/launch"
)

func TestUnfold(t *testing.T) {
	for list, want := range map[string]string{
		"n0":                   "n0",
		"n0,m1":                "n0 m1",
		"n[0-1,4],m07":         "n0 n1 n4 m07",
		"n[08-10,4],m07":       "n08 n09 n10 n4 m07",
		"n[099-101]":           "n099 n100 n101",
		"r[1-2]n[0-1]":         "r1n0 r1n1 r2n0 r2n1",
		"a[1-2]-ib,b":          "a1-ib a2-ib b",
		"gpu-node.example[10]": "gpu-node.example10",
		"n[0-0]":               "n0",
	} {
		got, err := launch.Unfold(list)
		require.NoError(t, err, list)
		assert.Equal(t, strings.Fields(want), got, list)
	}
	for _, list := range []string{
		"", "n[0-1", "n[", "n]", "n0]", "n[]", "n[a]", "n[2-1]", "n[1-]", "n[-1]", "n[[0]]", "n[0-1],", ",n", "n[0-99999999]", "n[0-999]m[0-999]",
		"n[1--2]", "n[+1]", "n[0-4294967295]", "n[0-60000],m[0-60000]",
	} {
		got, err := launch.Unfold(list)
		assert.Error(t, err, list)
		assert.Nil(t, got, list)
	}
}

// Slurm's own program unfolds random lists the same way.
func TestUnfoldAsSlurm(t *testing.T) {
	scontrol, err := exec.LookPath("scontrol")
	if err != nil {
		t.Skip("there is no scontrol (Debian: slurm-client) to compare with")
	}
	conf := filepath.Join(t.TempDir(), "slurm.conf") // it does not start without one
	require.NoError(t, os.WriteFile(conf, []byte("ClusterName=none\nSlurmctldHost=localhost\n"), 0o644))
	t.Setenv("SLURM_CONF", conf)
	rng := rand.New(rand.NewPCG(16, 2))
	number := func(width, most int) string { return fmt.Sprintf("%0*d", width, rng.IntN(most)) }
	bracket := func() string {
		var parts []string
		for range 1 + rng.IntN(3) {
			width := 1 + rng.IntN(3)
			low := rng.IntN(120)
			part := fmt.Sprintf("%0*d", width, low)
			if rng.IntN(2) == 0 {
				part += fmt.Sprintf("-%0*d", width, low+rng.IntN(12))
			}
			parts = append(parts, part)
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	for range 150 {
		var items []string
		for range 1 + rng.IntN(3) {
			item := []string{"n", "gpu-", "rack.", "x7y"}[rng.IntN(4)]
			switch rng.IntN(4) {
			case 0:
				item += number(2, 99)
			case 1:
				item += bracket()
			case 2:
				item += bracket() + "c" + bracket()
			case 3:
				item += number(1, 9) + "-" + bracket()
			}
			items = append(items, item)
		}
		list := strings.Join(items, ",")
		want, err := exec.Command(scontrol, "show", "hostnames", list).Output()
		require.NoError(t, err, list)
		got, err := launch.Unfold(list)
		require.NoError(t, err, list)
		assert.Equal(t, strings.Fields(string(want)), got, list)
	}
}

func FuzzUnfold(f *testing.F) {
	for _, list := range []string{"n[0-1,4],m07", "r[1-2]n[0-1]", "n[", "a]b[", "[0]"} {
		f.Add(list)
	}
	f.Fuzz(func(t *testing.T, list string) {
		names, err := launch.Unfold(list)
		if err != nil {
			return
		}
		assert.NotEmpty(t, names)
		for _, name := range names {
			assert.NotContains(t, name, "[")
			again, err := launch.Unfold(name)
			if !strings.ContainsAny(name, ", \t\n]") && strings.TrimSpace(name) == name {
				require.NoError(t, err, name)
				assert.Equal(t, []string{name}, again)
			}
		}
	})
}
