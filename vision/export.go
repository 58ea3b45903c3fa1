package vision

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/vision/transform"
)

// SaveTransformers writes a folder that transformers' ResNetForImageClassification.from_pretrained loads, in the layout
// of microsoft/resnet-50: config.json, preprocessor_config.json and model.safetensors. ResNeXt and wide networks have
// no class in transformers and are an error.
func (c *Classifier) SaveTransformers(folder string) error {
	arch := c.architecture()
	if !c.HasTransformers() {
		return fmt.Errorf("write %s: transformers has no class for a %s: its ResNets are those of He et al. 2015", folder, c.Net.Architecture)
	}
	layer := "basic"
	if arch.bottleneck {
		layer = "bottleneck"
	}
	hidden := make([]int, 4)
	for i := range hidden {
		hidden[i] = (64 << i) * arch.expansion()
	}
	head := c.headConfig()
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	if err := c.Net.Save(filepath.Join(folder, "model.safetensors"), Transformers); err != nil {
		return err
	}
	if err := c.savePreprocessor(folder); err != nil {
		return err
	}
	return atomicfile.WriteJSON(filepath.Join(folder, "config.json"), map[string]any{
		"architectures": []string{"ResNetForImageClassification"},
		"model_type":    "resnet", "num_channels": 3, "embedding_size": 64, "hidden_sizes": hidden, "depths": arch.blocks,
		"layer_type": layer, "hidden_act": "relu", "downsample_in_first_stage": false, "downsample_in_bottleneck": false,
		"problem_type": head.ProblemType, "num_labels": head.NumLabels, "id2label": head.ID2Label, "label2id": head.Label2ID,
		// Thaw's own, so that it reads the folder as it reads a run's.
		"thaw_architecture": c.Net.Architecture, "thaw_input": c.Input,
	})
}

func (c *Classifier) architecture() (found architecture) {
	for _, a := range architectures {
		if a.name == c.Net.Architecture {
			found = a
		}
	}
	return found
}

// HasTransformers reports whether transformers has a class for the network.
func (c *Classifier) HasTransformers() bool {
	arch := c.architecture()
	return arch.groups == 1 && arch.width == 64
}

// savePreprocessor writes preprocessor_config.json, which transformers' image processors read.
func (c *Classifier) savePreprocessor(folder string) error {
	return atomicfile.WriteJSON(filepath.Join(folder, "preprocessor_config.json"), map[string]any{
		"image_processor_type": "BitImageProcessor",
		"do_resize":            true, "size": map[string]int{"shortest_edge": c.Input.Resize}, "resample": c.Input.pillowFilter(),
		"do_center_crop": true, "crop_size": map[string]int{"height": c.Input.Crop, "width": c.Input.Crop},
		"do_rescale": true, "rescale_factor": 1. / 255,
		"do_normalize": true, "image_mean": c.Input.Mean, "image_std": c.Input.Std, "do_convert_rgb": true,
	})
}

// transformsConfig is the input as torchvision.transforms._presets.ImageClassification takes it.
type transformsConfig struct {
	Crop          int        `json:"crop_size"`
	Resize        int        `json:"resize_size"`
	Mean          [3]float64 `json:"mean"`
	Std           [3]float64 `json:"std"`
	Interpolation string     `json:"interpolation"` // the value of an InterpolationMode
	Antialias     bool       `json:"antialias"`
}

func (c *Classifier) torchvisionTransforms() transformsConfig {
	in := c.Input
	return transformsConfig{in.Crop, in.Resize, in.Mean, in.Std, in.Filter(), true}
}

// SaveTorchvision writes a folder, which is made if need be, with model.safetensors, a state dict that torchvision's
// constructor of the architecture loads strictly, and config.json: as SaveConfig's, with what the constructor and
// torchvision.transforms take under the key "torchvision". Adapters are merged into the weights.
func (c *Classifier) SaveTorchvision(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	if err := c.Net.Save(filepath.Join(folder, "model.safetensors"), Torchvision); err != nil {
		return err
	}
	type constructor struct {
		Architecture string           `json:"architecture"`
		Classes      int              `json:"num_classes"`
		Transforms   transformsConfig `json:"transforms"`
	}
	return atomicfile.WriteJSON(filepath.Join(folder, "config.json"), struct {
		config
		Torchvision constructor `json:"torchvision"`
	}{
		config{"resnet", c.Net.Architecture, c.Input, c.headConfig()},
		constructor{c.Net.Architecture, len(c.Classes), c.torchvisionTransforms()},
	})
}

// pillowFilter is the number of the filter as Pillow counts.
func (in Input) pillowFilter() int {
	return map[transform.Filter]int{transform.Nearest: 0, transform.Bilinear: 2, transform.Bicubic: 3}[in.filter()]
}
