package annotation

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostile is a folder of files that must be refused for a reason that names what is wrong.
type hostile struct {
	name, open, why string
	files           map[string]string
}

func one(name, open, why, content string) hostile {
	return hostile{name, open, why, map[string]string{open: content, "a.png": "10x10"}}
}

func cocoOf(images, annotations, categories string) string {
	return fmt.Sprintf(`{"images": [%s], "annotations": [%s], "categories": [%s]}`, images, annotations, categories)
}

func vocFault(name, why, content string) hostile {
	return hostile{name, ".", why, map[string]string{"a.xml": content, "a.png": "10x10"}}
}

func yoloFault(name, why, names, labels string) hostile {
	return hostile{name, ".", why, map[string]string{"classes.txt": names, "a.png": "10x10", "a.txt": labels}}
}

const many = 1 << 20 // of what is repeated in files that should take no memory

func hostileFiles() []hostile {
	again := strings.Repeat
	bomb := "<!DOCTYPE annotation [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>" +
		"<annotation><filename>&b;</filename></annotation>"
	image := `{"id": 1, "file_name": "a.png", "width": 10, "height": 10}`
	category := `{"id": 1, "name": "x"}`
	return []hostile{
		one("COCO, empty", "x.json", "x.json: the file is empty", ""),
		one("COCO, cut off", "x.json", "x.json: annotations[0]: the file is cut off", `{"images": [], "annotations": [{"id": 1, "bbox": [1,`),
		one("COCO, a list", "x.json", "it is a list, such as COCO's results", `[{"image_id": 1}]`),
		one("COCO, a number", "x.json", "want an object with images", `17`),
		one("COCO, no JSON", "x.json", "not JSON at byte 1", `hello`),
		one("COCO, something behind", "x.json", "something follows the object", cocoOf(image, "", category)+"{}"),
		one("COCO, a list twice", "x.json", "the key images is there twice", `{"images": [], "images": []}`),
		one("COCO, no annotations", "x.json", "there is no list annotations", `{"images": [], "categories": []}`),
		one("COCO, images an object", "x.json", "images: want a list, found {", `{"images": {"id": 1}}`),
		one("COCO, deep outside", "x.json", "info: values are nested more than 1000 deep", `{"info": `+again("[", many)),
		one("COCO, deep inside", "x.json", "annotations[0]: not JSON at byte", cocoOf(image, `{"segmentation": `+again("[", many), "")),
		one("COCO, deep objects", "x.json", "x: values are nested more than 1000 deep", `{"x": `+again(`{"x":`, many)),
		one("COCO, a string without end", "x.json", "info: an entry is longer than 32 MiB", `{"info": "`+again("a", 48<<20)),
		one("COCO, an outline without end", "x.json", "annotations[0]: an entry is longer than 32 MiB",
			cocoOf(image, `{"segmentation": [`+again("1,", 20<<20), "")),
		one("COCO, categories with one id", "x.json", "categories[1]: the id 1 is that of categories[0] too",
			cocoOf(image, "", category+`, {"id": 1, "name": "y"}`)),
		one("COCO, categories with one name", "x.json", `categories[1]: the name "x" is that of categories[0] too`,
			cocoOf(image, "", category+`, {"id": 2, "name": "x"}`)),
		one("COCO, id of 1e400", "x.json", "categories[0]: the id must be a whole number, not 1e400", cocoOf("", "", `{"id": 1e400, "name": "x"}`)),
		one("COCO, enormous box", "x.json", "annotations[0] (id 1): the box x 1e+300",
			cocoOf(image, `{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1e300, 1, 1e300, 1]}`, category)),
		one("COCO, a picture of a billion pixels a side", "x.json", "images[0] (id 1): width and height must be numbers of pixels",
			cocoOf(`{"id": 1, "file_name": "a.png", "width": 1e300, "height": 1}`, "", category)),
		one("COCO, a name with NUL", "x.json", "none of its 1 picture is there", cocoOf(`{"id": 1, "file_name": "a\u0000.png"}`, "", category)),
		one("COCO, millions of null", "x.json", "1,048,577 faults: incomplete or misspelled entry (1,048,577)",
			cocoOf(image, again("{},", many)+"{}", category)),
		one("COCO, UTF-16", "x.json", "the file is UTF-16; save it as UTF-8", "\xff\xfe{\x00}\x00"),
		one("COCO, git-lfs", "x.json", "this is a git-lfs pointer", "version https://git-lfs.github.com/spec/v1\n"),

		vocFault("VOC, empty", "a.xml: the file is empty", ""),
		vocFault("VOC, cut off", "a.xml:2: not XML: unexpected EOF", "<annotation>\n<object><name>x"),
		vocFault("VOC, entities", "not XML: invalid character entity &b;", bomb),
		vocFault("VOC, deep", "a.xml:1: elements are nested more than 1000 deep", "<annotation>"+again("<a>", many)),
		vocFault("VOC, no end", "more than the 4,194,304", "<annotation>"+again(" ", 5<<20)),
		vocFault("VOC, deep in a name", "a.xml:1: elements are nested more than 1000 deep", "<annotation><filename>"+again("<a>", many)),
		vocFault("VOC, attributes", "a.xml:1: not XML: unexpected EOF", "<annotation "+again(`a="" `, many*3/5)),
		vocFault("VOC, another document", `the document is "html", not annotation`, "<html></html>"),
		vocFault("VOC, Latin-1", "save it as UTF-8", `<?xml version="1.0" encoding="windows-1251"?><annotation></annotation>`),
		vocFault("VOC, a size of letters", `a.xml:1: the width "wide" is no number of pixels`, "<annotation><size><width>wide</width></size></annotation>"),
		vocFault("VOC, NaN", "a.xml:5: the box x NaN to 5", vocFileOf("a.png", 10, 10, vocObject("x", 0, "NaN", 1, 5, 5))),
		vocFault("VOC, enormous number", "a.xml:5: the box x +Inf", vocFileOf("a.png", 10, 10, vocObject("x", 0, "1e999", 1, 5, 5))),
		vocFault("VOC, a word", `a.xml:5: ymax is "low", not a number`, vocFileOf("a.png", 10, 10, vocObject("x", 0, 1, 1, 5, "low"))),
		vocFault("VOC, no box", "a.xml:5: the object has no bndbox", vocFileOf("a.png", 10, 10, "<object><name>x</name></object>")),
		vocFault("VOC, no name", "a.xml:5: the object has no name", vocFileOf("a.png", 10, 10, vocObject("", 0, 1, 1, 5, 5))),
		vocFault("VOC, millions of classes", "there are more than 10,000 classes", vocFileOf("a.png", 10, 10, classes(11_000)...)),

		yoloFault("YOLO, class behind the last", `a.txt:1: there is no class 2: they are 0 to 1, "x", "y"`, "x\ny\n", "2 .5 .5 .1 .1"),
		yoloFault("YOLO, class of a billion", "a.txt:1: there is no class 1e300", "x\n", "1e300 .5 .5 .1 .1"),
		yoloFault("YOLO, negative class", `a.txt:1: the class "-1" is no number`, "x\n", "-1 .5 .5 .1 .1"),
		yoloFault("YOLO, NaN", `a.txt:2: "nan" is not a finite number`, "x\n", "0 .5 .5 .1 .1\n0 nan .5 .1 .1"),
		yoloFault("YOLO, pixels", "a.txt:1: the numbers 50 60 10 10 are no fractions", "x\n", "0 50 60 10 10"),
		yoloFault("YOLO, a score", "found 6 fields: is the last a score", "x\n", "0 .5 .5 .1 .1 .9"),
		yoloFault("YOLO, a negative width", "a.txt:1: the box x 5.5 to 4.5, y 4.5 to 5.5 has no area", "x\n", "0 .5 .5 -.1 .1"),
		yoloFault("YOLO, a line without end", "a.txt:2: a line is longer than 1,048,576 bytes", "x\n", "0 .5 .5 .1 .1\n"+again("0 ", 4<<20)),
		yoloFault("YOLO, a class twice", `classes.txt:2: the name "x" is that of class 0 too`, "x\nx\n", ""),
		yoloFault("YOLO, a class without a name", "classes.txt:3: a blank line stands before it", "x\n\ny\n", ""),
		one("YOLO, aliases", "data.yaml", "line 10: names: want a list of names", aliases()),
		one("YOLO, deep", "data.yaml", "not YOLO's YAML", again("[", 100_000)),
		one("YOLO, gaps", "data.yaml", "the 2 classes are not numbered from 0 without gaps", "names: {0: x, 4000000000: y}\ntrain: ."),
		one("YOLO, a wrong count", "data.yaml", "nc is 1000000000, but names has 1 classes", "names: [x]\nnc: 1000000000\ntrain: ."),
		one("YOLO, nothing there", "data.yaml", `train: "gone" is not there`, "names: [x]\ntrain: gone"),

		one("table, empty", "t.csv", "t.csv: the file is empty", ""),
		one("table, no columns", "t.csv", `t.csv:1: there is no column "path"`, "a,b\n1,2\n"),
		one("table, a quote without end", "t.csv", "t.csv:2: a quoted field in the row that starts here is not closed",
			"path,x1,y1,x2,y2,class\n\"a,1,1,2,2,x\n"),
		one("table, a row without end", "t.csv", "t.csv:2: a line is longer than 1,048,576 bytes",
			"path,x1,y1,x2,y2,class\n\""+again("a\n", 4<<20)),
		{"table, NaN", "t.csv", "t.csv:2: x1 is \"NaN\", not a finite number", map[string]string{
			"t.csv": "path,x1,y1,x2,y2,class\na.png,NaN,1,2,2,x\n", "a.png": "10x10"}},
		{"table, enormous number", "t.csv", "t.csv:2: x2 is \"1e999\", not a finite number", map[string]string{
			"t.csv": "path,x1,y1,x2,y2,class\na.png,1,1,1e999,2,x\n", "a.png": "10x10"}},
		{"table, a short row", "t.csv", "t.csv:2: expected 6 columns, got 2", map[string]string{
			"t.csv": "path,x1,y1,x2,y2,class\na.png,1\n", "a.png": "10x10"}},
	}
}

