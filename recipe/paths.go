package recipe

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/internal/suggest"
)

// paths are the keys that are paths, and their values.
func (s *Spec) paths() iter.Seq2[string, *string] {
	return func(yield func(string, *string) bool) {
		boxes := s.Boxes
		if boxes == nil {
			boxes = &Boxes{}
		}
		keys := []string{
			"model", "weights", "data.train", "data.test", "boxes.pictures", "boxes.train_list", "boxes.test_list", "out",
		}
		for i, path := range []*string{
			&s.Model, &s.Weights, &s.Data.Train, &s.Data.Test, &boxes.Pictures, &boxes.TrainList, &boxes.TestList, &s.Out,
		} {
			if _, isFile := s.Data.TestFile(); keys[i] == "data.test" && !isFile || keys[i] == "weights" && s.FromScratch() {
				continue
			}
			if keys[i] == "model" && isName(*path) {
				continue
			}
			if !yield(keys[i], path) {
				return
			}
		}
	}
}

// CheckPaths checks that the folder and the files that a resolved spec names are there, and that the run folder is not,
// and can be made. A model that is given by its name is looked for among those that were downloaded, and its path put
// in the name's place. The error is SpecErrors, with all that was found wrong.
func (s *Spec) CheckPaths() error { return s.checkPaths(Local) }

// checkPaths is CheckPaths with another way to find a model by its name.
func (s *Spec) checkPaths(find func(name string) (path string, err error)) error {
	f := newFaults(s.source)
	kind := s.kind()
	if model := s.ModelName(); model != "" && !kind.isArchitecture(s) {
		if err := ofOtherKind(model, kind); err != nil {
			f.add("model", "%w", err)
		} else if path, err := find(model); err == nil {
			s.Model = path
		} else {
			absent := notThere(filepath.Join(s.source.folder("model"), model), "folder", fs.ErrNotExist)
			if strings.Contains(absent.Error(), "did you mean") {
				f.add("model", "%w", absent)
			} else {
				f.add("model", "%w, and %w", absent, err)
			}
		}
	} else {
		kind.checkModel(s, f)
	}
	if s.Weights != "" && !s.FromScratch() {
		f.file("weights", s.Weights)
	}
	there := f.file
	if kind.takesFolders() {
		there = f.there
	}
	train := there("data.train", s.Data.Train)
	if path, ok := s.Data.TestFile(); ok {
		if step := meantStep(path); step != "" {
			f.add("data.test", "there is no file %s; did you mean %q?", path, step)
		}
		test := there("data.test", path)
		f.check(train == nil || test == nil || !os.SameFile(train, test) || s.Boxes.parted(path), "data.test", "is the training file")
	}
	if s.Out != "" && !s.goesOn {
		_, err := os.Lstat(s.Out)
		f.check(err != nil, "out", "%s exists; nothing is overwritten", s.Out)
		if err := canMake(s.Out); err != nil {
			f.add("out", "%w", err)
		}
	}
	return f.err()
}

var wordAndNumber = regexp.MustCompile(`^([A-Za-z]+)[-_: ]*([0-9]+)$`)

// meantStep is the step, as in "every 10", that the name of test data which is not there was likely meant to be; ""
// where it is none.
func meantStep(path string) string {
	if _, err := os.Lstat(path); err == nil {
		return ""
	}
	m := wordAndNumber.FindStringSubmatch(filepath.Base(path))
	if m == nil || suggest.Nearest(m[1], []string{"every"}) == "" {
		return ""
	}
	return "every " + m[2]
}

// canMake tells why a folder cannot be made, as far as the nearest folder above it tells that is there.
func canMake(path string) error {
	above := filepath.Dir(path)
	info, err := os.Stat(above)
	for ; (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR)) && above != filepath.Dir(above); info, err = os.Stat(above) {
		above = filepath.Dir(above)
	}
	if err == nil && !info.IsDir() {
		return fmt.Errorf("no folder can be made in %s: it is a file", above)
	}
	if err == nil {
		err = unix.Access(above, unix.W_OK|unix.X_OK)
	}
	if err != nil {
		return fmt.Errorf("no folder can be made in %s: %w", above, err)
	}
	return nil
}

// registered is what a model of a registry may be called: a word, or hf:ORGANISATION/NAME.
var registered = regexp.MustCompile(`^(hf:[\w.-]+/)?[A-Za-z0-9][\w.-]*(@[\w.-]+)?$`)

// weightsFile is what files of weights are called.
var weightsFile = regexp.MustCompile(`\.(pth|pt|bin|safetensors|json|ckpt|tar)$`)

func isName(model string) bool {
	return registered.MatchString(model) && !weightsFile.MatchString(model)
}

// ofOtherKind refuses a registered detector where none is trained, and another model where one is.
func ofOtherKind(model string, k kind) error {
	name, _, _ := strings.Cut(model, "@")
	m, err := hub.Find(name)
	if err != nil || (m.Kind == hub.Detector) == (k.registered() == hub.Detector) {
		return nil
	}
	if m.Kind == hub.Detector {
		return fmt.Errorf("%s is a detector: a spec with a section boxes trains it", m.Name)
	}
	return fmt.Errorf("%s is %s: name a detector, such as fcos_resnet50_fpn, and give the file of its backbone as weights", m.Name, withArticle(string(m.Kind)))
}

// ModelName is Model where that is a name, "" where it is a path.
func (s *Spec) ModelName() string {
	if isName(s.Model) {
		return s.Model
	}
	return ""
}

// FromScratch reports whether the weights are to be random.
func (s *Spec) FromScratch() bool { return s.Weights == "none" }

// file checks that there is a file to read, and returns what is known of it.
func (f *faults) file(key, path string) fs.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		f.add(key, "%w", notThere(path, "file", err))
		return nil
	}
	if info.IsDir() {
		f.add(key, "%s is a folder; expected a file", path)
		return nil
	}
	return info
}

// notThere words the error of os.Stat, with what has nearly that name in the folder.
func notThere(path, kind string, err error) error {
	if !os.IsNotExist(err) {
		return err
	}
	folder, name := filepath.Split(path)
	entries, _ := os.ReadDir(cmp.Or(folder, ".")) // an error leaves no names to propose
	var names []string
	for _, e := range entries {
		if e.IsDir() == (kind == "folder") {
			names = append(names, e.Name())
		}
	}
	return &absent{fmt.Sprintf("there is no %s %s%s", kind, path, suggest.DidYouMean(name, names)), err}
}

// absent is an fs.ErrNotExist with words of its own.
type absent struct {
	msg string
	err error
}

func (e *absent) Error() string { return e.msg }
func (e *absent) Unwrap() error { return e.err }

// there checks that there is a file or a folder to read.
func (f *faults) there(key, path string) fs.FileInfo {
	info, err := os.Stat(path)
	if err != nil {
		f.add(key, "%w", notThere(path, "file or folder", err))
		return nil
	}
	return info
}
