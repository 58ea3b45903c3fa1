package recipe_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/recipe"
)

func TestPreflightOfImages(t *testing.T) {
	sameTensors(t)
	folder := imagePlace(t, 3, 8)
	t.Chdir(folder)
	grades := func(r *preflight.Report) map[string]preflight.Grade {
		out := map[string]preflight.Grade{}
		for _, f := range r.Findings {
			out[f.Name] = f.Grade
		}
		return out
	}
	spec := func(overrides ...string) *preflight.Report {
		t.Helper()
		s, err := recipe.Read("spec.yaml", overrides...)
		require.NoError(t, err)
		r, err := recipe.Preflight(t.Context(), &s)
		require.NoError(t, err)
		return r
	}
	r := spec()
	assert.Equal(t, map[string]preflight.Grade{preflight.SmallTest: preflight.Warning}, grades(r))
	require.NotNil(t, r.Pictures)
	assert.Equal(t, 32, r.Pictures.Input)
	assert.Len(t, r.Classes, 3)

	files, err := filepath.Glob("images/class0/*")
	require.NoError(t, err)
	first, err := os.ReadFile(files[0])
	require.NoError(t, err)
	// One picture under two classes, and again; a damaged one; one that is none.
	for _, name := range []string{"images/class1/copy1", "images/class1/copy2", "images/class2/copy3"} {
		require.NoError(t, os.WriteFile(name+filepath.Ext(files[0]), first, 0o644))
	}
	require.NoError(t, os.WriteFile("images/class2/damaged"+filepath.Ext(files[0]), first[:len(first)-len(first)/3], 0o644))
	require.NoError(t, os.WriteFile("images/class2/notes.txt", []byte("x"), 0o644))
	r = spec()
	got := grades(r)
	assert.Equal(t, preflight.Fatal, got[preflight.Unreadable], got)
	assert.Equal(t, preflight.Fatal, got[preflight.Conflicting], got)
	assert.Equal(t, preflight.Warning, got[preflight.IgnoredFiles], got)
	for _, f := range r.Findings {
		if f.Name == preflight.Unreadable {
			assert.Contains(t, f.First[0].String(), "images/class2/damaged")
			assert.NotContains(t, f.First[0].What, "reading picture")
		}
		if f.Name == preflight.Conflicting {
			assert.Equal(t, 1, f.Count)
			assert.Contains(t, f.First[0].What, `labelled "class0" and "class`)
		}
	}
	r = spec("images.unreadable=skip", "accept=[conflicting-labels]")
	assert.Equal(t, preflight.Warning, grades(r)[preflight.Unreadable])
	assert.Equal(t, preflight.Accepted, grades(r)[preflight.Conflicting])
	r = spec("head.classes=[class0, class1]")
	assert.Equal(t, map[string]preflight.Grade{preflight.UnknownLabels: preflight.Fatal}, grades(r))
	assert.Equal(t, 10, r.Findings[0].Count)
}
