package vision

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/thaw-ml/thaw/vision/transform"
)

// SaveTransformers writes a folder that transformers' ResNetForImageClassification.from_pretrained loads, in the layout
// of microsoft/resnet-50: config.json, preprocessor_config.json and model.safetensors. ResNeXt and wide networks have
// no class in transformers and are an error.
func (c *Classifier) SaveTransformers(folder string) error {
	var arch architecture
	for _, a := range architectures {
		if a.name == c.Net.Architecture {
			arch = a
		}
	}
	if arch.groups != 1 || arch.width != 64 {
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
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	if err := c.Net.Save(filepath.Join(folder, "model.safetensors"), Transformers); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(folder, "preprocessor_config.json"), map[string]any{
		"image_processor_type": "BitImageProcessor",
		"do_resize":            true, "size": map[string]int{"shortest_edge": c.Input.Resize}, "resample": c.Input.pillowFilter(),
		"do_center_crop": true, "crop_size": map[string]int{"height": c.Input.Crop, "width": c.Input.Crop},
		"do_rescale": true, "rescale_factor": 1. / 255,
		"do_normalize": true, "image_mean": c.Input.Mean, "image_std": c.Input.Std, "do_convert_rgb": true,
	}); err != nil {
		return err
	}
	return writeJSON(filepath.Join(folder, "config.json"), map[string]any{
		"architectures": []string{"ResNetForImageClassification"},
		"model_type":    "resnet", "num_channels": 3, "embedding_size": 64, "hidden_sizes": hidden, "depths": arch.blocks,
		"layer_type": layer, "hidden_act": "relu", "downsample_in_first_stage": false, "downsample_in_bottleneck": false,
		"problem_type": head.ProblemType, "num_labels": head.NumLabels, "id2label": head.ID2Label, "label2id": head.Label2ID,
		// Thaw's own, so that it reads the folder as it reads a run's.
		"thaw_architecture": c.Net.Architecture, "thaw_input": c.Input,
	})
}

// pillowFilter is the number of the filter as Pillow counts.
func (in Input) pillowFilter() int {
	return map[transform.Filter]int{transform.Nearest: 0, transform.Bilinear: 2, transform.Bicubic: 3}[in.filter()]
}
