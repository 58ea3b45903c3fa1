package annotation

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/thaw-ml/thaw/internal/fserror"
	"github.com/thaw-ml/thaw/internal/parallel"
	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/vision/picture"
)

// maxBoxes is how many boxes a set may have. A box takes 88 bytes here and 14 or more in a file.
const maxBoxes = 100_000_000

// builder takes what a format's reader finds, and checks it once all is known.
type builder struct {
	Options
	set      *Set
	pictures []foundPicture
	boxes    []foundBox
	faults   Faults

	// classes are those that the boxes' class points to, before Options.Classes is applied, and ids their numbers.
	classes []string
	ids     []int64
	// whereBox says where a box is.
	whereBox func(*foundBox) string
}

type foundPicture struct {
	Picture
	where string // of what names it
}

type foundBox struct {
	Box
	picture, at int32 // the position in pictures, and the line or the position in a list
}

func (b *builder) fault(kind Kind, where, format string, args ...any) {
	f := Fault{Kind: kind, Where: where}
	if !b.faults.full() {
		f.Msg = fmt.Sprintf(format, args...)
	}
	b.faults.add(f)
}

func (b *builder) note(format string, args ...any) {
	b.set.Notes = append(b.set.Notes, fmt.Sprintf(format, args...))
}

func (b *builder) addBox(box foundBox) error {
	if len(b.boxes) == maxBoxes {
		return fmt.Errorf("%s: it holds more than %s boxes: part it", b.set.Source, quantity.Digits(maxBoxes))
	}
	b.boxes = append(b.boxes, box)
	return nil
}

// finish checks pictures and boxes and makes the set.
func (b *builder) finish() (*Set, error) {
	if len(b.pictures) == 0 && b.faults.Count == 0 {
		return nil, fmt.Errorf("%s: %w", b.set.Source, errNoPictures)
	}
	bad, err := b.checkPictures()
	if err != nil {
		return nil, err
	}
	class, err := b.wantedClasses()
	if err != nil {
		return nil, err
	}
	kept := make([]bool, len(b.boxes))
	perPicture := make([]int32, len(b.pictures))
	n := 0
	for i := range b.boxes {
		box := &b.boxes[i]
		if bad[box.picture] || !b.checkBox(box, class) {
			continue
		}
		kept[i] = true
		perPicture[box.picture]++
		n++
	}
	if b.faults.Count > 0 && !b.Skip {
		return nil, &FaultsError{b.set.Source, b.faults}
	}
	b.set.Skipped = b.faults

	all := make([]Box, n)
	for i, n := range perPicture {
		b.pictures[i].Boxes, all = all[:0:n], all[n:]
	}
	for i := range b.boxes {
		if kept[i] {
			p := &b.pictures[b.boxes[i].picture]
			p.Boxes = append(p.Boxes, b.boxes[i].Box)
		}
	}
	for i := range b.pictures {
		if !bad[i] {
			b.set.Pictures = append(b.set.Pictures, b.pictures[i].Picture)
		}
	}
	if len(b.set.Pictures) == 0 {
		return nil, fmt.Errorf("%s: no picture is left: %w", b.set.Source, &FaultsError{b.set.Source, b.faults})
	}
	return b.set, nil
}

// wantedClasses sets the set's classes and says which of them each class of the files is, or -1.
func (b *builder) wantedClasses() ([]int, error) {
	if b.Classes == nil {
		b.set.Classes, b.set.CategoryIDs = b.classes, b.ids
		same := make([]int, len(b.classes))
		for i := range same {
			same[i] = i
		}
		return same, nil
	}
	b.set.Classes = slices.Clone(b.Classes)
	b.set.CategoryIDs = make([]int64, len(b.Classes))
	for i, c := range b.Classes {
		b.set.CategoryIDs[i] = int64(i + 1)
		if at := slices.Index(b.classes, c); at >= 0 {
			if b.Format == COCO || b.Format == YOLOText {
				b.set.CategoryIDs[i] = b.ids[at]
			}
		} else if b.Format == COCO || b.Format == YOLOText { // these name their classes, whether they occur or not
			return nil, fmt.Errorf("%s: there is no class %s; the classes are %s%s", b.set.Source, suggest.Quote(c),
				suggest.List(b.classes), suggest.DidYouMean(c, b.classes))
		}
	}
	class := make([]int, len(b.classes))
	for i, c := range b.classes {
		class[i] = slices.Index(b.Classes, c)
	}
	return class, nil
}

// checkPictures reads the pictures' headers and tells which pictures are left out.
func (b *builder) checkPictures() ([]bool, error) {
	faults := make([]*Fault, len(b.pictures))
	parallel.Each(len(b.pictures), func(i int) { faults[i] = b.checkPicture(&b.pictures[i]) })
	bad := make([]bool, len(b.pictures))
	missing := 0
	for i, f := range faults {
		if f == nil {
			continue
		}
		bad[i] = true
		f.Where = b.pictures[i].where
		b.faults.add(*f)
		if f.Kind == MissingPicture {
			missing++
		}
	}
	if missing > 0 && missing == len(b.pictures) {
		return nil, fmt.Errorf("%s: none of its %s is there, the first is %s: say in which folder the pictures lie",
			b.set.Source, quantity.Count(missing, "picture", "pictures"), suggest.Quote(b.pictures[0].Path))
	}
	return bad, nil
}

