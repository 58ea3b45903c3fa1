package third_party

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// A program in another module depends on Thaw with one command beside go get. The test publishes this working
// tree as a version on a proxy of its own, takes examples/embed as that program, and starts from an empty module
// cache.
func TestModuleOutsideThisOne(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles torch/internal/capi anew")
	}
	t.Parallel()
	const path, version = "github.com/thaw-ml/thaw", "v0.0.1-test"
	proxy, program, modcache := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "mod")
	publish(t, proxy, module.Version{Path: path, Version: version})

	require.NoError(t, os.CopyFS(program, os.DirFS("../examples/embed")))
	env := append(os.Environ(),
		"GOMODCACHE="+modcache, "GOFLAGS=-mod=mod", "GOWORK=off", "GONOSUMDB="+path, "GOPRIVATE=",
		// Ours; then what this machine has already; then what it would ask anyway.
		"GOPROXY=file://"+proxy+",file://"+filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")+","+goEnv(t, "GOPROXY"))
	run := func(command string) string {
		t.Helper()
		cmd := exec.Command("bash", "-c", command)
		cmd.Dir = program
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", command, out)
		return string(out)
	}
	t.Cleanup(func() { run("go clean -modcache") }) // its files are read-only

	run("go mod edit -dropreplace " + path + " -droprequire " + path + " && rm -f go.sum && go get " + path + "@" + version)
	run("go clean -modcache") // as in a fresh clone of the program
	said := run(documentedCommand(t))
	assert.Contains(t, said, filepath.Join(modcache, "github.com/thaw-ml/thaw-libtorch-"))
	assert.Equal(t, "tensor([[2., 1.],\n        [4., 3.]])\n", run("go run ."))
}

// documentedCommand is the line of examples/embed/main.go that brings libtorch.
func documentedCommand(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../examples/embed/main.go")
	require.NoError(t, err)
	for _, line := range strings.Split(string(text), "\n") {
		if command, ok := strings.CutPrefix(line, "//\tgo mod download "); ok {
			return "go mod download " + command
		}
	}
	require.Fail(t, "examples/embed/main.go no longer tells the command")
	return ""
}

// publish lays the files of this working tree out as a module version on a proxy's file system.
func publish(t *testing.T, proxy string, m module.Version) {
	t.Helper()
	dir := filepath.Join(proxy, m.Path, "@v")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	list, err := exec.Command("git", "-C", "..", "ls-files", "-co", "--exclude-standard", "-z").Output()
	require.NoError(t, err)
	tree := t.TempDir()
	for _, name := range strings.Split(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("..", name))
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		}
		require.NoError(t, err)
		to := filepath.Join(tree, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		require.NoError(t, os.WriteFile(to, data, 0o644))
	}

	archive, err := os.Create(filepath.Join(dir, m.Version+".zip"))
	require.NoError(t, err)
	require.NoError(t, zip.CreateFromDir(archive, m, tree))
	require.NoError(t, archive.Close())
	mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, m.Version+".mod"), mod, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, m.Version+".info"), []byte(`{"Version":"`+m.Version+`"}`), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "list"), []byte(m.Version+"\n"), 0o644))
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
