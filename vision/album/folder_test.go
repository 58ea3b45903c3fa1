package album

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The same classes and the same order as in torchvision's ImageFolder, whatever order the files were made in.
func TestFolderIsImageFolder(t *testing.T) {
	text, err := os.ReadFile("testdata/imagefolder.json")
	require.NoError(t, err)
	var golden struct {
		Files   []string
		Links   map[string]string
		Classes []string
		Samples [][2]any
	}
	require.NoError(t, json.Unmarshal(text, &golden))
	var names []string
	var classes []int
	for _, s := range golden.Samples {
		names = append(names, s[0].(string))
		classes = append(classes, int(s[1].(float64)))
	}
	require.Len(t, names, 26)
	for _, backwards := range []bool{false, true} {
		dir := t.TempDir()
		for i, f := range golden.Files {
			if backwards {
				f = golden.Files[len(golden.Files)-1-i]
			}
			write(t, filepath.Join(dir, f), nil)
		}
		for name, target := range golden.Links {
			require.NoError(t, os.Symlink(filepath.Join(dir, target), filepath.Join(dir, name)))
		}
		a := open(t, filepath.Join(dir, "pictures"), Options{})
		gotNames, gotClasses := paths(t, a)
		assert.Equal(t, golden.Classes, a.Classes)
		assert.Equal(t, names, gotNames)
		assert.Equal(t, classes, gotClasses)
		assert.Equal(t, 2, a.Others)
		assert.Equal(t, filepath.Join(dir, "pictures", "README.md"), a.FirstOther)
	}
}

func TestFolderPassesOver(t *testing.T) {
	dir := tree(t, "a/0.png", "a/.hidden.png", ".git/1.png", "a/.cache/2.png", "a/scan.psd", "a/b/scan.eps", "a/b/moving.GIF", "stray.png")
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "a", "old.txt")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "a", "pipe.png"), 0o600))
	require.NoError(t, os.Symlink("0.png", filepath.Join(dir, "a", "same.png")))
	a := open(t, dir, Options{})
	names, _ := paths(t, a)
	assert.Equal(t, []string{"a/0.png", "a/same.png", "a/b/moving.GIF"}, names)
	assert.Equal(t, []string{"a"}, a.Classes)
	assert.Equal(t, 5, a.Others) // stray.png, old.txt, pipe.png, scan.psd, scan.eps
	assert.Equal(t, filepath.Join(dir, "stray.png"), a.FirstOther)
}

