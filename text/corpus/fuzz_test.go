package corpus

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// check is what every format promises of a table that it read.
func check(t *testing.T, file string, b []byte) {
	table, err := Read(file, bytes.NewReader(b), single)
	if err != nil {
		if !strings.HasPrefix(err.Error(), file+":") {
			t.Fatalf("the error does not name the file: %v", err)
		}
		return
	}
	last := 0
	for _, r := range table.Rows {
		if !utf8.ValidString(r.Text) || !utf8.ValidString(r.Label) {
			t.Fatalf("not UTF-8: %q %q", r.Text, r.Label)
		}
		if r.Label == "" {
			t.Fatalf("line %d has no label", r.Line)
		}
		if r.Line <= last || r.Line > 1+bytes.Count(b, []byte("\n")) {
			t.Fatalf("line %d after line %d", r.Line, last)
		}
		last = r.Line
	}
	if _, err := table.Indices(table.Classes()); err != nil {
		t.Fatal(err)
	}
	if utf8.Valid(b) && table.InvalidUTF8 > 0 {
		t.Fatalf("%d rows not UTF-8 in a file that is", table.InvalidUTF8)
	}
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"text,label\nx,a\n", "\xef\xbb\xbftext,label\r\n\"x\"\"\r\n,\",a\r\n", "label,text\n\n\xff,\"\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, "fuzz.csv", b) })
}

func FuzzTSV(f *testing.F) {
	for _, s := range []string{"text\tlabel\nx\ta\n", "\xef\xbb\xbftext\tlabel\r\n\"\t\"\r\n", "label\ttext\n\n\xff\t\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, "fuzz.tsv", b) })
}

func FuzzJSONL(f *testing.F) {
	for _, s := range []string{`{"text":"x","label":"a"}`, "{\"label\":-1.5e3,\"text\":null}\n\n{\"text\":\"\\ud800\",\"label\":true}", "{\"text\":\"\xff\",\"label\" : [ ] }"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, "fuzz.jsonl", b) })
}
