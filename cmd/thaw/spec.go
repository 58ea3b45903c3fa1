package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/recipe"
)

// readSpec reads the spec of a verb. What is wrong with it is an error that ends the program with exitUsage.
func readSpec(verb, path string, overrides []string) (*recipe.Spec, error) {
	spec, err := recipe.Read(path, overrides...)
	if errors.As(err, new(recipe.SpecErrors)) {
		return nil, err
	}
	if info, failure := os.Stat(path); failure == nil && info.IsDir() {
		return nil, usageError{fmt.Sprintf("%s: %s is a folder; expected a spec, a YAML file", verb, path)}
	}
	if err != nil {
		return nil, usageError{verb + ": " + unreadable("file", path, err)}
	}
	return &spec, nil
}

// specName is what a spec's runs are called by: its file without the ending.
func specName(path string) string { return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)) }
