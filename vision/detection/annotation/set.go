// Package annotation reads what is annotated on pictures for detection: boxes with classes, from COCO's JSON, Pascal
// VOC's XML, YOLO's text files and tables (CSV, TSV). All become a [Set]. It also writes sets and detections as COCO's
// JSON.
//
// Boxes are edges in pixels, as in torchvision: x1, y1 is the top left corner, x2, y2 the bottom right one, the far
// edge not included, so that a box over the whole of a picture is 0, 0, width, height. Fractions are kept.
package annotation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/vision/picture"
)

// Set is a list of annotated pictures. It does not change once it is opened.
type Set struct {
	Source  string   // the path that was opened
	Classes []string // Box.Class gives positions in it
	// CategoryIDs are the numbers of the classes in COCO's files, in the order of Classes: those that a COCO file gives
	// them, YOLO's numbers from 0, and for VOC and tables, which have none, the positions from 1.
	CategoryIDs []int64
	Pictures    []Picture

	// Skipped is what was left out because something is wrong with it, see Options.Skip.
	Skipped Faults
	// OtherClasses counts the boxes of classes that were not asked for, see Options.Subset.
	OtherClasses int
	// Clipped counts the boxes that were cut to their picture, see Options.Clip.
	Clipped int
	// Notes say what a person should know of how the files were read, such as which pixel VOC's boxes count from.
	Notes []string
}

// Picture is a picture with its boxes, in their files' order. It may have none.
type Picture struct {
	ID            int64  // COCO's; the position from 1 in the other formats
	Path          string // of the file
	Width, Height int    // in pixels, upright: as package picture decodes the file
	Boxes         []Box
}

// Box is one annotated object.
type Box struct {
	Class          int     // position in Set.Classes
	X1, Y1, X2, Y2 float64 // edges in pixels
	// Area is the area as annotated in square pixels: in COCO's files that of the object's outline, not of its box.
	// COCO's evaluation takes small, medium and large by it. Where the format has none, it is the box's.
	Area      float64
	Crowd     bool  // COCO's iscrowd: one box around many objects
	Difficult bool  // VOC's difficult: not counted in its evaluation
	ID        int64 // COCO's, which may be 0; the position in the set from 1 in the other formats
}

// ClippedTo returns the box cut to a picture of width x height pixels. Its Area stays.
func (b Box) ClippedTo(width, height int) Box {
	w, h := float64(width), float64(height)
	b.X1, b.X2 = min(max(b.X1, 0), w), min(max(b.X2, 0), w)
	b.Y1, b.Y2 = min(max(b.Y1, 0), h), min(max(b.Y2, 0), h)
	return b
}

// Options says how to open a set; the zero value takes all there is and refuses what has a fault.
type Options struct {
	// Format is COCO, VOC, YOLO or Table. "" takes it from the path: a .json file is COCO, a .csv or .tsv file a
	// Table, a .yaml or .yml file YOLO, a folder with .xml files VOC and another folder YOLO.
	Format Format

	// Pictures is the folder that the pictures' paths are relative to. "" stands for the format's own place, see Open.
	Pictures string
	// Classes are the classes that are wanted, in their order. Without them they are those of the files: COCO's
	// categories in the order of their ids, YOLO's names, and for VOC and tables the names that occur, sorted.
	Classes []string
	// Subset leaves out the boxes of other classes and counts them. Without it such a box is a fault. Pictures stay.
	Subset bool

	// Skip leaves out what has a fault and counts it in Set.Skipped. Without it the first faults are the error.
	Skip bool
	// Overhang is by how many pixels a box may stand out of its picture and still be taken, as it is annotated: 1 if
	// it is 0, for rounding; none if it is negative. Box.ClippedTo cuts such boxes.
	Overhang float64
	// Clip cuts boxes to their picture that stand out further, and counts them. Without it they are faults. Those
	// that lie outside of it are faults always.
	Clip bool
	// TrustSizes takes the sizes of pictures as COCO's and VOC's files have them and opens no picture: quicker on slow
	// disks, but a picture that is turned by its EXIF orientation, or that was resized, is not found out.
	TrustSizes bool
	// MaxPixels is how many pixels a picture may have; 0 means picture.DefaultMaxPixels.
	MaxPixels int

	VOC     VOC
	YOLO    YOLO
	Columns Columns // of a table
}

// Format is how annotations are stored.
type Format string

// The formats that Open reads.
const (
	COCO      Format = "coco"
	PascalVOC Format = "voc"
	YOLOText  Format = "yolo"
	Table     Format = "table"
)

