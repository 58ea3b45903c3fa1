package hub

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"
)

// categoriesJSON is what testdata/registry.py writes: torchvision 0.26's names of ImageNet-1K's 1000 classes and of
// COCO's 91 numbers.
//
//go:embed categories.json.gz
var categoriesJSON []byte

var categories = sync.OnceValue(func() map[string][]string {
	var sets struct {
		ImageNet []string `json:"imagenet"`
		COCO     []string `json:"coco"`
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(categoriesJSON))
	if err == nil {
		err = json.NewDecoder(unpacked).Decode(&sets)
	}
	if err != nil {
		panic(fmt.Sprintf("hub: the embedded class names: %v", err)) // only a wrong build
	}
	return map[string][]string{"imagenet": sets.ImageNet, "coco": sets.COCO}
})

// Categories are the class names of a set: the 1000 of "imagenet", the 91 of "coco" (0 is the background, and numbers
// that no class has are "N/A"), as torchvision names them. Other sets have none. The list is the caller's own.
func Categories(set string) []string {
	return append([]string(nil), categories()[set]...)
}
