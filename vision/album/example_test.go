package album_test

import (
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision/album"
	"github.com/thaw-ml/thaw/vision/picture"
)

// A folder for each class, as torchvision's ImageFolder wants it; a third of each class is held back.
func Example() {
	folder, err := os.MkdirTemp("", "pets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	for _, name := range []string{"dog/rex.png", "cat/tom.png", "cat/more/kit.png", "dog/pug.png", "cat/leo.png", "dog/fox.png"} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			log.Fatal(err)
		}
		f, err := os.Create(path)
		if err != nil {
			log.Fatal(err)
		}
		if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 40, 30))); err != nil {
			log.Fatal(err)
		}
		if err := f.Close(); err != nil {
			log.Fatal(err)
		}
	}

	pets, err := album.Open(folder, album.Options{})
	if err != nil {
		log.Fatal(err)
	}
	chosen, err := data.Split(pets.ClassNumbers(), "0.33", 1)
	if err != nil {
		log.Fatal(err)
	}
	train := pets.Part(func(i int) bool { return !chosen[i] })
	test := pets.Part(func(i int) bool { return chosen[i] })
	fmt.Println(pets.Classes, "train", train.Counts(), "test", test.Counts())
	for i := range pets.Len() {
		m, err := pets.Picture(i, picture.Options{})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(pets.Classes[pets.Class(i)], filepath.Base(pets.Name(i)), m.Width, "x", m.Height)
	}
	// All these pictures are the same: a copy in training tells nothing of the test.
	same, err := album.Duplicates(train, test)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(same), "of", test.Len(), "test pictures are in training too")
	// Output:
	// [cat dog] train [2 2] test [1 1]
	// cat leo.png 40 x 30
	// cat tom.png 40 x 30
	// cat kit.png 40 x 30
	// dog fox.png 40 x 30
	// dog pug.png 40 x 30
	// dog rex.png 40 x 30
	// 2 of 2 test pictures are in training too
}
