package vision_test

import (
	"context"
	"fmt"
	"image"
	"image/color"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/vision"
)

// An image in memory is classified; weights would come from Load or OpenPretrained.
func ExampleClassifier_Predict() {
	model, err := vision.NewClassifier("resnet18", 3, 1) // random weights, of classes 0, 1 and 2
	if err != nil {
		fmt.Println(err)
		return
	}
	defer model.Close()
	frame := image.NewRGBA(image.Rect(0, 0, 320, 240))
	frame.Set(10, 10, color.White)
	images := []vision.Image{vision.Pixels("frame 1", frame)}
	predictions, err := model.Predict(context.Background(), images, finetune.PredictOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range predictions {
		sum := 0.0
		for _, score := range p.Scores {
			sum += score
		}
		fmt.Printf("%s: %d classes, %d logits, scores that add up to %.3f\n", p.Input, len(model.Classes), len(p.Logits), sum)
	}
	// Output: frame 1: 3 classes, 3 logits, scores that add up to 1.000
}