func classes(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = vocObject(fmt.Sprint("c", i), 0, 1, 1, 5, 5)
	}
	return list
}

// aliases is a YAML document that would be of 10^9 strings.
func aliases() string {
	text := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := range 8 {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d,", i), 9)+fmt.Sprintf("*a%d", i))
	}
	return text + "names: *a8\ntrain: .\n"
}

// Each file is refused for its reason, with faults skipped too where nothing is left; nothing is written, and no file
// takes more memory than entries may have.
func TestHostile(t *testing.T) {
	files := hostileFiles()
	require.GreaterOrEqual(t, len(files), 40)
	for _, h := range files {
		t.Run(h.name, func(t *testing.T) {
			folder := write(t, h.files)
			before := listing(t, folder)
			var err error
			runtime.GC()
			peak := peakHeap(func() { _, err = Open(filepath.Join(folder, h.open), Options{}) })
			require.Error(t, err)
			assert.Contains(t, strings.ReplaceAll(err.Error(), folder+"/", ""), h.why)
			assert.Contains(t, err.Error(), folder)
			assert.Less(t, len(err.Error()), 2000)
			assert.Less(t, peak, uint64(160<<20), "bytes on the heap")
			assert.Equal(t, before, listing(t, folder))
			_, err = Open(filepath.Join(folder, h.open), Options{Skip: true})
			if err != nil {
				assert.Contains(t, err.Error(), folder)
			}
		})
	}
}

