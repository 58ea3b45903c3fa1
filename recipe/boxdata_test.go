package recipe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/preflight"
	"github.com/thaw-ml/thaw/vision/detection/annotation"
)

// vocOf writes a set as a VOC folder with two lists, and as YOLO's files with three splits, beside its pictures.
func vocOf(t *testing.T, folder string, set *annotation.Set) {
	t.Helper()
	put := func(path, text string) {
		path = filepath.Join(folder, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	lists := map[string]string{}
	for i, p := range set.Pictures {
		var xml, txt strings.Builder
		fmt.Fprintf(&xml, "<annotation><filename>%s</filename><size><width>%d</width><height>%d</height><depth>3</depth></size>", filepath.Base(p.Path), p.Width, p.Height)
		for _, b := range p.Boxes {
			fmt.Fprintf(&xml, "<object><name>%s</name><bndbox><xmin>%g</xmin><ymin>%g</ymin><xmax>%g</xmax><ymax>%g</ymax></bndbox></object>",
				set.Classes[b.Class], b.X1+1, b.Y1+1, b.X2, b.Y2)
			w, h := float64(p.Width), float64(p.Height)
			fmt.Fprintf(&txt, "%d %g %g %g %g\n", b.Class, (b.X1+b.X2)/2/w, (b.Y1+b.Y2)/2/h, (b.X2-b.X1)/w, (b.Y2-b.Y1)/h)
		}
		name := strings.TrimSuffix(filepath.Base(p.Path), ".png")
		split := []string{"train", "train", "val", "test"}[i%4]
		lists[split] += name + "\n"
		put("voc/Annotations/"+name+".xml", xml.String()+"</annotation>")
		pixels, err := os.ReadFile(p.Path)
		require.NoError(t, err)
		put("voc/JPEGImages/"+name+".png", string(pixels))
		put("yolo/images/"+split+"/"+name+".png", string(pixels))
		put("yolo/labels/"+split+"/"+name+".txt", txt.String())
	}
	for split, names := range lists {
		put("voc/ImageSets/Main/"+split+".txt", names)
	}
	put("yolo/data.yaml", "path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnames: [red, green]\n")
}

func TestPartsOfOneFolder(t *testing.T) {
	folder := t.TempDir()
	set, err := annotation.Open(drawSquares(t, folder, 12), annotation.Options{})
	require.NoError(t, err)
	vocOf(t, folder, set)
	open := func(text string) (training, test *annotation.Set, err error) {
		path := filepath.Join(folder, "spec.yaml")
		require.NoError(t, os.WriteFile(path, []byte("model: fcos_resnet18_fpn\nweights: none\nphases: [{train: all, epochs: 1, lr: 1e-3}]\nout: run\n"+text), 0o644))
		s, err := Read(path)
		if err == nil {
			s, err = s.Resolved()
		}
		if err == nil {
			err = s.CheckPaths()
		}
		if err != nil {
			return nil, nil, err
		}
		return openBoxes(&s)
	}
	names := func(s *annotation.Set) (out []string) {
		for _, p := range s.Pictures {
			out = append(out, filepath.Base(p.Path))
		}
		return out
	}
	training, test, err := open("data: {train: voc/Annotations, test: voc/Annotations}\n" +
		"boxes: {train_list: voc/ImageSets/Main/train.txt, test_list: voc/ImageSets/Main/val.txt}\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"00.png", "01.png", "04.png", "05.png", "08.png", "09.png"}, names(training))
	assert.Equal(t, []string{"02.png", "06.png", "10.png"}, names(test))
	assert.Equal(t, set.Pictures[2].Boxes[0].X1, test.Pictures[0].Boxes[0].X1)

	training, test, err = open("data: {train: yolo/data.yaml, test: yolo/data.yaml}\nboxes: {}\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"00.png", "01.png", "04.png", "05.png", "08.png", "09.png"}, names(training))
	assert.Equal(t, []string{"02.png", "06.png", "10.png"}, names(test))
	training, test, err = open("data: {train: yolo/data.yaml, test: yolo/data.yaml}\nboxes: {train_split: val, test_split: test}\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"02.png", "06.png", "10.png"}, names(training))
	assert.Equal(t, []string{"03.png", "07.png", "11.png"}, names(test))

	for text, want := range map[string]string{
		"data: {train: yolo/data.yaml, test: yolo/data.yaml}\nboxes: {test_split: train}\n":   "is the training file",
		"data: {train: voc/Annotations, test: voc/Annotations}\nboxes: {train_list: a.txt}\n": "is the training file",
		"data: {train: yolo/data.yaml, test: \"0.5\"}\nboxes: {test_split: val}\n":            "boxes.test_split: is of data.test",
		"data: {train: voc/Annotations, test: \"0.5\"}\nboxes: {test_list: val.txt}\n":        "boxes.test_list: is of data.test",
		"data: {train: yolo/data.yaml}\nboxes: {train_split: vall}\n":                         `expected train, val, test, found "vall"; did you mean "val"?`,
		"data: {train: voc/Annotations}\nboxes: {augment: hflip}\n":                           `did you mean "flip"?`,
		"data: {train: voc/Annotations}\nboxes: {augment: sdlite}\n":                          `did you mean "ssdlite"?`,
		"data: {train: voc/Annotations}\nboxes: {scale: [0.5, 1.5]}\n":                        "boxes.scale: is for boxes.augment: lsj",
		"data: {train: voc/Annotations}\nboxes: {augment: lsj, scale: [2, 1]}\n":              "boxes.scale: must be two numbers, rising",
		"data: {train: voc/Annotations}\nboxes: {distrot: true}\n":                            `did you mean "distort"?`,
		"data: {train: voc/Annotations}\nboxes: {aspect_groups: -1}\n":                        "boxes.aspect_groups: must be from 0",
	} {
		_, _, err := open(text)
		require.ErrorContains(t, err, want, text)
	}
	_, _, err = open("data: {train: voc/Annotations}\nboxes: {train_list: voc/absent.txt}\n")
	require.ErrorContains(t, err, "absent.txt")
}

func TestBoxesOptionsOfASpec(t *testing.T) {
	s, err := Parse("s.yaml", []byte("model: fcos_resnet18_fpn\nweights: none\nphases: [{train: all, epochs: 1, lr: 1e-3}]\n"+
		"data: {train: a.json}\nboxes: {augment: lsj, scale: [0.5, 2], distort: true, aspect_groups: 0}\n"))
	require.NoError(t, err)
	s, err = s.Resolved()
	require.NoError(t, err)
	o := s.Boxes.options(9)
	assert.Equal(t, "lsj", o.Augment)
	assert.Equal(t, [2]float64{0.5, 2}, o.Scale)
	assert.True(t, o.Distort)
	assert.Equal(t, -1, o.AspectGroups)
	assert.Equal(t, uint64(9), o.Seed)
	text, err := s.YAML() // as a run keeps it
	require.NoError(t, err)
	again, err := Parse("again.yaml", text)
	require.NoError(t, err)
	again, err = again.Resolved()
	require.NoError(t, err)
	assert.Equal(t, o, again.Boxes.options(9))
	for _, text := range []string{"{}", "{augment: ssd}", "{augment: lsj}"} {
		s, err := Parse("s.yaml", []byte("model: fcos_resnet18_fpn\nweights: none\nphases: [{train: all, epochs: 1, lr: 1e-3}]\n"+
			"data: {train: a.json}\nboxes: "+text+"\n"))
		require.NoError(t, err)
		s, err = s.Resolved()
		require.NoError(t, err)
		written, err := s.YAML()
		require.NoError(t, err)
		again, err := Parse("again.yaml", written)
		require.NoError(t, err)
		again, err = again.Resolved()
		require.NoError(t, err, "%s", written)
		assert.Equal(t, s.Boxes, again.Boxes)
		assert.Equal(t, text == "{augment: lsj}", strings.Contains(string(written), "scale: "), "%s", written)
	}
	assert.Equal(t, 3, (&Boxes{AspectGroups: new(3)}).options(1).AspectGroups)
	assert.Zero(t, (&Boxes{}).options(1).AspectGroups, "of a run without a spec: as by default")
}

func TestCopiesOfAnnotatedPictures(t *testing.T) {
	folder := t.TempDir()
	path := drawSquares(t, folder, 24)
	s, err := Parse("s.yaml", fmt.Appendf(nil, "model: fcos_resnet18_fpn\nweights: none\nphases: [{train: all, epochs: 1, lr: 1e-3}]\n"+
		"data: {train: %s, test: %s}\nboxes: {}\nout: %s\n", path, filepath.Join(folder, "test.json"), filepath.Join(folder, "run")))
	require.NoError(t, err)
	s, err = s.Resolved()
	require.NoError(t, err)
	of := func(pictures ...int) *preflight.Report {
		t.Helper()
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var file struct {
			Images, Annotations, Categories []map[string]any
		}
		require.NoError(t, json.Unmarshal(text, &file))
		kept := map[any]bool{}
		var images []map[string]any
		for _, i := range pictures {
			kept[file.Images[i]["id"]] = true
			images = append(images, file.Images[i])
		}
		var annotations []map[string]any
		for _, a := range file.Annotations {
			if kept[a["image_id"]] {
				annotations = append(annotations, a)
			}
		}
		text, err = json.Marshal(map[string]any{"images": images, "annotations": annotations, "categories": file.Categories})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "test.json"), text, 0o644))
		r, err := Preflight(t.Context(), &s)
		require.NoError(t, err)
		return r
	}
	r := of(1, 2, 4, 5)
	var found *preflight.Finding
	for i := range r.Findings {
		if r.Findings[i].Name == preflight.Duplicates {
			found = &r.Findings[i]
		}
	}
	require.NotNil(t, found, "%v", r.Findings)
	assert.Equal(t, preflight.Fatal, found.Grade)
	assert.Equal(t, 4, found.Count)
	// A run refuses them too, before anything is trained.
	training, test, err := openBoxes(&s)
	require.NoError(t, err)
	_, err = checkSets(t.Context(), &s, training, test)
	require.ErrorContains(t, err, preflight.Duplicates)
	s.Accept = []string{preflight.Duplicates}
	_, err = checkSets(t.Context(), &s, training, test)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(filepath.Join(folder, "23.png"), []byte("no picture"), 0o644))
	r = of(1, 2)
	names := map[string]bool{}
	for _, f := range r.Findings {
		names[f.Name] = true
	}
	assert.True(t, names[preflight.Unreadable], "%v", r.Findings)
}
