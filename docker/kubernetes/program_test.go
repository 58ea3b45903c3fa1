//go:build cluster

package kubernetes_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What testserver's Go modules bring beside it: the definitions of the kinds that are not Kubernetes' own.
var definitions = map[string]string{
	"github.com/kubeflow/trainer/v2": "manifests/base/crds/trainer.kubeflow.org_*.yaml",
	"sigs.k8s.io/jobset":             "config/components/crd/bases/*.yaml",
}

// program is the folder of the built testserver and its definitions, which stays in THAW_CACHE under the hash of the
// sources. Building takes minutes.
func program() (string, error) {
	key, err := sourceHash("testserver")
	if err != nil {
		return "", err
	}
	cache := os.Getenv("THAW_CACHE")
	if cache == "" {
		if cache, err = os.UserCacheDir(); err != nil {
			return "", err
		}
		cache = filepath.Join(cache, "thaw")
	}
	folder := filepath.Join(cache, "testserver", key)
	if _, err := os.Stat(folder); err == nil {
		return folder, nil
	}
	parent := filepath.Dir(folder)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	unfinished, err := os.MkdirTemp(parent, ".building-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(unfinished)
	fmt.Fprintf(os.Stderr, "building kube-apiserver and what belongs to it into %s: ten minutes, once\n", folder)
	if err := build(unfinished); err != nil {
		return "", err
	}
	if err := os.Rename(unfinished, folder); err != nil && !errors.Is(err, fs.ErrExist) { // another process was faster
		return "", err
	}
	return folder, nil
}

// sourceHash is a hash of the files in a folder and of Go's version.
func sourceHash(folder string) (string, error) {
	version, err := output(folder, "go", "env", "GOVERSION")
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	fmt.Fprintln(hash, version)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", entry.Name(), len(data), data)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// build puts the program and the definitions into a folder.
func build(folder string) error {
	version, err := output("testserver", "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return err
	}
	ldflags := "-s -w -X k8s.io/component-base/version.gitVersion=" + version // without it kubectl cannot read the version
	_, err = output("testserver", "nice", "-n", "10",
		"go", "build", "-trimpath", "-ldflags", ldflags, "-o", filepath.Join(folder, "testserver"), ".")
	if err != nil {
		return err
	}
	for module, pattern := range definitions {
		root, err := output("testserver", "go", "list", "-m", "-f", "{{.Dir}}", module)
		if err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			return fmt.Errorf("the module %s has no definitions at %s: %w", module, pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// output runs a program in a folder. The error holds what it said.
func output(folder, name string, args ...string) (string, error) {
	command := exec.Command(name, args...)
	command.Dir = folder
	out, err := command.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, failed.Stderr)
	}
	return strings.TrimSpace(string(out)), err
}
