package pth

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzOpen checks that a file that opens keeps every promise: names that are found, elements that lie in the file, and
// copies of the length that shape and dtype ask for; and that no file makes much be allocated.
func FuzzOpen(f *testing.F) {
	for _, a := range attacks {
		if len(a.file) < 4096 {
			f.Add([]byte(a.file))
		}
	}
	files, err := filepath.Glob("testdata/*.pth")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkFile(t, b) })
}

// FuzzPickle is FuzzOpen for the pickle in an archive, which the archive's own fields do not stand in the way of.
func FuzzPickle(f *testing.F) {
	f.Add([]byte(stateOf(six)), false)
	f.Add([]byte(legacySix), true)
	for _, path := range []string{"views", "protocol1", "protocol2", "protocol4", "protocol5", "training"} {
		b, err := os.ReadFile("testdata/" + path + ".pth")
		if err != nil {
			f.Fatal(err)
		}
		a, err := openArchive(path, b)
		if err != nil {
			f.Fatal(err)
		}
		e, _ := a.find("data.pkl")
		f.Add(b[e.begin:e.end], false)
	}
	f.Fuzz(func(t *testing.T, pickle []byte, legacy bool) {
		if legacy {
			checkFile(t, []byte(legacyFile(string(pickle), keyList("7"), string(le64(6))+sixFloats)))
			return
		}
		checkFile(t, []byte(archived(string(pickle), content{"a/data/1", sixFloats}, content{"a/data/2", "12345678"})))
	})
}

func checkFile(t *testing.T, b []byte) {
	before := allocated()
	file, err := Parse("fuzz", b)
	if used := allocated() - before; used > 100<<20 {
		t.Fatalf("%d bytes were allocated", used)
	}
	if err != nil {
		if _, ok := err.(*Error); !ok || !strings.HasPrefix(err.Error(), "fuzz: ") {
			t.Fatalf("the error does not name the file: %v", err)
		}
		return
	}
	if len(file.Names()) == 0 {
		t.Fatal("a file without tensors opened")
	}
	for _, name := range file.Names() {
		x, ok := file.Tensor(name)
		if !ok || x.Name != name || len(x.Shape) != len(x.Strides) || x.DType.Size() == 0 {
			t.Fatalf("%q: %v", name, x)
		}
		size := x.Len() * x.DType.Size()
		if size < 0 || size > 64<<20 || x.Offset < 0 || len(x.Data) > len(b) {
			t.Fatalf("%q: %d bytes at %d, shape %v, %d of data", name, size, x.Offset, x.Shape, len(x.Data))
		}
		if size > 1<<20 { // a tensor that repeats its elements
			continue
		}
		if got := len(x.Bytes()); got != size {
			t.Fatalf("%q: %d bytes, want %d", name, got, size)
		}
		if got := x.CopyTo(make([]byte, size)); got != size {
			t.Fatalf("%q: copied %d bytes, want %d", name, got, size)
		}
	}
}
