package safetensors

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func replaceDir(s, dir string) string { return strings.ReplaceAll(s, "DIR", dir) }

// FuzzOpen checks that a file that opens keeps every promise: views inside the file that cover its
// data once, and the same content when it is written and read again.
func FuzzOpen(f *testing.F) {
	for _, a := range attacks {
		if len(a.file) < 4096 {
			f.Add([]byte(a.file))
		}
	}
	for _, g := range goldens {
		b, err := os.ReadFile(filepath.Join("testdata", g.name+".safetensors"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("fuzz", b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz: ") {
				t.Fatalf("the error does not name the file: %v", err)
			}
			return
		}
		total := 0
		for _, name := range file.Names() {
			tensor, ok := file.Tensor(name)
			if size, err := tensor.DType.ByteSize(tensor.Shape); !ok || err != nil || size != len(tensor.Data) {
				t.Fatalf("%q: %d bytes, want %d (%v)", name, len(tensor.Data), size, err)
			}
			total += len(tensor.Data)
		}
		header, sorted, _, err := prepare(file.tensors, file.metadata)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		for _, tensor := range sorted {
			header = append(header, tensor.Data...)
		}
		again, err := Parse("again", header)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		for _, want := range file.tensors {
			got, ok := again.Tensor(want.Name)
			if !ok || got.DType != want.DType || string(got.Data) != string(want.Data) {
				t.Fatalf("%q changed: %v, was %v", want.Name, got, want)
			}
			total -= len(got.Data)
		}
		if total != 0 || len(again.metadata) != len(file.metadata) {
			t.Fatal("something was lost")
		}
	})
}

// FuzzIndex checks that no index leads out of its folder.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":19},"weight_map":{"c":"2.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"c":"../2.safetensors"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		weights, err := parseIndex("fuzz", b)
		if err != nil {
			return
		}
		for _, shard := range weights {
			if filepath.Base(shard) != shard || !filepath.IsLocal(shard) {
				t.Fatalf("shard %q", shard)
			}
		}
	})
}
