package annotation

import (
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision/picture"
)

// write lays files out in a new folder. A picture's content is "WIDTHxHEIGHT".
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, content := range files {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		var w, h int
		if n, _ := fmt.Sscanf(content, "%dx%d", &w, &h); n == 2 && pictureStem(name) != "" {
			writePNG(t, path, w, h)
			continue
		}
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	return folder
}

func writePNG(t testing.TB, path string, w, h int) {
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, image.NewGray(image.Rect(0, 0, w, h))))
	require.NoError(t, f.Close())
}

const coco = `{
 "info": {"year": 2026, "deep": [[{"a": "\"}]"}]]},
 "annotations": [
  {"id": 0, "image_id": 7, "category_id": 90, "bbox": [10.5, 20, 30.25, 4e1], "area": 1024, "iscrowd": 0,
   "segmentation": [[1, 2, 3, 4]]},
  {"id": 9000000000, "image_id": 3, "category_id": 2, "bbox": [0, 0, 50, 40], "area": 1.5, "iscrowd": 1,
   "segmentation": {"size": [40, 50], "counts": "abc"}},
  {"id": 5, "image_id": 7.0, "category_id": 2, "bbox": [-0.5, 0, 100.75, 80]}
 ],
 "images": [
  {"id": 7, "file_name": "a.png", "width": 100, "height": 80},
  {"id": 3, "file_name": "sub/b.png", "width": 50, "height": 40},
  {"id": 12345678901, "file_name": "c.png", "width": 10, "height": 10}
 ],
 "categories": [{"id": 90, "name": "toothbrush"}, {"id": 2, "name": "bicycle", "supercategory": "vehicle"}]
}`

func cocoFolder(t testing.TB, json string) string {
	return write(t, map[string]string{"x.json": json, "a.png": "100x80", "sub/b.png": "50x40", "c.png": "10x10"})
}

// bare takes the folder out of the pictures' paths.
func bare(folder string, pictures []Picture) []Picture {
	pictures = slices.Clone(pictures)
	for i := range pictures {
		pictures[i].Path, _ = filepath.Rel(folder, pictures[i].Path)
		if len(pictures[i].Boxes) == 0 {
			pictures[i].Boxes = nil
		}
	}
	return pictures
}

func TestCOCO(t *testing.T) {
	folder := cocoFolder(t, coco)
	s, err := Open(filepath.Join(folder, "x.json"), Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"bicycle", "toothbrush"}, s.Classes)
	assert.Equal(t, []int64{2, 90}, s.CategoryIDs)
	assert.Equal(t, []Picture{
		{7, "a.png", 100, 80, []Box{{1, 10.5, 20, 40.75, 60, 1024, false, false, 0}, {0, -0.5, 0, 100.25, 80, 8060, false, false, 5}}},
		{3, "sub/b.png", 50, 40, []Box{{0, 0, 0, 50, 40, 1.5, true, false, 9000000000}}},
		{12345678901, "c.png", 10, 10, nil},
	}, bare(folder, s.Pictures))
	assert.Equal(t, 3, s.Boxes())
	assert.Equal(t, []int{2, 1}, s.Counts())
	require.Len(t, s.Notes, 1)
	assert.Contains(t, s.Notes[0], "has the id 0: it counts here")
	assert.Equal(t, Box{X1: 0, X2: 100, Y2: 80, Area: 8060, ID: 5}, s.Pictures[0].Boxes[1].ClippedTo(100, 80))
	assert.Equal(t, 1, s.Part(func(i int) bool { return i == 1 }).Boxes())
}

func TestCOCOClasses(t *testing.T) {
	path := filepath.Join(cocoFolder(t, coco), "x.json")
	s, err := Open(path, Options{Classes: []string{"toothbrush", "bicycle"}})
	require.NoError(t, err)
	assert.Equal(t, []int64{90, 2}, s.CategoryIDs)
	assert.Equal(t, 0, s.Pictures[0].Boxes[0].Class)

	s, err = Open(path, Options{Classes: []string{"toothbrush"}, Subset: true})
	require.NoError(t, err)
	assert.Equal(t, []int{1}, s.Counts())
	assert.Equal(t, 2, s.OtherClasses)
	assert.Equal(t, 3, s.Len())

	_, err = Open(path, Options{Classes: []string{"toothbrush"}})
	require.ErrorContains(t, err, `x.json: annotations[1] (id 9000000000): the class "bicycle" is not one of "toothbrush"`)
	_, err = Open(path, Options{Classes: []string{"toothbrush", "bycicle"}})
	require.ErrorContains(t, err, `there is no class "bycicle"; the classes are "bicycle", "toothbrush"; did you mean "bicycle"?`)
	_, err = Open(path, Options{Classes: []string{"a", "a"}})
	require.ErrorContains(t, err, `the class "a" is wanted twice`)
}

