package thaw_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/thaw-ml/thaw/"

// deps lists the packages that packages need, themselves included.
func deps(t *testing.T, patterns ...string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, patterns...)...).Output()
	require.NoError(t, err)
	list := strings.Fields(string(out))
	require.Contains(t, list, module+"torch")
	return list
}

// What is below does not know what is above: the core of fine-tuning knows no spec, no text and no image, and models
// know no spec.
func TestImports(t *testing.T) {
	for _, c := range []struct {
		packages  []string
		forbidden string
	}{
		{[]string{"./finetune/..."}, `yaml|^` + module + `(recipe|text|vision|cmd|hub)\b`},
		{[]string{"./text/...", "./vision/..."}, `^` + module + `(recipe|cmd)\b`},
		// YAML is the specs' alone, but that YOLO's data.yaml is read for detection.
		{[]string{"./text/...", "./vision", "./vision/album", "./vision/picture", "./vision/transform"}, `yaml`},
		{[]string{"./report/..."}, `^` + module + `(recipe|text|vision|cmd|hub|preflight)\b`},
		{[]string{"./finetune/..."}, `gonum|^` + module + `report\b`},
		{[]string{"./torch/..."}, `^` + module + `(finetune|recipe|text|vision|cmd|hub)\b`},
	} {
		forbidden := regexp.MustCompile(c.forbidden)
		for _, name := range deps(t, c.packages...) {
			assert.False(t, forbidden.MatchString(name), "%v needs %s", c.packages, name)
		}
	}
}

// What differs between kinds of samples is behind the kinds of package recipe, not in a second function beside the
// first.
func TestNoFunctionsForPictures(t *testing.T) {
	word := "Of" + "Pictures"
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if entry != nil && entry.IsDir() && (entry.Name() == "third_party" || strings.HasPrefix(entry.Name(), ".") && path != ".") {
				return fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		text, err := os.ReadFile(path)
		assert.False(t, strings.Contains(string(text), word), path)
		return err
	}))
}
