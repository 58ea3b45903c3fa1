//go:build docker

package docker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// pretend makes the pretend GPU of docs/decisions/007 and gives the options of docker run with which a program finds
// it.
func pretend(t *testing.T) []string {
	t.Helper()
	command(t, "../bench/gpu/rehearsal/rehearse.sh", "run", "true")
	device, err := filepath.Abs("../dist/rehearsal/device")
	require.NoError(t, err)
	libraries, err := filepath.Glob(filepath.Join(device, "lib*.so.*"))
	require.NoError(t, err)
	require.NotEmpty(t, libraries)
	for i, l := range libraries {
		libraries[i] = "/device/" + filepath.Base(l)
	}
	return []string{
		"-v", device + ":/device:ro", "-e", "LD_PRELOAD=" + strings.Join(libraries, ":"), "-e", "REHEARSAL_COMPUTE=/device/compute.so",
		"-e", "LD_LIBRARY_PATH=/opt/thaw/lib", "-e", "OMP_NUM_THREADS=1", "-e", "GOMAXPROCS=16",
	}
}

// On a machine without a GPU the CUDA image's doctor says so, and fails.
func TestNoGPU(t *testing.T) {
	e := run(t, strict, image(t, "cuda"), "doctor")
	assert.Equal(t, 1, e.code, e.out)
	assert.Regexp(t, `cuda +driver none, runtime 13\.0, cuDNN 9\.\d+(\.\d+)*, NCCL 2\.\d+(\.\d+)*`, e.out)
}

// The image's program, on the image's libraries, finds the pretend GPU and trains on it.
func TestProgramOnAPretendGPU(t *testing.T) {
	name := image(t, "cuda")
	options := slices.Concat(strict, pretend(t))
	e := run(t, options, name, "doctor")
	require.Zero(t, e.code, e.out)
	assert.Contains(t, e.out, "cuda:0")

	mounts, runs := reviews(t, 600)
	e = run(t, slices.Concat(options, mounts, []string{"--memory", "6g"}), name,
		"train", "/data/reviews.yaml", "device=cuda", "phases[0].epochs=1", "out=/runs/cuda")
	require.Zero(t, e.code, e.out)
	_, epochs := accuracy(t, filepath.Join(runs, "cuda"))
	assert.Equal(t, 1, epochs)
}

// The GPU tests of every package, in a container of the CUDA image.
func TestGPUTestsInTheContainer(t *testing.T) {
	name := image(t, "cuda")
	options := slices.Concat(strict, pretend(t))
	command(t, "make", "-C", "..", "gpu-bundle")
	payload := t.TempDir()
	command(t, "tar", "-xJf", "../dist/gpu/payload.tar.xz", "-C", payload)
	for _, dir := range []string{filepath.Dir(payload), payload} {
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	table, err := os.ReadFile(filepath.Join(payload, "tests.tsv"))
	require.NoError(t, err)
	for _, line := range strings.Split(strings.TrimSpace(string(table)), "\n") {
		pkg, names, found := strings.Cut(line, "\t")
		require.True(t, found)
		t.Run(pkg, func(t *testing.T) {
			e := run(t, slices.Concat(options, []string{
				"-v", payload + ":/payload:ro", "-w", "/payload/tests/" + pkg, "--tmpfs", "/tmp:exec", "--memory", "8g", "--entrypoint", "./tests",
			}), name, "-test.v", "-test.timeout", "9m", "-test.run", "^("+names+")$")
			require.Zero(t, e.code, e.out)
			passed := regexp.MustCompile(`(?m)^--- PASS: (\w+)`).FindAllStringSubmatch(e.out, -1)
			var have []string
			for _, p := range passed {
				have = append(have, p[1])
			}
			want := strings.Split(names, "|")
			slices.Sort(have)
			slices.Sort(want)
			assert.Equal(t, want, have, e.out)
		})
	}
}