func vocFileOf(filename string, w, h int, objects ...string) string {
	return fmt.Sprintf("<?xml version=\"1.0\"?>\n<annotation>\n<filename>%s</filename>\n"+
		"<size><width>%d</width><height>%d</height><depth>3</depth></size>\n%s\n</annotation>\n", filename, w, h, strings.Join(objects, "\n"))
}

func vocObject(class string, difficult, x1, y1, x2, y2 any) string {
	return fmt.Sprintf("<object><name>%s</name><difficult>%v</difficult><part><name>head</name><bndbox><xmin>7</xmin></bndbox></part>"+
		"<bndbox><xmin>%v</xmin><ymin>%v</ymin><xmax>%v</xmax><ymax>%v</ymax></bndbox></object>", class, difficult, x1, y1, x2, y2)
}

func TestVOC(t *testing.T) {
	folder := write(t, map[string]string{
		"Annotations/a.xml": vocFileOf("a.png", 100, 80, vocObject("dog", 0, 1, 1, 100, 80), vocObject("cat", 1, 11, 21.5, 20, 30)),
		"Annotations/b.xml": vocFileOf(`C:\pictures\b.jpg`, 50, 40), // the extension is another one
		"JPEGImages/a.png":  "100x80", "JPEGImages/b.png": "50x40", "JPEGImages/c.png": "10x10", "JPEGImages/notes.txt": "-",
		"train.txt": "b\n\na  1\n",
	})
	annotations := filepath.Join(folder, "Annotations")
	s, err := Open(annotations, Options{})
	require.NoError(t, err)
	assert.Equal(t, []string{"cat", "dog"}, s.Classes)
	want := []Picture{
		{1, "JPEGImages/a.png", 100, 80, []Box{{1, 0, 0, 100, 80, 8000, false, false, 1}, {0, 10, 20.5, 20, 30, 95, false, true, 2}}},
		{2, "JPEGImages/b.png", 50, 40, nil},
	}
	assert.Equal(t, want, bare(folder, s.Pictures))
	assert.Equal(t, []string{
		"boxes count pixels from 1 and include the last, as Pascal VOC's own: x1 = xmin - 1, x2 = xmax (origin: one)",
		`classes are numbered as their names are sorted: "cat", "dog"`,
		fmt.Sprintf(`there is no .xml file for 1 picture in %s/JPEGImages, such as "c.png": left out`, folder),
	}, []string{s.Notes[0], s.Notes[1], s.Notes[2]})

	s, err = Open(annotations, Options{VOC: VOC{Origin: ZeroBased, Unannotated: true}})
	require.NoError(t, err)
	assert.Equal(t, Box{1, 1, 1, 100, 80, 99 * 79, false, false, 1}, s.Pictures[0].Boxes[0])
	assert.Equal(t, 3, s.Len())
	assert.Contains(t, s.Notes[0], "edges that count from 0")

	s, err = Open(annotations, Options{VOC: VOC{List: filepath.Join(folder, "train.txt")}, Classes: []string{"dog", "cat", "cow"}})
	require.NoError(t, err)
	assert.Equal(t, "JPEGImages/b.png", bare(folder, s.Pictures)[0].Path)
	assert.Equal(t, []int{1, 1, 0}, s.Counts())
	assert.Len(t, s.Notes, 1)

	_, err = Open(folder, Options{})
	require.ErrorContains(t, err, "did you mean "+annotations)
}

