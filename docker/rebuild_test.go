//go:build docker

package docker_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// copied is a copy of the checkout: what is committed, and what is not yet.
func copied(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	command(t, "bash", "-c", `git -C .. ls-files -co --exclude-standard -z |
		tar -C .. --ignore-failed-read --null -c -T - 2>/dev/null | tar -C "$1" -x`, "bash", to)
	return to
}

// A change of one Go file is built in half a minute, and an image that has it differs from the one before in its last
// layer.
func TestOneFileRenewsTheLastLayer(t *testing.T) {
	before := inspect(t, image(t, "cpu")).RootFS.Layers
	sources := copied(t)
	file := filepath.Join(sources, "cmd", "thaw", "version.go")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	text = fmt.Appendf(text, "\nfunc init() {\n\tif runtime.NumCPU() < 0 {\n\t\tprintln(%q)\n\t}\n}\n", time.Now().String())
	require.NoError(t, os.WriteFile(file, text, 0o644))
	t.Cleanup(func() { _, _, _ = try(os.Getenv("DOCKER"), "image", "rm", "thaw-test-changed:cpu") })

	start := time.Now()
	require.NoError(t, build(t, "thaw-test-changed", "cpu", sources))
	took := time.Since(start)
	after := inspect(t, "thaw-test-changed:cpu").RootFS.Layers
	t.Logf("%.1f s, %d layers", took.Seconds(), len(after))
	assert.Less(t, took, 30*time.Second)
	require.Len(t, after, len(before))
	last := len(after) - 1
	assert.Equal(t, before[:last], after[:last])
	assert.NotEqual(t, before[last], after[last])
}

// A change of what is no source renews nothing.
func TestATestFileRenewsNothing(t *testing.T) {
	before := inspect(t, image(t, "cpu")).RootFS.Layers
	sources := copied(t)
	for _, name := range []string{"cmd/thaw/main_test.go", "README.md", "docs/architecture.md"} {
		file := filepath.Join(sources, name)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, append(text, '\n'), 0o644))
	}
	t.Cleanup(func() { _, _, _ = try(os.Getenv("DOCKER"), "image", "rm", "thaw-test-changed:cpu") })
	require.NoError(t, build(t, "thaw-test-changed", "cpu", sources))
	assert.Equal(t, before, inspect(t, "thaw-test-changed:cpu").RootFS.Layers)
}

// registry starts Debian's registry on the loopback and gives its address.
func registry(t *testing.T) string {
	t.Helper()
	program := needs(t, "docker-registry", "docker-registry")
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	l.Close()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", dir, address)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yml"), []byte(config), 0o644))
	cmd := exec.Command(program, "serve", filepath.Join(dir, "config.yml"))
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, 10*time.Second, 50*time.Millisecond)
	return address
}

// A base whose digest is another than the pinned one is not built on.
func TestForeignBaseIsRefused(t *testing.T) {
	base := os.Getenv("BASE")
	if base == "" {
		base = arguments(t, "Dockerfile")["BASE"]
		docker(t, "pull", "-q", base)
	}
	name := registry(t) + "/library/debian"
	docker(t, "tag", base, name+":slim")
	t.Cleanup(func() { _, _, _ = try(os.Getenv("DOCKER"), "image", "rm", name+":slim") })
	pushed := docker(t, "push", name+":slim")
	_, digest, found := strings.Cut(pushed, "digest: ")
	require.True(t, found, pushed)
	digest, _, _ = strings.Cut(digest, " ")

	runtime := func(pin string) (string, error) {
		_, all, err := try("env", "DOCKER_BUILDKIT=1", os.Getenv("DOCKER"), "build", "-f", "Dockerfile", "--target", "runtime", "--network", "host", "--build-arg", "BASE="+pin, "..")
		return all, err
	}
	all, err := runtime(name + ":slim@" + digest)
	require.NoError(t, err, all)
	foreign := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	all, err = runtime(name + ":slim@" + foreign)
	require.Error(t, err)
	assert.Contains(t, all, foreign)
	assert.Contains(t, all, "not found")
}

// Versions that are not those of wheels.lock end the build, so that no label tells a wrong one; so does an unknown
// library.
func TestWrongArgumentsAreRefused(t *testing.T) {
	image(t, "cpu")
	_, all, err := try("env", "IMAGE=thaw-test-stale", "CA="+certificates(t), "./build.sh", "cpu", "--", "--build-arg", "LIBTORCH=2.10.0")
	require.Error(t, err)
	assert.Contains(t, all, "third_party/wheels.lock pins torch")
	_, all, err = try("env", "IMAGE=thaw-test-stale", "CA="+certificates(t), "./build.sh", "cpu", "--", "--build-arg", "VERSION=9.9.9")
	require.Error(t, err)
	assert.Contains(t, all, "internal/version/version.go")
	_, all, err = try("env", "IMAGE=thaw-test-stale", "CA="+certificates(t), "./build.sh", "cuda", "--", "--build-arg", "WITH=lapack")
	require.Error(t, err)
	assert.Contains(t, all, `WITH names "lapack"`)
}

// Two releases of the same sources have the same digest; so has the program that Docker built.
func TestReleaseIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: two releases are compiled from nothing, minutes each")
	}
	name := image(t, "cpu")
	needs(t, "buildah", "buildah")
	var digests []string
	var out string
	for range 2 {
		out = t.TempDir()
		args := []string{"WHEELS=" + filepath.Join(cache(), "wheels"), "./release.sh", "--working-tree", "--out", out, "cpu"}
		if os.Getenv("BASE") != "" {
			args = append(args, "--standins")
		}
		start := time.Now()
		command(t, "env", args...)
		digest, err := os.ReadFile(filepath.Join(out, "digests"))
		require.NoError(t, err)
		require.Regexp(t, `^sha256:[0-9a-f]{64}  thaw-cpu\n$`, string(digest))
		digests = append(digests, string(digest))
		t.Logf("%.0f s: %s", time.Since(start).Seconds(), digest)
	}
	assert.Equal(t, digests[0], digests[1])
	sum := 0.0
	for _, l := range layersOf(t, filepath.Join(out, "thaw-cpu")) {
		sum += l
	}
	t.Logf("%.0f MB in zstd", sum)
	assert.LessOrEqual(t, sum, limits["cpu"].packed)

	assert.Equal(t, programOf(t, name), programIn(t, filepath.Join(out, "thaw-cpu")), "the program of Docker's build and that of buildah's differ")
}

// programOf is the hash of the program in an image.
func programOf(t *testing.T, image string) string {
	t.Helper()
	id := docker(t, "create", image)
	defer docker(t, "rm", id)
	to := filepath.Join(t.TempDir(), "thaw")
	docker(t, "cp", id+":/opt/thaw/bin/thaw", to)
	return hash(t, to)
}

// programIn is the hash of the program in an OCI layout, whose last layer has it.
func programIn(t *testing.T, layout string) string {
	t.Helper()
	dir := t.TempDir()
	command(t, "bash", "-c", `
		manifest=$(sed 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/' "$1/index.json")
		layer=$(grep -o '"digest":"sha256:[0-9a-f]*"' "$1/blobs/sha256/$manifest" | tail -n 1 | grep -o '[0-9a-f]\{64\}')
		zstd -dc "$1/blobs/sha256/$layer" | tar -C "$2" -x`, "bash", layout, dir)
	return hash(t, filepath.Join(dir, "opt", "thaw", "bin", "thaw"))
}

func hash(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(t, err)
	return fmt.Sprintf("%x", h.Sum(nil))
}
