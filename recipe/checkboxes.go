package recipe

import (
	"context"
	"errors"
	"slices"

	"github.com/thaw-ml/thaw/internal/parallel"
	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
	"github.com/thaw-ml/thaw/vision/picture"
)

// setRows are annotated pictures as package preflight sees them: a picture's labels are the classes of its boxes.
type setRows struct{ *annotation.Set }

// Labels implements preflight.Rows.
func (r setRows) Labels(i int) (classes []string) {
	for _, b := range r.Pictures[i].Boxes {
		if name := r.Classes[b.Class]; !slices.Contains(classes, name) {
			classes = append(classes, name)
		}
	}
	return classes
}

// Where implements preflight.Rows.
func (r setRows) Where(i int) string { return r.Pictures[i].Path }

// checkSets does the checks that decode nothing, before a run.
func checkSets(ctx context.Context, s *Spec, training, test *annotation.Set) (*preflight.Report, error) {
	r := &preflight.Report{}
	if _, err := checkContentsOfSets(ctx, r, training, test); err != nil {
		return nil, err
	}
	return r, s.refused(r)
}

// checkContentsOfSets looks at classes and for pictures that come twice, whose keys it gives, see album.FileCopyKeys.
func checkContentsOfSets(ctx context.Context, r *preflight.Report, training, test *annotation.Set) (keys [][]string, err error) {
	problem := preflight.Problem{Classes: training.Classes, Several: true}
	r.CheckClasses(setRows{training}, setRows{test}, problem)
	// What cannot be read has been told of, or left out, when the annotations were opened.
	if keys, _, err = album.FileCopyKeys(ctx, pathsOf(training), pathsOf(test)); err != nil {
		return nil, err
	}
	r.CheckCopies(setRows{training}, setRows{test}, keys[0], keys[1], problem, pictureNoun)
	return keys, nil
}

var pictureNoun = [2]string{"picture", "pictures"}

func pathsOf(set *annotation.Set) []string {
	paths := make([]string, set.Len())
	for i := range paths {
		paths[i] = set.Pictures[i].Path
	}
	return paths
}

// lookAlike decodes the pictures of a set, at a part of their size where their format allows it: what makes them like one
// another, and those that cannot be read.
func lookAlike(ctx context.Context, set *annotation.Set) (hashes []preflight.PictureHash, bad []preflight.Case, err error) {
	hashes = make([]preflight.PictureHash, set.Len())
	failures := make([]error, set.Len())
	parallel.Each(set.Len(), func(i int) {
		if ctx.Err() != nil {
			return
		}
		m, err := picture.Read(set.Pictures[i].Path, picture.Options{MinSize: func(int, int) (int, int) {
			return preflight.HashedAtLeast, preflight.HashedAtLeast
		}})
		if failures[i] = err; err == nil {
			hashes[i] = hashOf(m)
		}
	})
	for i, failure := range failures {
		if failure != nil {
			bad = append(bad, preflight.Case{Where: set.Pictures[i].Path, What: reason(failure, set.Pictures[i].Path)})
		}
	}
	return hashes, bad, ctx.Err()
}

// preflight implements kind.
func (boxes) preflight(ctx context.Context, s *Spec) (*preflight.Report, error) {
	r := &preflight.Report{}
	lenient := *s
	own := *s.Boxes
	own.Faults = "skip"
	lenient.Boxes = &own
	training, test, err := openBoxes(&lenient)
	if errors.As(err, new(*SpecError)) {
		return nil, err
	}
	if err != nil {
		r.Add(preflight.Unreadable, preflight.Fatal, 0, "the annotations cannot be opened", []preflight.Case{{Where: err.Error()}})
		return r, nil
	}
	keys, err := checkContentsOfSets(ctx, r, training, test)
	if err != nil {
		return nil, err
	}
	grade, help := preflight.Fatal, "boxes.faults: skip leaves such out"
	if s.Boxes.Faults == "skip" {
		grade, help = preflight.Warning, "they are left out (boxes.faults: skip)"
	}
	sets := []*annotation.Set{training}
	if _, apart := s.Data.TestFile(); apart {
		sets = append(sets, test)
	}
	for _, set := range sets {
		var first []preflight.Case
		for _, f := range set.Skipped.First {
			first = append(first, preflight.Case{Where: f.Where, What: f.Msg})
		}
		if n := set.Skipped.Count; n > 0 {
			r.AddCounted(preflight.Unreadable, grade, n, set.Boxes()+n, "boxes and pictures with something wrong; "+help, first...)
		}
	}
	var hashes [2][]preflight.PictureHash
	var bad []preflight.Case
	for n, set := range []*annotation.Set{training, test} {
		var own []preflight.Case
		if hashes[n], own, err = lookAlike(ctx, set); err != nil {
			return nil, err
		}
		bad = append(bad, own...)
	}
	r.Add(preflight.Unreadable, grade, training.Len()+test.Len(), "pictures that cannot be read; "+help, bad)
	return r, r.CheckNearPictures(ctx, setRows{training}, setRows{test}, hashes[0], hashes[1], keys[0], keys[1])
}