func TestFolderRefuses(t *testing.T) {
	link := func(target, name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink(filepath.Join(dir, target), filepath.Join(dir, name)))
		}
	}
	folders := func(names ...string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			for _, n := range names {
				require.NoError(t, os.MkdirAll(filepath.Join(dir, n), 0o700))
			}
		}
	}
	for _, c := range []struct {
		name  string
		files string
		more  func(*testing.T, string)
		o     Options
		want  string // DIR stands for the folder
	}{
		{"nothing", "", nil, Options{},
			"it holds no folders: make a folder for each class, named as the class, and put its pictures there, or open a table (.csv, .tsv, .jsonl) of paths and labels"},
		{"no class folders", "b.png a.png notes.txt", nil, Options{},
			`pictures lie in it directly (2, such as "a.png"), so that their classes are not known: make a folder for each class, named as the class, and put its pictures there, or open a table (.csv, .tsv, .jsonl) of paths and labels`},
		{"a table beside them", "a.png labels.csv", nil, Options{},
			`pictures lie in it directly (1, such as "a.png"), so that their classes are not known: make a folder for each class, named as the class, and put its pictures there, or open a table (.csv, .tsv, .jsonl) of paths and labels; did you mean the table DIR/labels.csv?`},
		{"empty class", "cat/a.png", folders("dog"), Options{},
			`folders of classes hold no pictures (.bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp): "dog"; put some there, or take the folders away`},
		{"only other files", "cat/a.png dog/a.psd dog/deep/b.psd emu/.a.png", folders("fox", "gnu"), Options{},
			`folders of classes hold no pictures (.bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp): "dog" (2 files of other kinds, such as "a.psd"), "emu", "fox" and 1 more; put some there, or take the folders away`},
		{"empty class that is wanted", "cat/a.png dog/a.png", folders("emu", "fox"), Options{Classes: []string{"cat", "emu"}, Subset: true},
			`folders of classes hold no pictures (.bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp): "emu"; put some there, or take the folders away`},
		{"parts", "train/cat/a.png Val/cat/b.png", nil, Options{},
			`its folders look like parts of a data set, not like classes: "Val", "train"; open one of them, such as DIR/Val, or name them as the classes that are wanted`},
		{"loop", "cat/a.png", link("cat", "cat/again"), Options{},
			"DIR/cat and DIR/cat/again are the same folder, so that its pictures would count twice: take away the link"},
		{"loop to the top", "cat/a.png", link(".", "cat/top"), Options{},
			"DIR and DIR/cat/top are the same folder, so that its pictures would count twice: take away the link"},
		{"two ways", "cat/a.png dog/b.png", link("cat", "dog/cats"), Options{},
			"DIR/cat and DIR/dog/cats are the same folder, so that its pictures would count twice: take away the link"},
		{"loop of links", "cat/a.png", link("cat/x", "cat/x"), Options{},
			"following a symbolic link: stat DIR/cat/x: too many levels of symbolic links"},
		{"broken link", "cat/a.png", link("nowhere", "cat/b.jpg"), Options{},
			"following a symbolic link: stat DIR/cat/b.jpg: no such file or directory"},
		{"not UTF-8", "cat/a.png caf\xe9/a.png", nil, Options{},
			`the name of the folder "caf\xe9" is not UTF-8: give it another one`},
		{"unknown folder", "cat/a.png doog/a.png", nil, Options{Classes: []string{"dog", "cat"}},
			`the folder "doog" is not a class; there is no picture of the class "dog"; the folders are "cat", "doog"; the classes are "dog", "cat"; did you mean "dog"?`},
		{"unknown folders", "cat/a.png emu/a.png fox/a.png", nil, Options{Classes: []string{"cat"}},
			`the folders "emu", "fox" are not classes; the classes are "cat"`},
		{"no folder for a class", "cat/a.png dog/a.png", nil, Options{Classes: []string{"cat", "doog", "gnu"}, Subset: true},
			`there are no pictures of the classes "doog", "gnu"; the folders are "cat", "dog"; did you mean "dog"?`},
		{"nothing wanted is there", "cat/a.png", nil, Options{Classes: []string{"emu"}, Subset: true, Absent: true},
			"it holds no pictures"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, strings.Fields(c.files)...)
			if c.more != nil {
				c.more(t, dir)
			}
			a, err := Open(dir, c.o)
			require.Nil(t, a)
			require.EqualError(t, err, "opening pictures: "+dir+": "+strings.ReplaceAll(c.want, "DIR", dir))
		})
	}
}

func TestFolderUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := tree(t, "cat/a.png", "cat/b/a.png")
	require.NoError(t, os.Chmod(filepath.Join(dir, "cat", "b"), 0))
	defer os.Chmod(filepath.Join(dir, "cat", "b"), 0o700)
	_, err := Open(dir, Options{})
	require.ErrorIs(t, err, os.ErrPermission)
	require.ErrorContains(t, err, "cat/b")
}

func TestFolderClasses(t *testing.T) {
	dir := tree(t, "cat/0.png", "dog/1.png", "dog/2.png", "emu/3.png")
	require.NoError(t, os.Mkdir(filepath.Join(dir, "gnu"), 0o700))
	a := open(t, dir, Options{Classes: []string{"emu", "cat"}, Subset: true})
	names, classes := paths(t, a)
	assert.Equal(t, []string{"cat/0.png", "emu/3.png"}, names)
	assert.Equal(t, []int{1, 0}, classes)
	assert.Equal(t, 2, a.LeftOut)

	a = open(t, dir, Options{Absent: true})
	assert.Equal(t, []string{"cat", "dog", "emu", "gnu"}, a.Classes)
	assert.Equal(t, []int{1, 2, 1, 0}, a.Counts())
	a = open(t, dir, Options{Classes: []string{"fox", "gnu", "emu", "dog", "cat"}, Absent: true})
	assert.Equal(t, []int{0, 0, 1, 2, 1}, a.Counts())

	// Folders with the names of parts are classes for whoever says so.
	dir = tree(t, "train/0.png", "test/1.png")
	assert.Equal(t, []int{1, 1}, open(t, dir, Options{Classes: []string{"train", "test"}}).Counts())
	dir = tree(t, "train/0.png", "plane/1.png")
	assert.Equal(t, []string{"plane", "train"}, open(t, dir, Options{}).Classes)
}