func listing(t *testing.T, folder string) (names []string) {
	entries, err := os.ReadDir(folder)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		names = append(names, fmt.Sprint(e.Name(), info.Size(), info.ModTime()))
	}
	return names
}

// peakHeap is by how much the heap grows while f runs.
func peakHeap(f func()) uint64 {
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			runtime.ReadMemStats(&now)
			peak.Store(max(peak.Load(), now.HeapAlloc))
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	<-stopped
	return peak.Load() - min(before.HeapAlloc, peak.Load())
}

func TestPipesAreRefused(t *testing.T) {
	folder := write(t, map[string]string{"classes.txt": "x\n", "a.png": "10x10"})
	require.NoError(t, syscall.Mkfifo(filepath.Join(folder, "x.json"), 0o644))
	require.NoError(t, syscall.Mkfifo(filepath.Join(folder, "a.txt"), 0o644))
	_, err := Open(filepath.Join(folder, "x.json"), Options{})
	require.ErrorContains(t, err, "x.json: it is a device, pipe or socket")
	_, err = Open(folder, Options{})
	require.ErrorContains(t, err, "a.txt: it is a folder, device, pipe or socket")
	_, err = Open("/dev/null", Options{})
	require.ErrorContains(t, err, "/dev/null: it is a device, pipe or socket")
}
