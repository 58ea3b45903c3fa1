// Command imageclassify fine-tunes a ResNet on images that are in memory: circles and squares, which it draws itself.
// It writes no file. CHECKPOINT is the name of a network that thaw download has brought, such as resnet50, or a path:
//
//	go run ./examples/imageclassify CHECKPOINT
package main

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"log"
	"math/rand/v2"
	"os"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch/data"
	"github.com/thaw-ml/thaw/vision"
)

func main() {
	thaw.Tune()
	if len(os.Args) != 2 {
		log.Fatal("usage: imageclassify CHECKPOINT")
	}
	if err := run(context.Background(), os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, checkpoint string) error {
	model, err := vision.Load(checkpoint, vision.NewHead("circle", "square"))
	if err != nil {
		return err
	}
	defer model.Close()
	model.Input = model.Input.Sized(32, 32) // these images are simple
	rng := rand.New(rand.NewPCG(1, 0))
	trainSet, err := model.NewDataset(shapes(320, rng), vision.DatasetOptions{Augment: "flip"})
	if err != nil {
		return err
	}
	testSet, err := model.NewDataset(shapes(100, rng), vision.DatasetOptions{})
	if err != nil {
		return err
	}
	result, err := finetune.Fit(ctx, model, trainSet, testSet, finetune.Options{
		Phases: []finetune.Phase{finetune.HeadFor(1), {Train: finetune.All(), Epochs: 3, LR: 3e-4}},
	})
	if err != nil {
		return err
	}
	fmt.Printf("before  %v\nbest    %v\n", result.Before, result.Best)
	predictions, err := model.Predict(ctx, []vision.Image{shapes(2, rng)[1].Image}, finetune.PredictOptions{})
	for _, p := range predictions {
		fmt.Printf("%s %.3f  %s\n", p.Label, p.Score, p.Input)
	}
	return err
}

// shapes draws n images of 64 x 64 pixels: circles, class 0, and squares, class 1, each in a colour of its own.
func shapes(n int, rng *rand.Rand) data.Items[vision.Item] {
	items := make(data.Items[vision.Item], n)
	for i := range items {
		m, class := image.NewRGBA(image.Rect(0, 0, 64, 64)), i%2
		x0, y0, r := 24+rng.IntN(16), 24+rng.IntN(16), 10+rng.IntN(12)
		c := color.RGBA{uint8(80 + rng.IntN(176)), uint8(80 + rng.IntN(176)), uint8(80 + rng.IntN(176)), 255}
		for at := range 64 * 64 {
			x, y := at%64-x0, at/64-y0
			if class == 0 && x*x+y*y <= r*r || class == 1 && max(x, -x, y, -y) <= r {
				m.Set(at%64, at/64, c)
			}
		}
		items[i] = vision.Item{Image: vision.Pixels(fmt.Sprintf("radius %d at %d,%d", r, x0, y0), m), Class: class}
	}
	return items
}
