package annotation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
)

type cocoImage struct {
	ID            integer `json:"id"`
	FileName      string  `json:"file_name"`
	Width, Height integer
}

type cocoAnnotation struct {
	ID         integer     `json:"id"`
	ImageID    integer     `json:"image_id"`
	CategoryID integer     `json:"category_id"`
	Box        fourNumbers `json:"bbox"`
	Area       number      `json:"area"`
	Crowd      truth       `json:"iscrowd"`
}

type cocoCategory struct {
	ID   integer `json:"id"`
	Name string  `json:"name"`
}

// cocoReader reads one file. Its lists may come in any order, so that ids are looked up at the end.
type cocoReader struct {
	*builder
	path, folder string
	categories   []cocoCategory
	pictureOf    map[int64]int32 // by id
	paths        map[string]int  // the position in images of each path
	seenIDs      map[int64]int32 // the position of each annotation, by id
	refs         []cocoRef       // of the builder's boxes
	idZero       bool
}

type cocoRef struct{ image, category int64 }

func (b *builder) readCOCO(path string) error {
	f, err := openText(path, 0, false)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	folder := b.Options.Pictures
	if folder == "" {
		folder = filepath.Dir(path)
	}
	r := &cocoReader{builder: b, path: path, folder: folder, pictureOf: map[int64]int32{}, paths: map[string]int{},
		seenIDs: map[int64]int32{}}
	if err := r.read(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return r.resolve()
}

// read reads the file's lists.
func (r *cocoReader) read(f io.Reader) error {
	s := newJSONStream(f)
	switch t, err := s.token(); {
	case err != nil:
		return syntax(err)
	case t == json.Delim('['):
		return errors.New("it is a list, such as COCO's results; annotations are an object with images, annotations " +
			"and categories")
	case t != json.Delim('{'):
		return errors.New("want an object with images, annotations and categories")
	}
	lists := map[string]func(s *jsonStream, i int) error{
		"images": r.image, "annotations": r.annotation, "categories": r.category,
	}
	seen := map[string]bool{}
	for s.More() {
		t, err := s.token()
		if err != nil {
			return syntax(err)
		}
		key := t.(string) // the decoder gives nothing else here
		entry := lists[key]
		if entry == nil {
			if err := s.skip(); err != nil {
				return fmt.Errorf("%s: %w", suggest.Shorten(key), syntax(err))
			}
			continue
		}
		if seen[key] {
			return fmt.Errorf("the key %s is there twice", key)
		}
		seen[key] = true
		if err := s.delim('[', "a list"); err != nil {
			return fmt.Errorf("%s: %w", key, syntax(err))
		}
		for i := 0; s.More(); i++ {
			if err := entry(s, i); err != nil {
				return fmt.Errorf("%s[%d]: %w", key, i, syntax(err))
			}
		}
		if err := s.delim(']', "the list's end"); err != nil {
			return fmt.Errorf("%s: %w", key, syntax(err))
		}
	}
	if err := s.delim('}', "the object's end"); err != nil {
		return syntax(err)
	}
	if _, err := s.token(); err != io.EOF {
		return errors.New("something follows the object")
	}
	for _, key := range []string{"images", "annotations", "categories"} {
		if !seen[key] {
			return fmt.Errorf("there is no list %s", key)
		}
	}
	return nil
}

// entry decodes one entry of a list. false: it is no object, which is a fault.
func (r *cocoReader) entry(s *jsonStream, list string, i int, to any) (bool, error) {
	err := s.value(to)
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "it is a " + e.Value + ", not an object"
		if e.Field != "" {
			what = fmt.Sprintf("%s is a %s", e.Field, e.Value)
		}
		r.fault(IncompleteEntry, fmt.Sprintf("%s: %s[%d]", r.path, list, i), "%s", what)
		return false, nil
	}
	return err == nil, err
}

func (r *cocoReader) category(s *jsonStream, i int) error {
	var c cocoCategory
	if ok, err := r.entry(s, "categories", i, &c); !ok {
		return err
	}
	switch {
	case !c.ID.given || c.ID.bad:
		return fmt.Errorf("the id must be a whole number%s", butFound(c.ID.found))
	case strings.TrimSpace(c.Name) == "":
		return errors.New("the category has no name")
	}
	for j, before := range r.categories {
		if before.ID.value == c.ID.value {
			return fmt.Errorf("the id %d is that of categories[%d] too", c.ID.value, j)
		}
		if before.Name == c.Name {
			return fmt.Errorf("the name %s is that of categories[%d] too", suggest.Quote(c.Name), j)
		}
	}
	const most = 10_000
	if len(r.categories) == most {
		return fmt.Errorf("there are more than %d categories", most)
	}
	r.categories = append(r.categories, c)
	return nil
}

func butFound(found string) string {
	if found == "" {
		return ""
	}
	return ", not " + found
}

