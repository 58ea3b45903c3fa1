package recipe

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
)

const pictureSpec = "model: resnet18\nhead: {classes: [a, b]}\ndata: {train: pictures}\nphases: [{train: head, epochs: 1, lr: 1e-3}]\n"

func TestCacheKey(t *testing.T) {
	t.Setenv("THAW_CACHE", "/caches")
	t.Setenv("THAW_CACHE_LIMIT", "20GB")
	for text, want := range map[string]Cache{
		"":                                       {Place: "auto", Precision: "auto"},
		"cache: disk":                            {Place: "disk", Precision: "auto"},
		"cache: memory":                          {Place: "memory", Precision: "auto"},
		"cache: off":                             {Place: "off", Precision: "auto"},
		"cache: {precision: bfloat16}":           {Place: "auto", Precision: "bfloat16"},
		"cache: {place: disk, views: 4}":         {Place: "disk", Precision: "auto", Views: 4},
		"cache: auto |cache.views=4":             {Place: "auto", Precision: "auto", Views: 4},
		"cache: {views: 2} |cache=off":           {Place: "off", Precision: "auto"},
		"|cache.precision=float32|cache.views=2": {Place: "auto", Precision: "float32", Views: 2},
		"|cache=memory|cache.views=2":            {Place: "memory", Precision: "auto", Views: 2},
	} {
		parts := strings.Split(text, "|")
		s, err := Parse("spec.yaml", []byte(pictureSpec+strings.TrimSpace(parts[0])+"\n"), parts[1:]...)
		require.NoError(t, err, text)
		assert.Equal(t, want, s.Cache, text)
		written, err := s.YAML()
		require.NoError(t, err)
		again, err := Parse("spec.yaml", written)
		require.NoError(t, err, string(written))
		assert.Equal(t, want, again.Cache, string(written))
		o := s.Options()
		assert.Equal(t, want.Place == "off", o.NoCache)
		if want.Place == "off" {
			assert.Equal(t, finetune.Caching{}, o.Cache)
			continue
		}
		assert.Equal(t, finetune.Caching{Place: want.Place, Folder: "/caches/frozen", Limit: 20e9, Precision: want.Precision, Views: want.Views,
			Model: "resnet18", Data: s.Data.Train}, o.Cache)
	}
	s, err := Parse("spec.yaml", []byte(pictureSpec))
	require.NoError(t, err)
	text, err := s.YAML()
	require.NoError(t, err)
	assert.Contains(t, string(text), "\ncache: auto\n")
}

func TestWrongCacheKeys(t *testing.T) {
	t.Setenv("THAW_CACHE", "")
	for text, want := range map[string]string{
		"cache: ram":                                 `spec.yaml:5: cache: expected auto, memory, disk, off, found "ram"`,
		"cache: false":                               `spec.yaml:5: cache: expected auto, memory, disk, off, found "false"; did you mean "off"?`,
		"cache: {place: dsk}":                        `spec.yaml:5: cache.place: expected auto, memory, disk, off, found "dsk"; did you mean "disk"?`,
		"cache: {precision: float16}":                `cache.precision: expected auto, float32, bfloat16, found "float16"`,
		"cache: {views: -1}":                         "cache.views: must be 0 (none) or above, found -1",
		"cache: {views: 2}\nimages: {augment: none}": "cache.views: is for images that are augmented (images.augment)",
		"cache: {views: 2}\nimages: {mixup: 0.2}":    "cache.views: goes without images.mixup and images.cutmix",
		"cache: {place: off, views: 2}":              "cache.views: needs a place to be kept in",
		"cache: {where: disk}":                       "cache.where: unknown key; the keys here are place, precision, views",
		"cache: [disk]":                              "cache: expected a mapping with the keys place, precision, views, found a list",
		"cache:":                                     "cache: there is no value; leave the key out for the default",
	} {
		_, err := Parse("spec.yaml", []byte(pictureSpec+text+"\n"))
		assert.ErrorContains(t, err, want, text)
	}
	_, err := Parse("spec.yaml", []byte(pictureSpec), "cache.place=dsk")
	assert.ErrorContains(t, err, `command line: cache.place=dsk: expected auto, memory, disk, off, found "dsk"; did you mean "disk"?`)
	t.Setenv("THAW_CACHE_LIMIT", "much")
	_, err = Parse("spec.yaml", []byte(pictureSpec))
	assert.ErrorContains(t, err, `cache.place: the variable THAW_CACHE_LIMIT: expected a size such as 500MB or 20GB, found "much"`)
	_, err = CacheLimit()
	assert.Error(t, err)
}

func TestCacheFolder(t *testing.T) {
	t.Setenv("THAW_CACHE", "")
	t.Setenv("XDG_CACHE_HOME", "/x")
	assert.Equal(t, "/x/thaw/frozen", CacheFolder())
	t.Setenv("THAW_CACHE", "/y")
	assert.Equal(t, "/y/frozen", CacheFolder())
	t.Setenv("THAW_CACHE", "here")
	assert.True(t, filepath.IsAbs(CacheFolder()))
	for _, name := range []string{"THAW_CACHE", "XDG_CACHE_HOME", "HOME"} {
		t.Setenv(name, "")
	}
	assert.Empty(t, CacheFolder())
	_, err := Parse("spec.yaml", []byte(pictureSpec), "cache=disk")
	assert.ErrorContains(t, err, "there is no folder for it, as there is no home folder: set THAW_CACHE")
}
