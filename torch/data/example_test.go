package data_test

import (
	"context"
	"fmt"
	"log"
	"strconv"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/data"
)

// Samples that are tensors, in batches of two. An evaluation may take them in any order.
func ExampleBatches() {
	torch.Scoped(func() {
		inputs := torch.FromSlice([]float32{0, 0, 1, 10, 2, 20, 3, 30, 4, 40}, 5, 2)
		set := data.NewTensors(inputs, torch.FromSlice([]int{0, 1, 0, 1, 0}))
		order := data.NewSampler(set, data.SamplerOptions{Size: 2}).Evaluation()
		for b, err := range data.Batches(context.Background(), set, order) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(b.Indices(), b.Input.Shape(), torch.ToSlice[int64](b.Target))
		}
	})
	// Unordered output:
	// [0 1] [2 2] [0 1]
	// [2 3] [2 2] [0 1]
	// [4] [1 2] [0]
}

// The order of an epoch follows from the seed and the epoch's number alone.
func ExampleSampler_Training() {
	torch.Scoped(func() {
		set := data.NewTensors(torch.Zeros(torch.Float32, torch.CPU, 6, 1), torch.Zeros(torch.Int64, torch.CPU, 6))
		sampler := data.NewSampler(set, data.SamplerOptions{Size: 3})
		first, again := sampler.Training(1, 1), sampler.Training(1, 1)
		fmt.Println(len(first), "batches, the same again:", fmt.Sprint(first) == fmt.Sprint(again))
	})
	// Output: 2 batches, the same again: true
}

// A part of each class is held out for the test, chosen by the seed.
func ExampleSplit() {
	classes := []int{0, 0, 0, 0, 1, 1, 1, 1, 1, 1}
	test, err := data.Split(classes, "0.5", 1)
	if err != nil {
		log.Fatal(err)
	}
	held := map[int]int{}
	for i, chosen := range test {
		if chosen {
			held[classes[i]]++
		}
	}
	fmt.Println(held)

	test, err = data.Split(classes, "every 4", 1)
	fmt.Println(test, err)
	// Output:
	// map[0:2 1:3]
	// [true false false false true false false false true false] <nil>
}

// Samples of any type become items when they are needed.
func ExampleSlice() {
	items := data.Slice([]string{"1", "2", "x"}, strconv.Atoi)
	for i := range items.Len() {
		fmt.Println(items.At(i))
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 0 strconv.Atoi: parsing "x": invalid syntax
}