func TestVOCStartingAtZero(t *testing.T) {
	folder := write(t, map[string]string{"a.xml": vocFileOf("a.png", 10, 10, vocObject("x", 0, 0, 5, 10, 10)), "a.png": "10x10"})
	_, err := Open(folder, Options{})
	require.ErrorContains(t, err, "a.xml:5: the box starts at 0, 5, but pixels count from 1 here: are these edges from 0 (origin: zero)?")
	_, err = Open(folder, Options{VOC: VOC{Origin: ZeroBased}})
	require.NoError(t, err)
	_, err = Open(folder, Options{VOC: VOC{Origin: "two"}})
	require.ErrorContains(t, err, `there is no origin "two"`)
}

func TestYOLO(t *testing.T) {
	files := map[string]string{
		"data.yaml":          "path: .\ntrain: images/train\nval: [images/val]\nnames:\n  1: dog\n  0: cat\nnc: 2\n",
		"images/train/a.png": "100x80", "images/train/b.png": "50x40", "images/val/c.png": "10x10",
		"labels/train/a.txt": "1 0.5 0.5 0.25 0.140625\n\n0.0 0.125 0.25 0.125 0.25 \n",
		"labels/val/c.txt":   "0 0.1 0.2 0.5 0.2 0.3 0.8\n",
		"flat/classes.txt":   "cat\ndog\n", "flat/a.png": "100x80", "flat/a.txt": "1 .5 .5 1 1",
	}
	folder := write(t, files)
	want := []Picture{
		{1, "images/train/a.png", 100, 80, []Box{
			{1, 37.5, 34.375, 62.5, 45.625, 25 * 11.25, false, false, 1}, {0, 6.25, 10, 18.75, 30, 250, false, false, 2}}},
		{2, "images/train/b.png", 50, 40, nil},
	}
	for _, path := range []string{"data.yaml", ""} {
		s, err := Open(filepath.Join(folder, path), Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"cat", "dog"}, s.Classes)
		assert.Equal(t, []int64{0, 1}, s.CategoryIDs)
		assert.Equal(t, want, bare(folder, s.Pictures))
		assert.Equal(t, []string{"1 picture has no file of labels: taken as without boxes"}, s.Notes)
	}
	s, err := Open(filepath.Join(folder, "data.yaml"), Options{YOLO: YOLO{Split: "val"}})
	require.NoError(t, err)
	assert.Equal(t, []Box{{0, 1, 2, 5, 8, 24, false, false, 1}}, s.Pictures[0].Boxes)
	assert.Contains(t, s.Notes[0], "1 row is a polygon")

	s, err = Open(filepath.Join(folder, "flat"), Options{})
	require.NoError(t, err)
	assert.Equal(t, []Box{{1, 0, 0, 100, 80, 8000, false, false, 1}}, s.Pictures[0].Boxes)

	_, err = Open(filepath.Join(folder, "data.yaml"), Options{YOLO: YOLO{Split: "test"}})
	require.ErrorContains(t, err, "test: it has no pictures")

	require.NoError(t, os.WriteFile(filepath.Join(folder, "labels/train/z.txt"), []byte("0 .5 .5 .1 .1\n"), 0o644))
	_, err = Open(folder, Options{})
	require.ErrorContains(t, err, "labels/train/z.txt: there is no picture for these boxes")
}

func TestLabelsOf(t *testing.T) {
	assert.Equal(t, "/d/labels/a.txt", labelsOf("/d/images/a.jpg"))
	assert.Equal(t, "/images/d/labels/s/a.b.txt", labelsOf("/images/d/images/s/a.b.jpg"))
	assert.Equal(t, "labels/a.txt", labelsOf("images/a.jpg"))
	assert.Equal(t, "d/myimages/a.txt", labelsOf("d/myimages/a.jpg"))
}

