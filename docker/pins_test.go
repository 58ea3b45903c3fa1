// Package docker_test tests what the images are made of. What needs a Docker engine has the build tag docker: make
// docker-test.
package docker_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// arguments are the defaults of the arguments that stand before the first stage of a Dockerfile.
func arguments(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	head, _, found := strings.Cut(string(text), "\nFROM ")
	require.True(t, found, "%s has no stage", file)
	a := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^ARG (\w+)=(.*)$`).FindAllStringSubmatch(head, -1) {
		a[m[1]] = m[2]
	}
	return a
}

// versions is what versions.sh prints.
func versions(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.Command("./versions.sh").Output()
	require.NoError(t, err)
	v := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		name, value, found := strings.Cut(line, "=")
		require.True(t, found, line)
		v[name] = value
	}
	return v
}

// pinned is the version of each package in wheels.lock.
func pinned(t *testing.T) map[string]string {
	t.Helper()
	lock, err := os.ReadFile("../third_party/wheels.lock")
	require.NoError(t, err)
	p := map[string]string{}
	for _, line := range strings.Split(string(lock), "\n") {
		if f := strings.Fields(line); len(f) == 5 && f[0] != "#" {
			p[f[1]] = f[2]
		}
	}
	return p
}

// docker build without docker/build.sh has the same labels, so the defaults are the lock's versions.
func TestLabelsAreTheLocksVersions(t *testing.T) {
	t.Parallel()
	v, lock, defaults := versions(t), pinned(t), arguments(t, "Dockerfile")
	assert.Equal(t, lock["torch"], v["LIBTORCH"])
	assert.Equal(t, lock["nvidia-cuda-runtime"], v["CUDA"])
	assert.Equal(t, lock["nvidia-cudnn-cu13"], v["CUDNN"])
	assert.Equal(t, lock["nvidia-nccl-cu13"], v["NCCL"])
	for name, version := range v {
		if name == "REVISION" {
			assert.Regexp(t, `^([0-9a-f]{40}(-changed)?|unknown)$`, version)
			continue
		}
		assert.Equal(t, version, defaults[name], "ARG %s of docker/Dockerfile", name)
	}
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	minor := regexp.MustCompile(`^\d+\.\d+`).FindString(v["CUDA"])
	assert.Contains(t, string(text), `NVIDIA_REQUIRE_CUDA="cuda>=`+minor+`"`)
}

func TestBasesArePinnedByDigest(t *testing.T) {
	t.Parallel()
	lock, err := os.ReadFile("bases.lock")
	require.NoError(t, err)
	defaults := arguments(t, "Dockerfile")
	bases := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(lock)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		require.Len(t, f, 5, line)
		assert.Regexp(t, `^sha256:[0-9a-f]{64}$`, f[2])
		assert.Regexp(t, `^\d{4}-\d\d-\d\d$`, f[3])
		assert.Contains(t, []string{"checked", "named"}, f[4])
		bases[f[0]] = f[1] + "@" + f[2]
	}
	assert.Equal(t, map[string]string{"BASE": defaults["BASE"], "GOLANG": defaults["GOLANG"]}, bases)
	assert.Equal(t, map[string]string{"BASE": bases["BASE"]}, arguments(t, "tensorboard/Dockerfile"))

	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(string(text), -1) {
		assert.Regexp(t, `^(\$\{(BASE|GOLANG|WHEELS)\}|[a-z-]+)$`, m[1], "a base that bases.lock does not pin")
	}
}

// What BuildKit 0.8 of Docker 20.10 does not know, or what asks a registry for a frontend.
func TestDockerfileKeepsToTheDialect(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	for pattern, what := range map[string]string{
		`(?mi)^#\s*syntax=`:                        "a syntax line",
		`(?m)^(RUN|COPY).*<<`:                      "a heredoc",
		`(?m)^(COPY|ADD) .*--(link|parents|chmod)`: "an option of COPY that is newer",
		`(?m)^HEALTHCHECK`:                         "a health check",
		`LD_LIBRARY_PATH`:                          "LD_LIBRARY_PATH",
		`PYTORCH_VERSION`:                          "PYTORCH_VERSION",
	} {
		assert.False(t, regexp.MustCompile(pattern).Match(text), "docker/Dockerfile has %s", what)
	}
}

