package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/rowcache"
	"github.com/thaw-ml/thaw/recipe"
)

type cacheCmd struct {
	Ls    cacheLsCmd    `cmd:"" help:"List what is kept."`
	Clear cacheClearCmd `cmd:"" help:"Remove all that is kept, or what is under a key; what a run uses stays."`
}

func (*cacheCmd) Help() string {
	return `With cache: disk in the spec, and where memory does not suffice, a run keeps the output of the frozen layers in files, which later runs with the same frozen weights and the same data read. They lie in the folder frozen of $THAW_CACHE, ~/.cache/thaw by default, and take no more than $THAW_CACHE_LIMIT (such as 20GB; half of the disk's free space by default): those that were used least recently go first.`
}

type cacheLsCmd struct {
	JSON bool `name:"json" help:"Print one JSON array."`
}

// keptFile is a line of thaw cache ls.
type keptFile struct {
	Key      string    `json:"key"`
	Bytes    int64     `json:"bytes"`
	Made     time.Time `json:"made"`
	LastUsed time.Time `json:"last_used"`
	InUse    bool      `json:"in_use"`
	Model    string    `json:"model"`
	Stages   string    `json:"stages"`
	Data     string    `json:"data"`
	Rows     string    `json:"rows"`
}

func (c *cacheLsCmd) Run(s streams) error {
	folder, entries, err := openCache()
	if err != nil {
		return err
	}
	if c.JSON {
		files := []keptFile{}
		for _, e := range entries {
			files = append(files, keptFile{e.Key, e.Bytes, e.Made, e.LastUsed, e.InUse, e.About.Model, e.About.Stages, e.About.Data, e.About.Rows})
		}
		out := json.NewEncoder(s.out)
		out.SetEscapeHTML(false)
		return out.Encode(files)
	}
	if len(entries) == 0 {
		_, err := fmt.Fprintf(s.out, "nothing is kept in %s\n", folder.Path)
		return err
	}
	out := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "KEY\tSIZE\tMADE\tLAST USED\tMODEL\tLAYERS\tDATA")
	all := int64(0)
	for _, e := range entries {
		used := when(e.LastUsed)
		if e.InUse {
			used = "by a run, now"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s of %s\n",
			e.Key[:min(12, len(e.Key))], quantity.Bytes(e.Bytes), when(e.Made), used, e.About.Model, e.About.Stages, e.About.Rows, e.About.Data)
		all += e.Bytes
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s, %s, in %s\n", quantity.Count(len(entries), "file", "files"), quantity.Bytes(all), folder.Path)
	return err
}

// when writes a time for people.
func when(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.Local().Format("2006-01-02 15:04")
}

type cacheClearCmd struct {
	Key string `arg:"" optional:"" help:"The key of what to remove, or its beginning, as thaw cache ls prints it; by default all."`
}

func (c *cacheClearCmd) Run(s streams) error {
	folder, entries, err := openCache()
	if err != nil {
		return err
	}
	folder.Sweep()
	if c.Key != "" {
		chosen := entries[:0]
		for _, e := range entries {
			if strings.HasPrefix(e.Key, c.Key) {
				chosen = append(chosen, e)
			}
		}
		switch len(chosen) {
		case 0:
			return usageError{fmt.Sprintf("cache clear: nothing is kept under %q; thaw cache ls lists all", c.Key)}
		case 1:
		default:
			return usageError{fmt.Sprintf("cache clear: %d keys begin with %q: give more of it", len(chosen), c.Key)}
		}
		entries = chosen
	}
	var failed []error
	removed, freed := 0, int64(0)
	for _, e := range entries {
		switch err := folder.Remove(e.Key); {
		case err == nil:
			removed, freed = removed+1, freed+e.Bytes
		case errors.Is(err, rowcache.ErrAbsent): // somebody else was faster
		default:
			failed = append(failed, fmt.Errorf("%s stays: %w", e.Key[:min(12, len(e.Key))], err))
		}
	}
	if _, err := fmt.Fprintf(s.out, "removed %s, %s, from %s\n", quantity.Count(removed, "file", "files"), quantity.Bytes(freed), folder.Path); err != nil {
		return err
	}
	return errors.Join(failed...)
}

// openCache opens what runs have kept.
func openCache() (rowcache.Folder, []rowcache.Entry, error) {
	limit, err := recipe.CacheLimit()
	folder := rowcache.Folder{Path: recipe.CacheFolder(), Limit: limit}
	if err != nil {
		return folder, nil, usageError{"cache: the variable THAW_CACHE_LIMIT: " + err.Error()}
	}
	if folder.Path == "" {
		return folder, nil, usageError{"cache: there is no home folder, and THAW_CACHE is not set"}
	}
	entries, err := folder.List()
	return folder, entries, err
}