func TestTable(t *testing.T) {
	for name, content := range map[string]string{
		"t.csv": "class,path,x1,y1,x2,y2,note\ndog,a.png,1.5,2,30,40,\"x\ny\"\n,b.png,,,,,\n10,a.png,0,0,100.5,80,\n",
		"t.tsv": "class\tpath\tx1\ty1\tx2\ty2\r\ndog\ta.png\t1.5\t2\t30\t40\r\n\tb.png\t\t\t\t\r\n10\ta.png\t0\t0\t100.5\t80\r\n",
	} {
		folder := write(t, map[string]string{name: "\xef\xbb\xbf" + content, "a.png": "100x80", "b.png": "50x40"})
		s, err := Open(filepath.Join(folder, name), Options{})
		require.NoError(t, err)
		assert.Equal(t, []string{"10", "dog"}, s.Classes)
		assert.Equal(t, []Picture{
			{1, "a.png", 100, 80, []Box{{1, 1.5, 2, 30, 40, 28.5 * 38, false, false, 1}, {0, 0, 0, 100.5, 80, 8040, false, false, 2}}},
			{2, "b.png", 50, 40, nil},
		}, bare(folder, s.Pictures))
	}
	folder := write(t, map[string]string{"t.csv": "filename,xmin,ymin,xmax,ymax,label\na.png,0,0,5,5,x\n", "pictures/a.png": "9x9"})
	s, err := Open(filepath.Join(folder, "t.csv"), Options{Pictures: filepath.Join(folder, "pictures"),
		Columns: Columns{"filename", "xmin", "ymin", "xmax", "ymax", "label"}})
	require.NoError(t, err)
	assert.Equal(t, 1, s.Boxes())
	_, err = Open(filepath.Join(folder, "t.csv"), Options{})
	require.ErrorContains(t, err, `t.csv:1: there is no column "path"; the columns are "filename"`)
}

// Every fault is named with its place, and what has none is left when faults are skipped.
func TestFaults(t *testing.T) {
	annotation := func(id int, rest string) string { return fmt.Sprintf(`{"id": %d, "image_id": 1, %s},`, id, rest) }
	json := `{"images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}, {"id": 2, "file_name": "gone.png"},
		{"id": 1, "file_name": "b.png"}, {"id": 4, "file_name": "text.png"}, {"id": 5, "file_name": "c.png", "width": 20, "height": 20},
		{"id": 6, "file_name": "a.png"}, {"file_name": "a.png"}, 17],
		"categories": [{"id": 1, "name": "x"}], "annotations": [` +
		annotation(1, `"category_id": 1, "bbox": [1, 1, 5, 5]`) +
		annotation(2, `"category_id": 1, "bbox": [1, 1, 0, 5]`) +
		annotation(3, `"category_id": 1, "bbox": [100, 1, 5, 5]`) +
		annotation(4, `"category_id": 1, "bbox": [90, 1, 15, 5]`) +
		annotation(5, `"category_id": 1, "bbox": [NaN, 1, 15, -Infinity]`) +
		annotation(6, `"category_id": 9, "bbox": [1, 1, 5, 5]`) +
		annotation(1, `"category_id": 1, "bbox": [1, 1, 5, 5]`) +
		annotation(8, `"image_id": 77, "category_id": 1, "bbox": [1, 1, 5, 5]`) +
		annotation(9, `"category_id": "1", "bbox": [1, 1, 5, 5]`) +
		annotation(10, `"category_id": 1, "bbox": [1, 1, 5]`) +
		annotation(11, `"category_id": 1, "bbox": [1, 1, 1e999, 5]`) +
		annotation(12, `"category_id": 1, "bbox": [1, 1, 5, 5], "area": NaN`) +
		annotation(13, `"category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 2`) +
		`{"id": 14, "image_id": 1, "category_id": 1, "bbox": [50, 50, 50, 30]}]}`
	folder := write(t, map[string]string{"x.json": json, "a.png": "100x80", "b.png": "9x9", "text.png": "no picture", "c.png": "10x10"})
	path := filepath.Join(folder, "x.json")
	_, err := Open(path, Options{})
	var faults *FaultsError
	require.ErrorAs(t, err, &faults)
	assert.Equal(t, 19, faults.Faults.Count)
	require.Len(t, faults.Faults.First, 5)
	assert.Equal(t, map[Kind]int{NoArea: 1, Outside: 1, PartlyOutside: 1, NotFinite: 3, UnknownClass: 1, UnknownPicture: 1, DuplicateID: 2,
		MissingPicture: 1, DamagedPicture: 1, OtherSize: 1, DuplicateEntry: 1, IncompleteEntry: 5}, faults.Faults.Kinds)
	message := strings.ReplaceAll(err.Error(), folder+"/", "")
	assert.Equal(t, `opening annotations: 19 faults: incomplete or misspelled entry (5), number that is not finite (3), `+
		`id that was there before (2), box of an unknown picture (1), box of no area (1), box outside its picture (1), `+
		`box partly outside its picture (1), missing picture (1), picture of another size (1), picture that cannot be read (1), `+
		`picture that was there before (1), unknown class (1); of these: `+
		`x.json: images[2] (id 1): the id is that of "a.png" too; `+
		`x.json: images[5] (id 6): the picture "a.png" is that of images[0] too; x.json: images[6]: the id must be a whole number; `+
		`x.json: images[7]: it is a number, not an object; `+
		`x.json: annotations[6] (id 1): the id is that of annotations[0] too; and 14 more; mend them, or have what is faulty skipped`, message)

	s, err := Open(path, Options{Skip: true})
	require.NoError(t, err)
	assert.Equal(t, faults.Faults, s.Skipped)
	assert.Equal(t, []Picture{{1, "a.png", 100, 80, []Box{{0, 1, 1, 6, 6, 25, false, false, 1}, {0, 50, 50, 100, 80, 1500, false, false, 14}}}},
		bare(folder, s.Pictures))

	s, err = Open(path, Options{Skip: true, Clip: true})
	require.NoError(t, err)
	assert.Equal(t, Box{0, 90, 1, 100, 6, 75, false, false, 4}, s.Pictures[0].Boxes[1])
	assert.Equal(t, 1, s.Clipped)
	s, err = Open(path, Options{Skip: true, Overhang: 5})
	require.NoError(t, err)
	assert.Equal(t, 3, s.Boxes())
}

