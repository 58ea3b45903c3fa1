package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// The parts of a file in COCO's format (https://cocodataset.org/#format-data) that matter here.
type (
	cocoImage struct {
		ID       int    `json:"id"`
		FileName string `json:"file_name"`
		Width    int    `json:"width"`
		Height   int    `json:"height"`
	}
	cocoAnnotation struct {
		ID         int    `json:"id"`
		ImageID    int    `json:"image_id"`
		CategoryID int    `json:"category_id"`
		BBox       [4]int `json:"bbox"` // x, y, width, height
		Area       int    `json:"area"`
		IsCrowd    int    `json:"iscrowd"`
	}
	cocoCategory struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	cocoFile struct {
		Images      []cocoImage      `json:"images"`
		Annotations []cocoAnnotation `json:"annotations"`
		Categories  []cocoCategory   `json:"categories"`
	}
)

// writeSet composes n pictures into folder/name, and writes folder/name.json. It gives the number of boxes.
func writeSet(folder, name string, n int, l *library, seed, stream uint64) (boxes int, err error) {
	if err := os.Mkdir(filepath.Join(folder, name), 0o777); err != nil {
		return 0, err
	}
	rng := rand.New(rand.NewPCG(seed, stream))
	next := inTurn(rng, len(l.classes))
	f := cocoFile{Annotations: []cocoAnnotation{}}
	for i := range l.classes {
		f.Categories = append(f.Categories, cocoCategory{i + 1, classes[i].name})
	}
	for i := range n {
		s := newScene(l, rng, next)
		image := cocoImage{i + 1, fmt.Sprintf("%s/%03d.jpg", name, i+1), s.image.Rect.Dx(), s.image.Rect.Dy()}
		if err := writeJPEG(filepath.Join(folder, filepath.FromSlash(image.FileName)), s.image); err != nil {
			return 0, err
		}
		f.Images = append(f.Images, image)
		for _, o := range s.objects {
			f.Annotations = append(f.Annotations, cocoAnnotation{
				ID: len(f.Annotations) + 1, ImageID: image.ID, CategoryID: o.class + 1,
				BBox: [4]int{o.box.Min.X, o.box.Min.Y, o.box.Dx(), o.box.Dy()}, Area: o.area,
			})
		}
	}
	data, err := json.Marshal(f)
	if err != nil {
		return 0, err
	}
	return len(f.Annotations), os.WriteFile(filepath.Join(folder, name+".json"), append(data, '\n'), 0o666)
}

// inTurn gives each of n numbers once, in random order, then again.
func inTurn(rng *rand.Rand, n int) func() int {
	var left []int
	return func() int {
		if len(left) == 0 {
			left = rng.Perm(n)
		}
		i := left[0]
		left = left[1:]
		return i
	}
}

// pretrainingSide is that of a picture to pre-train on, pixels. A stamp takes half of it or more.
const pretrainingSide = 64

// writePretraining makes a folder for each other stamp.
func writePretraining(folder string, each int, l *library, seed uint64) error {
	failures := make([]error, len(l.others))
	var busy sync.WaitGroup
	turns := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, s := range l.others {
		turns <- struct{}{}
		busy.Go(func() {
			defer func() { <-turns }()
			class := filepath.Join(folder, strings.ReplaceAll(s.name, "/", "-"))
			failures[i] = writeClass(class, each, s, rand.New(rand.NewPCG(seed, 1000+uint64(i))))
		})
	}
	busy.Wait()
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

func writeClass(folder string, each int, s stamp, rng *rand.Rand) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	for i := range each {
		m := ground(rng, pretrainingSide, pretrainingSide)
		drawn := s.placed(randomLook(rng, pretrainingSide/2+rng.IntN(pretrainingSide/2-2)))
		at := image.Pt(rng.IntN(pretrainingSide-drawn.Rect.Dx()), rng.IntN(pretrainingSide-drawn.Rect.Dy()))
		for y := range drawn.Rect.Dy() {
			for x := range drawn.Rect.Dx() {
				p := at.Add(image.Pt(x, y))
				m.SetRGBA(p.X, p.Y, over(m.RGBAAt(p.X, p.Y), drawn.NRGBAAt(x, y)))
			}
		}
		if err := writeJPEG(filepath.Join(folder, fmt.Sprintf("%02d.jpg", i)), m); err != nil {
			return err
		}
	}
	return nil
}

func writeJPEG(path string, m image.Image) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := jpeg.Encode(f, m, &jpeg.Options{Quality: 92}); err != nil {
		return err
	}
	return f.Close()
}