// sent tells whether .dockerignore lets a file go to the builder; it knows the kinds of patterns that are there.
func sent(patterns []string, file string) bool {
	in := true
	for _, p := range patterns {
		p, back := strings.CutPrefix(p, "!")
		p, deep := strings.CutPrefix(p, "**/")
		for name := file; name != "."; name = path.Dir(name) {
			what := name
			if deep {
				what = path.Base(name)
			}
			if ok, _ := path.Match(p, what); ok {
				in = back
			}
		}
	}
	return in
}

func TestEverySourceGoesToTheBuilder(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../.dockerignore")
	require.NoError(t, err)
	var patterns []string
	for _, line := range strings.Split(string(text), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, line)
		}
	}
	for _, tags := range []string{"", "cuda"} {
		cmd := exec.Command("go", "list", "-deps", "-json=Dir,Module,GoFiles,CgoFiles,CFiles,CXXFiles,HFiles,SFiles,EmbedFiles", "-tags", tags, "./cmd/thaw")
		cmd.Dir = ".."
		out, err := cmd.Output()
		require.NoError(t, err)
		root, err := filepath.Abs("..")
		require.NoError(t, err)
		files := 0
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				Dir    string
				Module *struct{ Main bool }

				GoFiles, CgoFiles, CFiles, CXXFiles, HFiles, SFiles, EmbedFiles []string
			}
			err := d.Decode(&p)
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			if p.Module == nil || !p.Module.Main {
				continue
			}
			dir, err := filepath.Rel(root, p.Dir)
			require.NoError(t, err)
			for _, names := range [][]string{p.GoFiles, p.CgoFiles, p.CFiles, p.CXXFiles, p.HFiles, p.SFiles, p.EmbedFiles} {
				for _, name := range names {
					files++
					assert.True(t, sent(patterns, path.Join(dir, name)), ".dockerignore keeps out %s/%s, which the program is built of", dir, name)
				}
			}
		}
		assert.Greater(t, files, 100)
	}
	for _, name := range []string{
		"third_party/fetch.sh", "third_party/unpack.py", "third_party/wheels.lock", "docker/stages/apt.sh", "go.sum", "LICENSE",
	} {
		assert.True(t, sent(patterns, name), ".dockerignore keeps out %s", name)
	}
	for _, name := range []string{
		"docker/Dockerfile", "docs/architecture.md", "README.md", "torch/README.md", "bench/main.go", "cmd/thaw/main_test.go", "examples/reviews/reviews.tsv",
		"vision/testdata/resnet/golden.json", "third_party/libtorch", ".git/config", "bin/thaw", "runs/reviews-1/spec.yaml",
	} {
		assert.False(t, sent(patterns, name), ".dockerignore lets in %s", name)
	}
}

func TestComposeAsksForWhatTrainingNeeds(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("compose.yaml")
	require.NoError(t, err)
	var c struct {
		Services map[string]struct {
			Image    string
			Profiles []string
			User     string
			ReadOnly bool     `yaml:"read_only"`
			CapDrop  []string `yaml:"cap_drop"`
			ShmSize  string   `yaml:"shm_size"`
			Volumes  []string
			Build    struct{ Context, Dockerfile, Target string }
			Deploy   struct {
				Resources struct {
					Reservations struct {
						Devices []struct {
							Driver       string
							Capabilities []string
						}
					}
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &c))
	require.Len(t, c.Services, 3)
	for name, s := range c.Services {
		assert.Equal(t, []string{name}, s.Profiles, name)
		assert.True(t, s.ReadOnly, name)
		assert.Equal(t, []string{"ALL"}, s.CapDrop, name)
		assert.NotEmpty(t, s.User, name)
		assert.DirExists(t, s.Build.Context, name)
	}
	for name, target := range map[string]string{"train": "cuda", "train-cpu": "cpu"} {
		s := c.Services[name]
		assert.Equal(t, target, s.Build.Target)
		assert.FileExists(t, filepath.Join(s.Build.Context, s.Build.Dockerfile))
		assert.Equal(t, "1gb", s.ShmSize)
		assert.Len(t, s.Volumes, 2)
	}
	require.Len(t, c.Services["train"].Deploy.Resources.Reservations.Devices, 1)
	assert.Equal(t, []string{"gpu"}, c.Services["train"].Deploy.Resources.Reservations.Devices[0].Capabilities)
	assert.Empty(t, c.Services["train-cpu"].Deploy.Resources.Reservations.Devices)
}
