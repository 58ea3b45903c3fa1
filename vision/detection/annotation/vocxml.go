package annotation

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/internal/quantity"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// vocFile is what one file says.
type vocFile struct {
	filename      string
	width, height int
	boxes         []foundBox
}

func (r *vocReader) readFile() error {
	f, err := openText(r.file, maxXML, false)
	if err != nil {
		return fmt.Errorf("%s: %w", r.file, err)
	}
	defer f.Close()
	r.xml = xml.NewDecoder(f)
	r.xml.CharsetReader = func(charset string, _ io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("it is in %s: save it as UTF-8", suggest.Quote(charset))
	}
	v := &vocFile{}
	if err := r.root(v); err != nil {
		line, _ := r.xml.InputPos()
		if e, ok := errors.AsType[*xml.SyntaxError](err); ok {
			line, err = e.Line, fmt.Errorf("not XML: %s", e.Msg)
		} else if err == io.EOF {
			err = errors.New("the file is cut off")
		}
		return fmt.Errorf("%s:%d: %w", r.file, line, err)
	}
	path := filepath.Join(r.pictures, v.filename)
	if _, err := os.Stat(path); v.filename == "" || err != nil {
		stem := strings.TrimSuffix(filepath.Base(r.file), filepath.Ext(r.file))
		if name := r.stems[stem]; name != "" {
			path = filepath.Join(r.pictures, name)
		} else if v.filename == "" {
			path = filepath.Join(r.pictures, stem)
		}
	}
	if at, again := r.paths[path]; again {
		r.fault(DuplicateEntry, r.file, "the picture %s is that of %s too", shortPath(path), r.files[at])
		return nil
	}
	r.paths[path] = len(r.builder.pictures)
	for _, box := range v.boxes {
		box.picture = int32(len(r.builder.pictures))
		box.ID = int64(len(r.boxes) + 1)
		if err := r.addBox(box); err != nil {
			return err
		}
	}
	r.files = append(r.files, r.file)
	r.builder.pictures = append(r.builder.pictures, foundPicture{
		Picture{ID: int64(len(r.builder.pictures) + 1), Path: path, Width: v.width, Height: v.height}, r.file})
	return nil
}

// root reads the document.
func (r *vocReader) root(v *vocFile) error {
	for {
		t, err := r.xml.Token()
		if err != nil {
			return err
		}
		start, ok := t.(xml.StartElement)
		if !ok {
			continue
		}
		if start.Name.Local != "annotation" {
			return fmt.Errorf("the document is %s, not annotation", suggest.Quote(start.Name.Local))
		}
		break
	}
	err := r.children(func(name string) (err error) {
		switch name {
		case "filename":
			v.filename, err = r.text()
			v.filename = filepath.Base("/" + filepath.ToSlash(strings.ReplaceAll(v.filename, `\`, "/")))
			if v.filename == "/" {
				v.filename = ""
			}
		case "size":
			err = r.size(v)
		case "object":
			err = r.object(v)
		default:
			err = r.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	for { // what follows the document
		switch _, err := r.xml.Token(); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// children calls f for each element in the current one; f reads it to its end.
func (r *vocReader) children(f func(name string) error) error {
	for {
		t, err := r.xml.Token()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if err := f(t.Name.Local); err != nil {
				return err
			}
		case xml.EndElement:
			return nil
		}
	}
}

// skip reads the current element to its end. encoding/xml's Skip knows no bound: it keeps each open element.
func (r *vocReader) skip() error {
	for depth := 1; depth > 0; {
		t, err := r.xml.Token()
		if err != nil {
			return err
		}
		switch t.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth {
				return fmt.Errorf("elements are nested more than %d deep", maxDepth)
			}
		case xml.EndElement:
			depth--
		}
	}
	return nil
}

// text is the text of the current element.
func (r *vocReader) text() (string, error) {
	var b strings.Builder
	for {
		t, err := r.xml.Token()
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.StartElement:
			if err := r.skip(); err != nil {
				return "", err
			}
		case xml.EndElement:
			return strings.TrimSpace(b.String()), nil
		}
	}
}

func (r *vocReader) size(v *vocFile) error {
	return r.children(func(name string) error {
		var to *int
		switch name {
		case "width":
			to = &v.width
		case "height":
			to = &v.height
		default:
			return r.skip()
		}
		s, err := r.text()
		if err != nil {
			return err
		}
		if s == "" {
			return nil
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 1<<30 {
			return fmt.Errorf("the %s %s is no number of pixels", name, suggest.Quote(s))
		}
		*to = n
		return nil
	})
}

// object reads an object. What is wrong with its numbers is a fault of that object.
func (r *vocReader) object(v *vocFile) error {
	line, _ := r.xml.InputPos()
	box := foundBox{at: int32(min(line, 1<<31-1))}
	var class string
	wrong := ""
	corners := map[string]float64{}
	err := r.children(func(name string) error {
		switch name {
		case "name":
			var err error
			class, err = r.text()
			return err
		case "difficult":
			s, err := r.text()
			box.Difficult = s == "1" || strings.EqualFold(s, "true")
			return err
		case "bndbox":
			return r.children(func(name string) error {
				s, err := r.text()
				if err != nil || name != "xmin" && name != "ymin" && name != "xmax" && name != "ymax" {
					return err
				}
				v, err := strconv.ParseFloat(s, 64)
				if err != nil && !errors.Is(err, strconv.ErrRange) {
					wrong = fmt.Sprintf("%s is %s, not a number", name, suggest.Quote(s))
				}
				corners[name] = v
				return nil
			})
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	where := fmt.Sprintf("%s:%d", r.file, line)
	switch {
	case wrong != "":
	case class == "":
		wrong = "the object has no name"
	case len(corners) < 4:
		wrong = "the object has no bndbox of xmin, ymin, xmax and ymax"
	case r.shift == 1 && (corners["xmin"] == 0 || corners["ymin"] == 0):
		r.fault(PartlyOutside, where, "the box starts at %g, %g, but pixels count from 1 here: are these edges "+
			"from 0 (origin: zero)?", corners["xmin"], corners["ymin"])
		return nil
	}
	if wrong != "" {
		r.fault(IncompleteEntry, where, "%s", wrong)
		return nil
	}
	box.X1, box.Y1, box.X2, box.Y2 = corners["xmin"]-r.shift, corners["ymin"]-r.shift, corners["xmax"], corners["ymax"]
	box.Area = (box.X2 - box.X1) * (box.Y2 - box.Y1)
	if box.Class, err = r.className(r.classOf, class); err != nil {
		return err
	}
	const most = 100_000
	if len(v.boxes) == most {
		return fmt.Errorf("it has more than %s objects", quantity.Digits(most))
	}
	v.boxes = append(v.boxes, box)
	return nil
}