// Open reads annotations and finds the pictures:
//
//   - COCO: a JSON file with images, annotations and categories. Ids need not be contiguous. Of a crowd, too, only the
//     box is read, so that the outline may be of any kind. Pictures lie in the file's folder.
//   - Pascal VOC: a folder of .xml files, one a picture, see [VOC]. Pictures lie in that folder, or beside it in
//     JPEGImages or images.
//   - YOLO: data.yaml, or a folder with classes.txt, and a .txt file for each picture, see [YOLO].
//   - Table: CSV or TSV with a header line, a row for each box, see [Columns]. Pictures lie in the table's folder.
//
// A fault is a box outside its picture, or partly outside, of no area, of numbers that are not finite or of a class
// that is not known, a picture that is missing, cannot be read or has another size than annotated, and an id that was
// there before. Each is named with its file and line, in JSON with its key path. Unless o.Skip is set, Open returns a
// [*FaultsError] for them. What cannot be parsed is an error always. Memory is bounded by what the files hold.
func Open(path string, o Options) (*Set, error) {
	s, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("opening annotations: %w", err)
	}
	return s, nil
}

func open(path string, o Options) (*Set, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, fserror.WithoutPath(err))
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is a device, pipe or socket", path)
	}
	if o.Format == "" {
		if o.Format, err = formatOf(path, info.IsDir()); err != nil {
			return nil, err
		}
	}
	b := &builder{Options: o, set: &Set{Source: path}}
	switch o.Format {
	case COCO:
		err = b.readCOCO(path)
	case PascalVOC:
		err = b.readVOC(path)
	case YOLOText:
		err = b.readYOLO(path, info.IsDir())
	case Table:
		err = b.readTable(path)
	default:
		return nil, fmt.Errorf("there is no format %s: want coco, voc, yolo or table", suggest.Quote(string(o.Format)))
	}
	if err != nil {
		return nil, err
	}
	return b.finish()
}

func (o *Options) check() error {
	for i, c := range o.Classes {
		if strings.TrimSpace(c) == "" {
			return fmt.Errorf("class %d of those wanted has no name", i)
		}
		if slices.Contains(o.Classes[:i], c) {
			return fmt.Errorf("the class %s is wanted twice", suggest.Quote(c))
		}
	}
	if o.Overhang == 0 {
		o.Overhang = 1
	}
	o.Overhang = max(o.Overhang, 0)
	if o.MaxPixels == 0 {
		o.MaxPixels = picture.DefaultMaxPixels
	}
	return nil
}

// formatOf tells the format by what is at path.
func formatOf(path string, folder bool) (Format, error) {
	if !folder {
		switch strings.ToLower(filepath.Ext(path)) {
		case ".json":
			return COCO, nil
		case ".yaml", ".yml":
			return YOLOText, nil
		case ".csv", ".tsv":
			return Table, nil
		}
		return "", fmt.Errorf("%s: want a COCO file (.json), a folder of VOC's .xml files, YOLO's data.yaml or folder, "+
			"or a table (.csv, .tsv)", path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, fserror.WithoutPath(err))
	}
	near := ""
	for _, e := range entries {
		name := e.Name()
		switch {
		case isXML(name):
			return PascalVOC, nil
		case slices.Contains(yoloSigns, name):
			return YOLOText, nil
		case e.IsDir() && name == "Annotations" || strings.EqualFold(filepath.Ext(name), ".json") && near == "":
			near = name
		}
	}
	if near != "" {
		return "", fmt.Errorf("%s: it holds neither VOC's .xml files nor YOLO's classes; did you mean %s?", path,
			filepath.Join(path, near))
	}
	return YOLOText, nil
}

// yoloSigns are files and folders by which a folder is known as YOLO's.
var yoloSigns = []string{"classes.txt", "obj.names", "data.yaml", "labels"}

// Len returns the number of pictures.
func (s *Set) Len() int { return len(s.Pictures) }

// Boxes returns the number of boxes in all pictures.
func (s *Set) Boxes() int {
	n := 0
	for i := range s.Pictures {
		n += len(s.Pictures[i].Boxes)
	}
	return n
}

// Counts returns how many boxes there are of each class, crowds and difficult ones too.
func (s *Set) Counts() []int {
	n := make([]int, len(s.Classes))
	for i := range s.Pictures {
		for _, b := range s.Pictures[i].Boxes {
			n[b.Class]++
		}
	}
	return n
}

// Part returns the set of the pictures that keep says yes to, in their order. Boxes are shared.
func (s *Set) Part(keep func(i int) bool) *Set {
	part := *s
	part.Pictures = nil
	for i, p := range s.Pictures {
		if keep(i) {
			part.Pictures = append(part.Pictures, p)
		}
	}
	return &part
}

var errNoPictures = errors.New("it holds no pictures")