func TestTurnedPicture(t *testing.T) {
	h, err := picture.ReadHeader("../../picture/testdata/exif-6.jpg", 0)
	require.NoError(t, err)
	json := fmt.Sprintf(`{"images": [{"id": 1, "file_name": "exif-6.jpg", "width": %d, "height": %d}], "annotations": [],
		"categories": [{"id": 1, "name": "x"}]}`, h.Height, h.Width)
	path := filepath.Join(write(t, map[string]string{"x.json": json}), "x.json")
	_, err = Open(path, Options{Pictures: "../../picture/testdata"})
	require.ErrorContains(t, err, "its EXIF orientation 6 turns it: it was annotated as it is stored")
}

func TestWhatIsNoSet(t *testing.T) {
	folder := write(t, map[string]string{"annotations/instances.json": coco, "empty/notes.md": "-", "a.jpg": "1x1"})
	for path, want := range map[string]string{
		"gone.json":   "gone.json: no such file or directory",
		"annotations": "did you mean " + filepath.Join(folder, "annotations/instances.json") + "?",
		"empty":       "it holds no .xml files, so it is taken for YOLO's, which need a file of classes",
		"a.jpg":       "want a COCO file (.json), a folder of VOC's .xml files",
	} {
		_, err := Open(filepath.Join(folder, path), Options{})
		require.ErrorContains(t, err, want)
	}
	_, err := Open(folder, Options{Format: "cocoo"})
	require.ErrorContains(t, err, `there is no format "cocoo": want coco, voc, yolo or table`)
	_, err = Open(filepath.Join(folder, "annotations"), Options{Format: COCO})
	require.ErrorContains(t, err, "annotations: it is a folder, device, pipe or socket")
	_, err = Open(filepath.Join(folder, "a.jpg"), Options{Format: PascalVOC})
	require.ErrorContains(t, err, "not a directory")
}

func TestNoPictureIsThere(t *testing.T) {
	path := filepath.Join(write(t, map[string]string{"x.json": coco}), "x.json")
	_, err := Open(path, Options{Skip: true})
	require.ErrorContains(t, err, "none of its 3 pictures is there, the first is")
	require.ErrorContains(t, err, "say in which folder the pictures lie")
}

func TestTrustSizes(t *testing.T) {
	folder := cocoFolder(t, coco)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "a.png"), []byte("not opened"), 0o644))
	_, err := Open(filepath.Join(folder, "x.json"), Options{})
	require.ErrorContains(t, err, `x.json: images[0] (id 7): the picture "`)
	_, err = Open(filepath.Join(folder, "x.json"), Options{TrustSizes: true})
	require.NoError(t, err)
}
