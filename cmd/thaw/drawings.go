package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/vision/detection"
	"github.com/thaw-ml/thaw/vision/detection/draw"
	"github.com/thaw-ml/thaw/vision/picture"
)

// drawings are pictures with boxes, in a folder; a nil *drawings draws none.
type drawings struct {
	folder string
	taken  map[string]bool
}

// newDrawings makes the folder. One that holds anything is left alone.
func newDrawings(folder string) (*drawings, error) {
	if folder == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(folder, 0o777)
	case err == nil && len(entries) > 0:
		err = fmt.Errorf("%s is not empty; nothing is overwritten: name another folder", folder)
	}
	if err != nil {
		return nil, usageError{fmt.Sprintf("predict: --draw: %v", err)}
	}
	return &drawings{folder, map[string]bool{}}, nil
}

// draw leaves a picture with what was found in it. Its name is the picture's, .jpg for JPEGs and .png for others.
func (d *drawings) draw(f recipe.Finder, p detection.Prediction) error {
	if d == nil {
		return nil
	}
	m, err := picture.Read(p.Input, picture.Options{})
	if err != nil {
		return err
	}
	var boxes []draw.Box
	for i := len(p.Detections) - 1; i >= 0; i-- { // the best on top
		b := p.Detections[i]
		boxes = append(boxes, draw.Box{
			X1: float64(b.X1), Y1: float64(b.Y1), X2: float64(b.X2), Y2: float64(b.Y2), Class: b.Label,
			Label: draw.Label(f.ClassOf(b.Label), float64(b.Score)),
		})
	}
	return draw.Write(filepath.Join(d.folder, d.name(p.Input)), m, boxes)
}

// name is one that no other picture has.
func (d *drawings) name(path string) string {
	extension := ".png"
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jpg", ".jpeg":
		extension = ".jpg"
	}
	stem := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	name := stem + extension
	for n := 2; d.taken[name]; n++ {
		name = fmt.Sprintf("%s-%d%s", stem, n, extension)
	}
	d.taken[name] = true
	return name
}