func (b *builder) checkPicture(p *foundPicture) *Fault {
	bad := func(k Kind, format string, args ...any) *Fault {
		return &Fault{Kind: k, Msg: fmt.Sprintf(format, args...)}
	}
	info, err := os.Stat(p.Path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is not a file")
	}
	if err != nil {
		return bad(MissingPicture, "the picture %s: %v", shortPath(p.Path), fserror.WithoutPath(err))
	}
	if b.TrustSizes && p.Width > 0 && p.Height > 0 {
		if p.Width > b.MaxPixels/p.Height {
			return bad(DamagedPicture, "the picture %s has %d x %d pixels, more than the %d that are allowed (MaxPixels)",
				shortPath(p.Path), p.Width, p.Height, b.MaxPixels)
		}
		return nil
	}
	h, err := picture.ReadHeader(p.Path, b.MaxPixels)
	if err != nil {
		return bad(DamagedPicture, "the picture %s: %v", shortPath(p.Path), err)
	}
	if p.Width == 0 && p.Height == 0 {
		p.Width, p.Height = h.Width, h.Height
	}
	if p.Width != h.Width || p.Height != h.Height {
		hint := "was it resized after it was annotated?"
		if p.Width == h.Height && p.Height == h.Width && h.Orientation >= 5 {
			hint = fmt.Sprintf("its EXIF orientation %d turns it: it was annotated as it is stored; "+
				"turn the file itself or take the orientation out of it", h.Orientation)
		}
		return bad(OtherSize, "it is annotated as %d x %d pixels, the picture %s has %d x %d: %s", p.Width, p.Height,
			shortPath(p.Path), h.Width, h.Height, hint)
	}
	return nil
}

// shortPath quotes a path, and shortens what is too long for one.
func shortPath(path string) string {
	if len(path) > 255 {
		return suggest.Quote(path)
	}
	return fmt.Sprintf("%q", path)
}

// checkBox tells whether a box stays, and cuts it where it should be.
func (b *builder) checkBox(box *foundBox, class []int) bool {
	name := "?"
	if box.Class < len(b.classes) {
		name = b.classes[box.Class]
	}
	if box.Class = class[box.Class]; box.Class < 0 {
		if b.Subset {
			b.set.OtherClasses++
		} else {
			b.fault(UnknownClass, b.whereBox(box), "the class %s is not one of %s%s", suggest.Quote(name),
				suggest.List(b.Classes), suggest.DidYouMean(name, b.Classes))
		}
		return false
	}
	p := &b.pictures[box.picture]
	w, h := float64(p.Width), float64(p.Height)
	if b.Format == YOLOText { // fractions until here
		box.X1, box.Y1, box.X2, box.Y2 = box.X1*w, box.Y1*h, box.X2*w, box.Y2*h
		box.Area = (box.X2 - box.X1) * (box.Y2 - box.Y1)
	}
	if kind, msg := wrongBox(&box.Box); kind != "" {
		b.fault(kind, b.whereBox(box), "%s", msg)
		return false
	}
	if box.X1 >= w || box.Y1 >= h || box.X2 <= 0 || box.Y2 <= 0 {
		b.fault(Outside, b.whereBox(box), "the box %s lies outside its picture of %d x %d pixels", edges(&box.Box),
			p.Width, p.Height)
		return false
	}
	if out := max(-box.X1, -box.Y1, box.X2-w, box.Y2-h); out > b.Overhang {
		if !b.Clip {
			b.fault(PartlyOutside, b.whereBox(box), "the box %s stands %.4g pixels out of its picture of %d x %d",
				edges(&box.Box), out, p.Width, p.Height)
			return false
		}
		box.Box = box.ClippedTo(p.Width, p.Height)
		b.set.Clipped++
	}
	return true
}

// wrongBox finds what is wrong with a box in itself; "" if nothing is.
func wrongBox(box *Box) (Kind, string) {
	for _, v := range [...]float64{box.X1, box.Y1, box.X2, box.Y2, box.Area} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return NotFinite, fmt.Sprintf("the box %s with area %g has a number that is not finite", edges(box), box.Area)
		}
	}
	if box.X2 <= box.X1 || box.Y2 <= box.Y1 || (box.X2-box.X1)*(box.Y2-box.Y1) == 0 {
		return NoArea, fmt.Sprintf("the box %s has no area", edges(box))
	}
	if box.Area < 0 {
		return NoArea, fmt.Sprintf("the area is %g", box.Area)
	}
	return "", ""
}

func edges(b *Box) string { return fmt.Sprintf("x %g to %g, y %g to %g", b.X1, b.X2, b.Y1, b.Y2) }

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// inFolder is a path as it is, or in folder if it is relative.
func inFolder(folder, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}
