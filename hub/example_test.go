package hub_test

import (
	"errors"
	"fmt"
	"log"

	"github.com/thaw-ml/thaw/hub"
)

// What is known of a model before it is downloaded.
func ExampleFind() {
	m, err := hub.Find("resnet50")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Name, m.Kind, m.Architecture)
	fmt.Println(m.Input.Resize, m.Input.Crop)
	fmt.Println(m.Categories()[281])
	// Output:
	// resnet50.imagenet1k_v2 image classifier resnet50
	// 232 224
	// tabby
}

// A name that is not known is an error that says which is near.
func ExampleFind_unknown() {
	_, err := hub.Find("resnet5O")
	fmt.Println(err)
	fmt.Println(errors.As(err, new(*hub.UnknownError)))
	// Output:
	// no model is named "resnet5O"; did you mean "resnet50"? (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)
	// true
}
