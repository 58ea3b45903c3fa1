package annotation

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// fuzz opens what is in a folder that has a.png, b.png and c.png, and checks what every set promises.
func fuzz(t *testing.T, folder, open string, files map[string][]byte) {
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []Options{{}, {Skip: true, Clip: true, VOC: VOC{Origin: ZeroBased, Unannotated: true}}} {
		s, err := Open(filepath.Join(folder, open), o)
		if err != nil {
			if !strings.Contains(err.Error(), folder) {
				t.Fatalf("the error does not name the file: %v", err)
			}
			continue
		}
		if len(s.Classes) != len(s.CategoryIDs) || s.Len() == 0 {
			t.Fatalf("%d classes, %d ids, %d pictures", len(s.Classes), len(s.CategoryIDs), s.Len())
		}
		for _, p := range s.Pictures {
			for _, b := range p.Boxes {
				w, h := float64(p.Width), float64(p.Height)
				inside := b.X1 >= -1 && b.Y1 >= -1 && b.X2 <= w+1 && b.Y2 <= h+1
				if b.Class < 0 || b.Class >= len(s.Classes) || !(b.X2 > b.X1 && b.Y2 > b.Y1) || !inside || !(b.Area >= 0) || math.IsInf(b.Area, 0) {
					t.Fatalf("%+v on %+v", b, p)
				}
			}
		}
		if err := s.writeCOCO(io.Discard, folder); err != nil {
			t.Fatal(err)
		}
	}
}

func fuzzFolder(f *testing.F) string {
	runtime.GOMAXPROCS(1) // what is covered must not depend on goroutines, or all time goes into minimizing
	folder := f.TempDir()
	for _, name := range []string{"a.png", "b.png", "c.png"} {
		writePNG(f, filepath.Join(folder, name), 10, 10)
	}
	return folder
}

func FuzzCOCO(f *testing.F) {
	f.Add([]byte(strings.ReplaceAll(strings.ReplaceAll(coco, `"width": 100, "height": 80`, ""), "sub/", "")))
	f.Add([]byte(cocoOf(`{"id":1,"file_name":"a.png"}`, `{"id":1,"image_id":1,"category_id":1,"bbox":[1,NaN,-Infinity,2]}`, `{"id":1,"name":"x"}`)))
	f.Add([]byte(cocoOf(`{"id":1,"file_name":"a.png"}`, `{"id":1,"image_id":1,"category_id":1,"bbox":[1,2,3,4],"iscrowd":1}`, `{"id":1,"name":"x"}`)))
	folder := fuzzFolder(f)
	f.Fuzz(func(t *testing.T, b []byte) { fuzz(t, folder, "x.json", map[string][]byte{"x.json": b}) })
}

func FuzzVOC(f *testing.F) {
	f.Add([]byte(vocFileOf("a.png", 10, 10, vocObject("dog", 0, 1, 1, 10, 8), vocObject("cat", 1, 3, 2.5, 4, 5))))
	f.Add([]byte(vocFileOf("../b.png", 0, 0, vocObject("<b/>", 1, 0, 0, "1e9", "NaN"))))
	folder := fuzzFolder(f)
	f.Fuzz(func(t *testing.T, b []byte) { fuzz(t, folder, ".", map[string][]byte{"x.xml": b}) })
}

func FuzzYOLO(f *testing.F) {
	f.Add([]byte("names: [x, y]\ntrain: x\nnc: 2"), []byte("0 .5 .5 .1 .1\n1 .1 .1 .2 .2 .3 .4\n"))
	f.Add([]byte("path: gone\nnames: {0: x, 1: y}\ntrain: [x]\n"), []byte("1.0 1e-300 .5 nan .1\n\n"))
	folder := fuzzFolder(f)
	f.Fuzz(func(t *testing.T, yaml, labels []byte) {
		if strings.ContainsAny(string(yaml), "/.\\") { // it may name the whole disk
			return
		}
		fuzz(t, folder, "data.yaml", map[string][]byte{"data.yaml": yaml, "a.txt": labels})
	})
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("path,x1,y1,x2,y2,class\na.png,1,1,2,2,x\nb.png,,,,,\n"), false)
	f.Add([]byte("\xef\xbb\xbfclass\tpath\tx1\ty1\tx2\ty2\r\n\"x\"\ta.png\t1e0\tinf\t3\t0x1p-2\r\n"), true)
	folder := fuzzFolder(f)
	f.Fuzz(func(t *testing.T, b []byte, tabs bool) {
		name := map[bool]string{false: "x.csv", true: "x.tsv"}[tabs]
		fuzz(t, folder, name, map[string][]byte{name: b})
	})
}
