// Package evaluation scores detections as COCO and Pascal VOC do: average precision and recall, of each class and
// together, with precision-recall curves.
//
// COCO's numbers are those of pycocotools, to the last digits of a float64, with one exception: a detection that finds
// the annotation with id 0 counts as any other (pycocotools takes it for a false positive).
package evaluation

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/thaw-ml/thaw/internal/parallel"
)

// Truth is an annotated object.
type Truth struct {
	Class          int     // position in the classes of New
	X1, Y1, X2, Y2 float64 // edges in pixels
	// Area is the area as annotated in square pixels, which need not be the box's: small, medium and large are taken
	// by it.
	Area float64
	// Crowd is COCO's iscrowd: what is found within it is neither right nor wrong. VOC's numbers ignore it too.
	Crowd bool
	// Difficult is VOC's: ignored in VOC's numbers, and as any other in COCO's.
	Difficult bool
}

// Detection is an object that a detector found.
type Detection struct {
	Class          int
	X1, Y1, X2, Y2 float64
	Score          float64
}

// Evaluation collects pictures. Its methods must not be called from several goroutines at once.
type Evaluation struct {
	names    []string
	classes  []class
	pictures int
}

// class is what was added of one class.
type class struct {
	truths     []Truth
	detections []Detection
	pictures   []pictureOf
}

// pictureOf says which part of a class belongs to a picture.
type pictureOf struct {
	id                                                 int64
	order                                              int // of Add
	truthsFrom, truthsTo, detectionsFrom, detectionsTo int32
}

// New starts an evaluation of detections of these classes.
func New(classes []string) *Evaluation {
	return &Evaluation{names: slices.Clone(classes), classes: make([]class, len(classes))}
}

// Pictures returns how many pictures were added.
func (e *Evaluation) Pictures() int { return e.pictures }

// Add adds a picture: what is on it and what was found, both in the order of their files, which decides between equal
// scores on the picture. Pictures may come in any order: between equal scores on several pictures that of the smaller
// id comes first, and of equal ids the one that was added first.
//
// A class that does not exist and a number that is not finite is an error, and then nothing is added.
func (e *Evaluation) Add(id int64, truths []Truth, detections []Detection) error {
	for i, t := range truths {
		if err := e.check(t.Class, t.X1, t.Y1, t.X2, t.Y2, t.Area); err != nil {
			return fmt.Errorf("evaluation: picture %d, truth %d: %w", id, i, err)
		}
	}
	for i, d := range detections {
		if err := e.check(d.Class, d.X1, d.Y1, d.X2, d.Y2, d.Score); err != nil {
			return fmt.Errorf("evaluation: picture %d, detection %d: %w", id, i, err)
		}
	}
	for _, t := range truths {
		c := &e.classes[t.Class]
		p := c.picture(id, e.pictures)
		c.truths = append(c.truths, t)
		p.truthsTo = int32(len(c.truths))
	}
	for _, d := range detections {
		c := &e.classes[d.Class]
		p := c.picture(id, e.pictures)
		c.detections = append(c.detections, d)
		p.detectionsTo = int32(len(c.detections))
	}
	e.pictures++
	return nil
}

func (e *Evaluation) check(class int, numbers ...float64) error {
	if class < 0 || class >= len(e.classes) {
		return fmt.Errorf("there is no class %d: they are 0 to %d", class, len(e.classes)-1)
	}
	for _, v := range numbers {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("the number %g is not finite", v)
		}
	}
	return nil
}

// picture is the entry of the picture that is being added.
func (c *class) picture(id int64, order int) *pictureOf {
	if n := len(c.pictures); n == 0 || c.pictures[n-1].order != order {
		t, d := int32(len(c.truths)), int32(len(c.detections))
		c.pictures = append(c.pictures, pictureOf{id, order, t, t, d, d})
	}
	return &c.pictures[len(c.pictures)-1]
}

// Result computes all numbers, with a goroutine for each core. More pictures may be added afterwards.
func (e *Evaluation) Result() *Result {
	r := &Result{Pictures: e.pictures, Classes: make([]ClassResult, len(e.classes))}
	all := make([]tables, len(e.classes))
	parallel.Each(len(e.classes), func(i int) {
		c := &e.classes[i]
		slices.SortStableFunc(c.pictures, func(a, b pictureOf) int {
			return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.order, b.order))
		})
		c.coco(&all[i])
		r.Classes[i] = all[i].result(e.names[i], c)
	})
	r.together(all)
	return r
}
