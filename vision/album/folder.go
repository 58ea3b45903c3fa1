package album

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// partNames are what folders are called that hold a part of a data set, each with class folders of its own.
var partNames = []string{"dev", "eval", "test", "testing", "train", "training", "val", "valid", "validation"}

// fileID tells folders apart whatever way leads to them.
type fileID struct{ device, inode uint64 }

// walk reads folders, each once.
type walk struct {
	ways map[fileID]string // the path by which a folder was reached
}

// listing is what lies in one folder, each sorted by name; hidden things are not in it.
type listing struct {
	path                      string
	folders, pictures, others []string
}

func (a *Album) openFolder(o Options) error {
	w := walk{map[fileID]string{}}
	top, err := w.list(a.Source)
	if err != nil {
		return err
	}
	if len(top.folders) == 0 {
		return noFolders(top)
	}
	if o.Classes == nil && !slices.ContainsFunc(top.folders, func(f string) bool {
		return !slices.Contains(partNames, strings.ToLower(f))
	}) {
		return fmt.Errorf("its folders look like parts of a data set, not like classes: %s; "+
			"open one of them, such as %s, or name them as the classes that are wanted",
			suggest.List(top.folders), filepath.Join(a.Source, top.folders[0]))
	}
	a.other(top, append(top.pictures, top.others...))
	var empty []string
	for class, name := range top.folders {
		if !utf8.ValidString(name) {
			return fmt.Errorf("the name of the folder %q is not UTF-8: give it another one", name)
		}
		listings, err := w.below(filepath.Join(a.Source, name))
		if err != nil {
			return err
		}
		before, others, first := len(a.items), 0, ""
		for _, l := range listings {
			for _, p := range l.pictures {
				a.items = append(a.items, item{path: filepath.Join(l.path, p), class: int32(class)})
			}
			a.other(l, l.others)
			if others += len(l.others); first == "" && others > 0 {
				first = l.others[0]
			}
		}
		if len(a.items) > before || o.Absent || o.Classes != nil && !slices.Contains(o.Classes, name) {
			continue
		}
		if others > 0 {
			empty = append(empty, fmt.Sprintf("%q (%d files of other kinds, such as %q)", name, others, first))
		} else {
			empty = append(empty, fmt.Sprintf("%q", name))
		}
	}
	if len(empty) > 0 {
		const most = 3
		more := ""
		if n := len(empty) - most; n > 0 {
			more = fmt.Sprintf(" and %d more", n)
		}
		return fmt.Errorf("folders of classes hold no pictures (%s): %s%s; put some there, or take the folders away",
			strings.Join(extensions, " "), strings.Join(empty[:min(most, len(empty))], ", "), more)
	}
	return a.setClasses(found{"folder", top.folders, func(string) string { return "" }}, o)
}

// noFolders words what is wrong with a folder that holds none, and what to do.
func noFolders(top listing) error {
	var hint string
	if i := slices.IndexFunc(top.others, isTable); i >= 0 {
		hint = fmt.Sprintf("; did you mean the table %s?", filepath.Join(top.path, top.others[i]))
	}
	const want = `make a folder for each class, named as the class, and put its pictures there, or open a table (.csv, .tsv, .jsonl) of paths and labels`
	if len(top.pictures) > 0 {
		return fmt.Errorf("pictures lie in it directly (%d, such as %q), so that their classes are not known: %s%s",
			len(top.pictures), top.pictures[0], want, hint)
	}
	return fmt.Errorf("it holds no folders: %s%s", want, hint)
}

// below lists a folder and those in it at any depth, in the order of their paths' bytes, as torchvision's make_dataset
// sorts what os.walk gives.
func (w *walk) below(path string) ([]listing, error) {
	var all []listing
	todo := []string{path}
	for len(todo) > 0 {
		l, err := w.list(todo[0])
		if err != nil {
			return nil, err
		}
		todo = todo[1:]
		all = append(all, l)
		for _, f := range l.folders {
			todo = append(todo, filepath.Join(l.path, f))
		}
	}
	slices.SortFunc(all, func(a, b listing) int { return cmp.Compare(a.path, b.path) })
	return all, nil
}

// other counts files that are not in the album.
func (a *Album) other(l listing, names []string) {
	if a.Others == 0 && len(names) > 0 {
		a.FirstOther = filepath.Join(l.path, names[0])
	}
	a.Others += len(names)
}

// list reads one folder.
func (w *walk) list(path string) (listing, error) {
	info, err := os.Stat(path)
	if err != nil {
		return listing{}, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		id := fileID{uint64(s.Dev), s.Ino}
		if first, again := w.ways[id]; again {
			return listing{}, fmt.Errorf("%s and %s are the same folder, so that its pictures would count twice: take away the link", first, path)
		}
		w.ways[id] = path
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return listing{}, err
	}
	l := listing{path: path}
	for _, e := range entries { // sorted by name
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		isPicture := slices.Contains(extensions, strings.ToLower(filepath.Ext(name)))
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(path, name))
			switch {
			case err == nil:
				mode = info.Mode()
			case isPicture || !errors.Is(err, fs.ErrNotExist):
				return listing{}, fmt.Errorf("following a symbolic link: %w", err)
			}
		}
		switch {
		case mode.IsDir():
			l.folders = append(l.folders, name)
		case mode.IsRegular() && isPicture:
			l.pictures = append(l.pictures, name)
		default:
			l.others = append(l.others, name)
		}
	}
	return l, nil
}
