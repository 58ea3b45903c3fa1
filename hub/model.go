// Package hub knows pre-trained checkpoints and brings them here: torchvision's by name, and any model repository of
// Hugging Face's hub.
//
// What it downloads lies where Python's libraries look for it, torch.hub's checkpoint folder and huggingface_hub's
// cache, so that neither downloads again what the other has. A file is given its final name only once its hash is
// right; an interrupted download leaves an .incomplete file and is resumed; processes that want the same file wait for
// one another.
package hub

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
)

// Kind is what a model does.
type Kind string

// The kinds of models.
const (
	Classifier  Kind = "image classifier"
	Detector    Kind = "detector"
	TextEncoder Kind = "text encoder"
)

// Model is a checkpoint of the registry: one file of torchvision's (URL), or a repository of Hugging Face's hub.
type Model struct {
	Name         string  `json:"name"`                   // as in resnet50.imagenet1k_v2, or a repository's name
	Alias        string  `json:"alias,omitempty"`        // the architecture, on the weights that torchvision calls DEFAULT
	Kind         Kind    `json:"kind"`                   // what it does
	Architecture string  `json:"architecture"`           // as in resnet50, bert
	Description  string  `json:"description"`            // one line
	Parameters   int64   `json:"parameters"`             // numbers trained; an encoder's without its pre-training heads
	MiB          float64 `json:"mib,omitempty"`          // the file's size in units of 2^20 bytes, to three decimals; 0: not published
	Licence      string  `json:"licence"`                // of the publisher; the data of the training may have terms of their own
	Input        Input   `json:"input"`                  // what it wants to see
	Accuracy1    float64 `json:"accuracy1,omitempty"`    // ImageNet-1K validation top-1, percent; 0: not published
	Accuracy5    float64 `json:"accuracy5,omitempty"`    // ImageNet-1K validation top-5, percent
	BoxAP        float64 `json:"box_ap,omitempty"`       // COCO val2017 box AP at IoU 0.50:0.95, percent
	URL          string  `json:"url,omitempty"`          // of the checkpoint file; "" for a repository
	SHA256       string  `json:"sha256,omitempty"`       // the first digits of the file's hash, as in its name
	Repository   string  `json:"repository,omitempty"`   // on Hugging Face's hub; "" for a file
	CategorySet  string  `json:"category_set,omitempty"` // imagenet or coco: what Categories names
}

// Input is what a model wants to see.
//
// An image classifier's image is resized until its shorter side is Resize, cut to Crop x Crop at the centre, scaled to
// 0..1, and normalised per channel (red, green, blue) with Mean and Std. A detector does the same itself: its images
// are resized until the shorter side is Resize, or the longer MaxSize where that comes first, and are not cut. A text
// encoder takes at most MaxTokens tokens.
type Input struct {
	Resize        int        `json:"resize,omitempty"`   // pixels
	MaxSize       int        `json:"max_size,omitempty"` // pixels; 0: no limit
	Crop          int        `json:"crop,omitempty"`     // pixels; 0: not cut
	Interpolation string     `json:"interpolation,omitempty"`
	Antialias     bool       `json:"antialias,omitempty"` // when made smaller
	Mean          [3]float64 `json:"mean,omitzero"`
	Std           [3]float64 `json:"std,omitzero"`
	MaxTokens     int        `json:"max_tokens,omitempty"`
}

// String is the input in a few characters: 224x224, 800-1333 px, 512 tokens.
func (in Input) String() string {
	switch {
	case in.MaxTokens > 0:
		return fmt.Sprintf("%d tokens", in.MaxTokens)
	case in.Crop > 0:
		return fmt.Sprintf("%dx%d", in.Crop, in.Crop)
	default:
		return fmt.Sprintf("%d-%d px", in.Resize, in.MaxSize)
	}
}

// Models lists the registry: classifiers by architecture, detectors, then repositories. The list is the caller's own.
func Models() []Model {
	return slices.Concat(torchvisionClassifiers(), torchvisionDetectors(), repositories())
}

// Find looks a model up by its name or alias, letter case aside. torchvision's architecture alone, as in resnet50, is
// the weights that torchvision 0.26 calls DEFAULT: the newest, so resnet50 is resnet50.imagenet1k_v2. The error of a
// name that is not there is an *UnknownError.
func Find(name string) (Model, error) {
	models := Models()
	var names []string
	for _, m := range models {
		if strings.EqualFold(name, m.Name) || m.Alias != "" && strings.EqualFold(name, m.Alias) {
			return m, nil
		}
		if m.Alias != "" {
			names = append(names, m.Alias)
		}
		names = append(names, m.Name)
	}
	return Model{}, &UnknownError{Name: name, Near: suggest.Nearest(name, names)}
}

// Categories are the names of the classes that a model tells apart, in the order of its outputs; none for a text
// encoder. A detector's 0 is the background, and COCO's numbers that no class has are named "N/A".
func (m Model) Categories() []string {
	return Categories(m.CategorySet)
}

// File is the name of a checkpoint file, as in resnet50-11ad3fa6.pth; "" for a repository.
func (m Model) File() string {
	return m.URL[strings.LastIndexByte(m.URL, '/')+1:]
}
