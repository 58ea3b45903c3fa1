package recipe

import (
	"context"
	"errors"
	"slices"

	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
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
func checkSets(s *Spec, training, test *annotation.Set) (*preflight.Report, error) {
	r := &preflight.Report{}
	r.CheckClasses(setRows{training}, setRows{test}, preflight.Problem{Classes: training.Classes, Several: true})
	return r, s.refused(r)
}

// preflight implements kind.
func (boxes) preflight(_ context.Context, s *Spec) (*preflight.Report, error) {
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
	r.CheckClasses(setRows{training}, setRows{test}, preflight.Problem{Classes: training.Classes, Several: true})
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
	return r, nil
}