func (r *cocoReader) image(s *jsonStream, i int) error {
	var m cocoImage
	if ok, err := r.entry(s, "images", i, &m); !ok {
		return err
	}
	where := fmt.Sprintf("%s: images[%d]", r.path, i)
	if !m.ID.given || m.ID.bad {
		r.fault(IncompleteEntry, where, "the id must be a whole number%s", butFound(m.ID.found))
		return nil
	}
	where += fmt.Sprintf(" (id %d)", m.ID.value)
	if at, again := r.pictureOf[m.ID.value]; again {
		r.fault(DuplicateID, where, "the id is that of %s too", suggest.Quote(r.pictures[at].Path))
		return nil
	}
	side := func(n integer) bool { return !n.given || !n.bad && n.value > 0 && n.value <= 1<<30 }
	switch {
	case m.FileName == "":
		r.fault(IncompleteEntry, where, "it has no file_name")
		return nil
	case m.Width.given != m.Height.given || !side(m.Width) || !side(m.Height):
		r.fault(IncompleteEntry, where, "width and height must be numbers of pixels, or both left out")
		return nil
	}
	path := inFolder(r.folder, m.FileName)
	if at, again := r.paths[path]; again {
		r.fault(DuplicateEntry, where, "the picture %s is that of images[%d] too", suggest.Quote(m.FileName), at)
		return nil
	}
	r.paths[path] = i
	r.pictureOf[m.ID.value] = int32(len(r.pictures))
	r.pictures = append(r.pictures, foundPicture{
		Picture{ID: m.ID.value, Path: path, Width: int(m.Width.value), Height: int(m.Height.value)}, where})
	return nil
}

func (r *cocoReader) annotation(s *jsonStream, i int) error {
	var a cocoAnnotation
	if ok, err := r.entry(s, "annotations", i, &a); !ok {
		return err
	}
	box := foundBox{at: int32(i)}
	bad := func(format string, args ...any) error {
		if r.faults.full() {
			r.fault(IncompleteEntry, "", "")
			return nil
		}
		where := fmt.Sprintf("%s: annotations[%d]", r.path, i)
		if a.ID.given && !a.ID.bad {
			where += fmt.Sprintf(" (id %d)", a.ID.value)
		}
		r.fault(IncompleteEntry, where, format, args...)
		return nil
	}
	for _, id := range []struct {
		key string
		n   *integer
	}{{"id", &a.ID}, {"image_id", &a.ImageID}, {"category_id", &a.CategoryID}} {
		if !id.n.given || id.n.bad {
			return bad("the %s must be a whole number%s", id.key, butFound(id.n.found))
		}
	}
	switch {
	case !a.Box.given:
		return bad("it has no bbox")
	case a.Box.bad:
		return bad("bbox must be [x, y, width, height]%s", butFound(a.Box.found))
	case a.Area.bad:
		return bad("the area must be a number%s", butFound(a.Area.found))
	case a.Crowd.bad:
		return bad("iscrowd must be 0 or 1%s", butFound(a.Crowd.found))
	}
	box.ID = a.ID.value
	if at, again := r.seenIDs[box.ID]; again {
		r.fault(DuplicateID, r.where(&box), "the id is that of annotations[%d] too", at)
		return nil
	}
	r.seenIDs[box.ID] = int32(i)
	r.idZero = r.idZero || box.ID == 0
	v := a.Box.value
	box.X1, box.Y1, box.X2, box.Y2, box.Crowd = v[0], v[1], v[0]+v[2], v[1]+v[3], a.Crowd.value
	box.Area = v[2] * v[3]
	if a.Area.given {
		box.Area = a.Area.value
	}
	r.refs = append(r.refs, cocoRef{a.ImageID.value, a.CategoryID.value})
	return r.addBox(box)
}

func (r *cocoReader) where(box *foundBox) string {
	return fmt.Sprintf("%s: annotations[%d] (id %d)", r.path, box.at, box.ID)
}

// resolve finds the picture and the class of each box.
func (r *cocoReader) resolve() error {
	if len(r.categories) == 0 {
		return fmt.Errorf("%s: categories: there are none", r.path)
	}
	slices.SortFunc(r.categories, func(a, b cocoCategory) int { return cmp.Compare(a.ID.value, b.ID.value) })
	classOf := make(map[int64]int, len(r.categories))
	for i, c := range r.categories {
		classOf[c.ID.value] = i
		r.classes = append(r.classes, c.Name)
		r.builder.ids = append(r.builder.ids, c.ID.value)
	}
	r.whereBox = r.where
	kept := r.boxes[:0]
	for i, box := range r.boxes {
		ref := r.refs[i]
		class, known := classOf[ref.category]
		if !known {
			r.fault(UnknownClass, r.where(&box), "category_id: there is no category %d", ref.category)
			continue
		}
		at, known := r.pictureOf[ref.image]
		if !known {
			r.fault(UnknownPicture, r.where(&box), "image_id: there is no image %d", ref.image)
			continue
		}
		box.Class, box.picture = class, at
		kept = append(kept, box)
	}
	r.boxes = kept
	if r.idZero {
		r.note("an annotation has the id 0: it counts here, while pycocotools takes a detection on it for a false positive")
	}
	return nil
}
