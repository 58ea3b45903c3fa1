package transform_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/thaw-ml/thaw/vision/picture"
	"github.com/thaw-ml/thaw/vision/transform"
)

func Example() {
	training := transform.DefaultTraining(224)
	training.Policy = transform.TrivialPolicy
	pipeline, err := training.Pipeline()
	if err != nil {
		fmt.Println(err)
		return
	}
	photo := &picture.Image{Width: 500, Height: 375, Pix: make([]byte, 3*500*375)}
	batch := make([]byte, 2*3*224*224)
	for i := range 2 {
		size := 3 * 224 * 224
		row := picture.Image{Pix: batch[i*size : i*size : (i+1)*size]}
		if err := pipeline.Apply(&row, photo, rand.New(rand.NewPCG(1, uint64(i)))); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(row.Width, row.Height)
	}
	// Output:
	// 224 224
	// 224 224
}

func ExamplePlan() {
	plan, err := transform.NewPlan(4000, 3000)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := (transform.Resize{Short: 256}).Draw(plan, nil); err != nil {
		fmt.Println(err)
		return
	}
	box, scale := plan.Region()
	fmt.Printf("reads %v, may be decoded at %.4f\n", box, scale)
	if err := plan.Decoded(500, 375); err != nil { // a decoder that scales by eighths
		fmt.Println(err)
		return
	}
	dst := new(picture.Image)
	err = plan.Apply(dst, &picture.Image{Width: 500, Height: 375, Pix: make([]byte, 3*500*375)})
	fmt.Println(dst.Width, dst.Height, err)
	// Output:
	// reads (0,0)-(4000,3000), may be decoded at 0.0853
	// 341 256 <nil>
}
