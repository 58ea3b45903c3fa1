package recipe

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/internal/cachedir"
	"github.com/thaw-ml/thaw/internal/rowcache"
)

// Cache says what becomes of the output of the frozen stages. In YAML it is a word, Place, or a mapping.
type Cache struct {
	// Place is "auto", the default: in memory where half of what is free suffices, and else on disk; "memory"; "disk",
	// where later runs find it that freeze the same weights and read the same data (those with "auto" too); or "off": the
	// frozen stages run at every step.
	Place string `yaml:"place"`
	// Precision of what is kept: "float32", "bfloat16", which takes half of the place and rounds, or "auto", the default:
	// as the stages give it.
	Precision string `yaml:"precision,omitempty"`
	// Views keeps so many views of each augmented image, which epochs see in turn. 0, the default, keeps nothing of
	// augmented images.
	Views int `yaml:"views,omitempty"`
}

// MarshalYAML writes a place alone as a word.
func (c Cache) MarshalYAML() (any, error) {
	if (c.Precision == "" || c.Precision == "auto") && c.Views == 0 {
		return c.Place, nil
	}
	type mapping Cache
	return mapping(c), nil
}

const cacheOff = "off"

// resolveCache checks what is kept of the frozen stages.
func (s *Spec) resolveCache(f *faults) {
	c, key := &s.Cache, "cache.place"
	if c.Place != "" && !f.source.given(key) {
		key = "cache" // a word
	}
	f.choice(key, &c.Place, finetune.CacheAuto, finetune.CacheMemory, finetune.CacheDisk, cacheOff)
	f.choice("cache.precision", &c.Precision, "auto", "float32", "bfloat16")
	f.check(c.Place != finetune.CacheDisk || CacheFolder() != "", key,
		"there is no folder for it, as there is no home folder: set THAW_CACHE")
	_, err := CacheLimit()
	f.check(err == nil, key, "the variable THAW_CACHE_LIMIT: %v", err)
	f.check(c.Views >= 0, "cache.views", "must be 0 (none) or above, found %d", c.Views)
	if c.Views > 0 {
		p := s.Images
		f.check(p != nil && (p.Augment != "none" || p.Erase > 0), "cache.views",
			"is for images that are augmented (images.augment)")
		f.check(p == nil || p.MixUp == 0 && p.CutMix == 0, "cache.views",
			"goes without images.mixup and images.cutmix, which mix samples anew in each epoch")
		f.check(c.Place != cacheOff, "cache.views", "needs a place to be kept in: leave cache.place: off out")
	}
}

// caching is what a resolved spec says to finetune.Fit.
func (s *Spec) caching() finetune.Caching {
	if s.Cache.Place == cacheOff {
		return finetune.Caching{}
	}
	limit, _ := CacheLimit() // which resolveCache has checked
	c := finetune.Caching{
		Place: s.Cache.Place, Folder: CacheFolder(), Limit: limit, Precision: s.Cache.Precision, Views: s.Cache.Views,
		Model: s.Model, Data: s.Data.Train,
	}
	if filepath.IsAbs(s.Model) {
		c.Model = filepath.Join(filepath.Base(filepath.Dir(s.Model)), filepath.Base(s.Model))
	}
	if m := inCache.FindStringSubmatch(filepath.ToSlash(s.Model)); m != nil {
		c.Model = strings.ReplaceAll(m[1], "--", "/")
	}
	return c
}

// CacheFolder is where the output of frozen stages is kept for later runs: the folder frozen of THAW_CACHE, or else of
// thaw in the user's cache folder, XDG_CACHE_HOME or ~/.cache. "" where there is no home folder.
func CacheFolder() string {
	root, err := cachedir.Root()
	if err != nil {
		return ""
	}
	absolute, err := filepath.Abs(filepath.Join(root, "frozen"))
	if err != nil {
		return ""
	}
	return absolute
}

// CacheLimit is what THAW_CACHE_LIMIT, such as 500MB or 20GB, allows of bytes in CacheFolder; 0 where it is not set.
func CacheLimit() (int64, error) {
	if text := os.Getenv("THAW_CACHE_LIMIT"); text != "" {
		return rowcache.ParseSize(text)
	}
	return 0, nil
}
