package annotation

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math"
	"path/filepath"
	"strconv"

	"github.com/thaw-ml/thaw/internal/atomicfile"
)

// Result is one detection, as COCO's result files have it.
type Result struct {
	ImageID    int64   // Picture.ID
	CategoryID int64   // of Set.CategoryIDs
	X1, Y1     float64 // edges in pixels of the picture
	X2, Y2     float64
	Score      float64
}

// WriteResults writes detections to a file in COCO's result format: a list of {"image_id", "category_id", "bbox":
// [x, y, width, height], "score"}, which pycocotools' loadRes reads. Numbers are written so that they are read back as
// they are. The file is replaced whole, or stays as it is when a number is not finite or the disk is full.
func WriteResults(path string, results iter.Seq[Result]) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		before := "[\n"
		n := 0
		var line []byte
		for r := range results {
			for _, v := range [...]float64{r.X1, r.Y1, r.X2, r.Y2, r.Score} {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("detection %d, on image %d, has a number that is not finite: box %g %g %g %g, score %g",
						n, r.ImageID, r.X1, r.Y1, r.X2, r.Y2, r.Score)
				}
			}
			line = append(line[:0], before...)
			line = append(line, `{"image_id": `...)
			line = strconv.AppendInt(line, r.ImageID, 10)
			line = append(line, `, "category_id": `...)
			line = strconv.AppendInt(line, r.CategoryID, 10)
			line = append(line, `, "bbox": `...)
			line = appendBox(line, r.X1, r.Y1, r.X2, r.Y2)
			line = append(line, `, "score": `...)
			line = appendFloat(line, r.Score)
			line = append(line, '}')
			if _, err := w.Write(line); err != nil {
				return err
			}
			before = ",\n"
			n++
		}
		end := "\n]\n"
		if n == 0 {
			end = "[]\n"
		}
		_, err := io.WriteString(w, end)
		return err
	})
}

func appendFloat(line []byte, v float64) []byte { return strconv.AppendFloat(line, v, 'g', -1, 64) }

// appendBox appends a box as COCO has it.
func appendBox(line []byte, x1, y1, x2, y2 float64) []byte {
	for i, v := range [...]float64{x1, y1, x2 - x1, y2 - y1} {
		line = append(line, [...]string{"[", ", ", ", ", ", "}[i]...)
		line = appendFloat(line, v)
	}
	return append(line, ']')
}

// WriteCOCO writes the set to a file in COCO's format, so that other programs can evaluate what was detected: pictures
// with their ids, boxes, areas and crowds. Difficult boxes have "ignore": 1, which pycocotools does not heed. Paths are
// relative to the file's folder where that is possible. The file is replaced whole or not at all.
func (s *Set) WriteCOCO(path string) error {
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error { return s.writeCOCO(w, folder) })
}

// writeCOCO writes the set with paths relative to folder.
func (s *Set) writeCOCO(w io.Writer, folder string) error {
	c := cocoWriter{w: w}
	c.print("{\"images\": [\n")
	for i, p := range s.Pictures {
		name := p.Path
		if full, err := filepath.Abs(name); err == nil {
			if relative, err := filepath.Rel(folder, full); err == nil {
				name = filepath.ToSlash(relative)
			}
		}
		c.separate(i)
		c.print(`{"id": %d, "file_name": %s, "width": %d, "height": %d}`, p.ID, quoted(name), p.Width, p.Height)
	}
	c.print("],\n\"annotations\": [\n")
	n := 0
	for _, p := range s.Pictures {
		for _, b := range p.Boxes {
			c.separate(n)
			n++
			ignore := ""
			if b.Difficult {
				ignore = `, "ignore": 1`
			}
			crowd := 0
			if b.Crowd {
				crowd = 1
			}
			c.print(`{"id": %d, "image_id": %d, "category_id": %d, "bbox": %s, "area": %s, "iscrowd": %d%s}`, b.ID, p.ID,
				s.CategoryIDs[b.Class], appendBox(nil, b.X1, b.Y1, b.X2, b.Y2), appendFloat(nil, b.Area), crowd, ignore)
		}
	}
	c.print("],\n\"categories\": [\n")
	for i, name := range s.Classes {
		c.separate(i)
		c.print(`{"id": %d, "name": %s}`, s.CategoryIDs[i], quoted(name))
	}
	c.print("]}\n")
	return c.err
}

// cocoWriter keeps the first error.
type cocoWriter struct {
	w   io.Writer
	err error
}

func (c *cocoWriter) print(format string, args ...any) {
	if c.err == nil {
		_, c.err = fmt.Fprintf(c.w, format, args...)
	}
}

func (c *cocoWriter) separate(i int) {
	if i > 0 {
		c.print(",\n")
	}
}

func quoted(s string) []byte {
	b, _ := json.Marshal(s) // a string has a form always
	return b
}
