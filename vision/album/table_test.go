package album

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
)

func TestTable(t *testing.T) {
	dir := tree(t, "pics/0.png", "pics/1.jpg", "2.gif", "a b.png")
	elsewhere := filepath.Join(tree(t, "3.png"), "3.png")
	for name, content := range map[string]string{
		"t.csv":      "label,file,image\n10,x,pics/0.png\n9,x,\"a b.png\"\n\n10,x,./pics/../2.gif\n9,x," + elsewhere + "\n",
		"t.tsv":      "image\tlabel\npics/0.png\t10\na b.png\t9\n\n2.gif\t10\n" + elsewhere + "\t9\n",
		"t.JSONL.gz": `{"image":"pics/0.png","label":10}` + "\n" + `{"image":"a b.png","label":"9"}` + "\n\n\n" + `{"image":"2.gif","label":10}` + "\n" + `{"image":"` + elsewhere + `","label":9}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := []byte(content)
			if strings.HasSuffix(name, ".gz") {
				b = zipped(t, b)
			}
			write(t, filepath.Join(dir, "tables", name), b)
			require.NoError(t, os.Rename(filepath.Join(dir, "tables", name), filepath.Join(dir, name)))
			a := open(t, filepath.Join(dir, name), Options{})
			var names []string
			for i := range a.Len() {
				names = append(names, a.Name(i))
				_, err := a.Picture(i, picture.Options{})
				require.NoError(t, err)
			}
			assert.Equal(t, []string{dir + "/pics/0.png", dir + "/a b.png", dir + "/2.gif", elsewhere}, names)
			assert.Equal(t, []string{"9", "10"}, a.Classes)
			assert.Equal(t, []int{2, 2}, a.Counts())
			assert.Equal(t, 1, a.Class(0))
		})
	}
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return z.Bytes()
}

func TestTableColumnsAndClasses(t *testing.T) {
	dir := tree(t, "0.png", "1.png", "2.png")
	path := filepath.Join(dir, "t.csv")
	write(t, path, []byte("path,kind\n0.png,cat\n1.png,dog\n2.png,cat\ngone.png,emu\n"))
	o := Options{Columns: Columns{Image: "path", Label: "kind"}, Classes: []string{"dog", "cat"}, Subset: true}
	a := open(t, path, o) // the picture that is not there is not wanted
	assert.Equal(t, []int{1, 2}, a.Counts())
	assert.Equal(t, 1, a.LeftOut)

	write(t, a.Name(2), []byte("x"))
	_, err := a.Picture(2, picture.Options{})
	require.ErrorContains(t, err, path+":4: reading picture "+dir+"/2.png: ")
	require.NoError(t, os.Remove(a.Name(2)))
	_, err = a.Bytes(2)
	require.ErrorContains(t, err, path+":4: reading picture "+dir+"/2.png: no such file or directory")
}

func TestTableRefuses(t *testing.T) {
	for _, c := range []struct {
		name, content string
		o             Options
		want          string
	}{
		{"column", "file,label\n0.png,a\n", Options{}, `FILE:1: there is no column "image"; the columns are "file", "label"`},
		{"no path", "image,label\n0.png,a\n,b\n", Options{}, `FILE:3: the path (column "image") is empty`},
		{"no label", "image,label\n0.png,\n", Options{}, `FILE:2: the label (column "label") is empty`},
		{"no rows", "image,label\n", Options{}, `FILE: the file has no rows`},
		{"missing", "image,label\n0.png,a\n1.png,a\n../0.png,b\nsub,a\n2.png,a\n\n3.png,b\n", Options{},
			`FILE: 5 of its 6 pictures are not there: line 3: "DIR/1.png": no such file or directory; line 4: "PARENT/0.png": no such file or directory; line 5: "DIR/sub": not a file; and 2 more; paths are relative to DIR`},
		{"no paths at all", "image,label\n" + strings.Repeat("x", 5000) + ",a\n", Options{}, "file name too long; paths are relative to DIR"},
		{"unknown label", "image,label\n0.png,cat\n0.png,Dog\n0.png,Dog\n", Options{Classes: []string{"cat", "dog"}, Absent: true},
			`FILE:3: the label "Dog" is not a class; the classes are "cat", "dog"; did you mean "dog"?`},
		{"no rows of a class", "image,label\n0.png,cat\n", Options{Classes: []string{"cat", "dog"}},
			`FILE: there is no picture of the class "dog"; the labels are "cat"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, "0.png", "sub/0.png")
			path := filepath.Join(dir, "t.csv")
			write(t, path, []byte(c.content))
			_, err := Open(path, c.o)
			require.Error(t, err)
			want := strings.NewReplacer("FILE", path, "DIR", dir, "PARENT", filepath.Dir(dir)).Replace(c.want)
			if strings.HasPrefix(c.want, "FILE") {
				require.EqualError(t, err, "opening pictures: "+want)
			} else {
				require.ErrorContains(t, err, want)
			}
			require.Less(t, len(err.Error()), 1000)
		})
	}
}
