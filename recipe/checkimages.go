package recipe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
)

var imageNoun = [2]string{"image", "images"}

// albumRows are the images of an album as package preflight sees them.
type albumRows struct{ *album.Album }

// Labels implements preflight.Rows.
func (a albumRows) Labels(i int) []string { return []string{a.Classes[a.Class(i)]} }

// checkAlbums does the checks that decode nothing, before a run.
func checkAlbums(s *Spec, training, test *album.Album, keys [][]string) (*preflight.Report, error) {
	r := &preflight.Report{}
	checkContents(r, s, training, test, keys)
	return r, s.refused(r)
}

// checkContents takes the images' keys, see album.CopyKeys.
func checkContents(r *preflight.Report, s *Spec, training, test *album.Album, keys [][]string) {
	problem := s.problemOfLabels()
	problem.Classes = training.Classes
	r.CheckClasses(albumRows{training}, albumRows{test}, problem)
	r.CheckCopies(albumRows{training}, albumRows{test}, keys[0], keys[1], problem, imageNoun)
	r.CheckTestSize(s.chosenBy(), problem)
}

// preflight implements kind.
func (images) preflight(ctx context.Context, s *Spec) (*preflight.Report, error) {
	if s.Head.Objective != Classification {
		return nil, errNotYet(s)
	}
	r := &preflight.Report{}
	lenient := *s
	lenient.Accept = append(slices.Clone(s.Accept), preflight.EmptyClasses) // which are counted, and graded, below
	training, test, err := openAlbums(&lenient)
	if errors.As(err, new(*album.OtherClassError)) {
		err = otherClasses(s, r, err)
		return r, err
	}
	if errors.As(err, new(*SpecError)) {
		return nil, err
	}
	if err != nil {
		r.Add(preflight.Unreadable, preflight.Fatal, 0, "the images cannot be opened", []preflight.Case{{Where: err.Error()}})
		return r, nil
	}
	input, err := imageInput(s)
	if err != nil {
		return nil, err
	}
	keys, _, err := album.CopyKeys(ctx, training, test) // what cannot be read is told of below
	if err != nil {
		return nil, err
	}
	checkContents(r, s, training, test, keys)
	sets := []*album.Album{training, test}
	hashes := make([][]preflight.PictureHash, 2)
	var sizes []preflight.Size
	var unreadable []preflight.Case
	for n, a := range sets {
		var own []preflight.Size
		var bad []preflight.Case
		if hashes[n], own, bad, err = decodeAll(ctx, a); err != nil {
			return nil, err
		}
		sizes, unreadable = append(sizes, own...), append(unreadable, bad...)
	}
	grade, help := preflight.Fatal, "images.unreadable: skip leaves such out"
	if s.Images.Unreadable == "skip" {
		grade, help = preflight.Warning, "they are left out (images.unreadable: skip)"
	}
	r.Add(preflight.Unreadable, grade, len(sizes), "images that cannot be read; "+help, unreadable)
	r.CheckSizes(sizes, func(i int) string {
		if i < training.Len() {
			return training.Where(i)
		}
		return test.Where(i - training.Len())
	}, input)
	if training.Others > 0 {
		r.AddCounted(preflight.IgnoredFiles, preflight.Warning, training.Others, 0, "files of the folder that are no images are passed over",
			preflight.Case{Where: training.FirstOther})
	}
	return r, r.CheckNearPictures(ctx, albumRows{training}, albumRows{test}, hashes[0], hashes[1], keys[0], keys[1])
}

func errNotYet(s *Spec) error {
	return s.Errorf("head.objective", "images are not trained for %s by the program yet; package vision does so from Go", s.Head.Objective)
}

// otherClasses counts the images of classes that are not wanted.
func otherClasses(s *Spec, r *preflight.Report, fault error) error {
	lenient := *s
	lenient.Data.OtherClasses, lenient.Accept = "skip", append(slices.Clone(s.Accept), preflight.EmptyClasses)
	training, test, err := openAlbums(&lenient)
	if err != nil {
		return err
	}
	r.Train, r.Test = training.Len(), test.Len()
	count := training.LeftOut
	if _, apart := s.Data.TestFile(); apart {
		count += test.LeftOut
	}
	r.AddCounted(preflight.UnknownLabels, preflight.Fatal, max(1, count), r.Train+r.Test+count, "images of classes that are not wanted",
		preflight.Case{Where: fault.Error()})
	return nil
}

// imageInput is the side of the square that the model sees.
func imageInput(s *Spec) (int, error) {
	if s.Images.Size > 0 {
		return s.Images.Size, nil
	}
	input, err := vision.InputOf(s.Model, s.Weights)
	return input.Crop, err
}

// decodeAll decodes all images, at a part of their size where their format allows it: what makes them like one another,
// their sizes, and those that cannot be read.
func decodeAll(
	ctx context.Context, a *album.Album,
) (hashes []preflight.PictureHash, sizes []preflight.Size, bad []preflight.Case, err error) {
	n := a.Len()
	hashes, sizes = make([]preflight.PictureHash, n), make([]preflight.Size, n)
	failures := make([]error, n)
	err = a.Survey(ctx, runtime.GOMAXPROCS(0), preflight.HashedAtLeast, func(i int, m *picture.Image, failure error) {
		if failures[i] = failure; failure != nil {
			return
		}
		sizes[i] = preflight.Size{Width: m.FullWidth, Height: m.FullHeight}
		hashes[i] = hashOf(m)
	})
	if err != nil {
		return nil, nil, nil, err
	}
	for i, failure := range failures {
		if failure != nil {
			bad = append(bad, preflight.Case{Where: a.Where(i), What: reason(failure, a.Name(i))})
		}
	}
	return hashes, sizes, bad, nil
}

// hashOf is the hash of a picture that was decoded at a part of its size; the zero value of one too small to compare.
func hashOf(m *picture.Image) (h preflight.PictureHash) {
	if min(m.FullWidth, m.FullHeight) >= preflight.HashedFrom {
		h = preflight.HashPicture(m.Width, m.Height, m.Pix)
	}
	return h
}

// reason is an error without the path that stands before it.
func reason(err error, path string) string {
	text := err.Error()
	for _, name := range []string{path, filepath.Base(path)} {
		if _, after, found := strings.Cut(text, fmt.Sprintf("reading picture %s: ", name)); found {
			return after
		}
	}
	return text
}
