package annotation

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// dataYAML is what is read of YOLO's data.yaml.
type dataYAML struct {
	Path             string
	Train, Val, Test paths
	Names            yaml.Node
	Count            *int `yaml:"nc"`
}

// paths is a path or a list of them.
type paths []string

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *paths) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		var list []string
		err := n.Decode(&list)
		*p = list
		return err
	}
	var one string
	if err := n.Decode(&one); err != nil {
		return err
	}
	if *p = nil; one != "" {
		*p = paths{one}
	}
	return nil
}

// openYAML reads data.yaml: the classes, and where the split's pictures are.
func (r *yoloReader) openYAML(path string) ([]string, error) {
	sources, err := r.readYAML(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return sources, nil
}

func (r *yoloReader) readYAML(path string) ([]string, error) {
	f, err := openText(path, maxNames, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	var y dataYAML
	if err := yaml.Unmarshal(text, &y); err != nil {
		return nil, fmt.Errorf("not YOLO's YAML: %s", suggest.Shorten(strings.ReplaceAll(err.Error(), "\n", " ")))
	}
	if err := r.yamlNames(&y.Names); err != nil {
		return nil, err
	}
	if y.Count != nil && *y.Count != len(r.classes) {
		return nil, fmt.Errorf("nc is %d, but names has %d classes", *y.Count, len(r.classes))
	}
	splits := map[string]paths{"train": y.Train, "val": y.Val, "test": y.Test}
	split := r.YOLO.Split
	if split == "" {
		split = "train"
	}
	list, known := splits[split]
	if !known {
		return nil, fmt.Errorf("there is no split %s: want train, val or test", suggest.Quote(split))
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: it has no pictures: want a folder or a file with a list of them", split)
	}
	if r.Options.Pictures != "" {
		return []string{r.Options.Pictures}, nil
	}
	return yamlSources(filepath.Dir(path), y.Path, list, split)
}

// yamlNames takes the classes, which are a list, or a map from 0 on.
func (r *yoloReader) yamlNames(n *yaml.Node) error {
	var names []string
	switch n.Kind {
	case 0:
		return errors.New("there are no names")
	case yaml.MappingNode:
		byNumber := map[int]string{}
		if err := n.Decode(&byNumber); err != nil {
			return fmt.Errorf("line %d: names: want a number and a name for each class", n.Line)
		}
		for i := range len(byNumber) {
			name, known := byNumber[i]
			if !known {
				return fmt.Errorf("line %d: names: the %d classes are not numbered from 0 without gaps: there is no %d", n.Line,
					len(byNumber), i)
			}
			names = append(names, name)
		}
	default:
		if err := n.Decode(&names); err != nil {
			return fmt.Errorf("line %d: names: want a list of names", n.Line)
		}
	}
	if len(names) == 0 {
		return errors.New("there are no names")
	}
	for i, name := range names {
		if strings.TrimSpace(name) == "" {
			return fmt.Errorf("line %d: names: the class %d has no name", n.Line, i)
		}
		if err := r.addClass(name); err != nil {
			return fmt.Errorf("line %d: names: %w", n.Line, err)
		}
	}
	return nil
}

// yamlSources are the folders and lists of a split. They are relative to path, which is relative to the file; where
// nothing is there, to the file; and "../" at their start may be left out, as some exports have one too many.
func yamlSources(folder, path string, list paths, split string) ([]string, error) {
	roots := []string{folder}
	if path != "" {
		roots = []string{inFolder(folder, path), folder}
	}
	var found []string
	for _, p := range list {
		var tried []string
		for _, root := range roots {
			tried = append(tried, inFolder(root, p))
			if short, ok := strings.CutPrefix(p, "../"); ok {
				tried = append(tried, filepath.Join(root, short))
			}
		}
		at := slices.IndexFunc(tried, exists)
		if at < 0 {
			return nil, fmt.Errorf("%s: %s is not there (looked for %s)", split, suggest.Quote(p),
				suggest.List(slices.Compact(tried)))
		}
		found = append(found, tried[at])
	}
	return found, nil
}
