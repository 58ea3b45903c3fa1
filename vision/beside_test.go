package vision_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/vision"
)

// fromTimm is config.json as timm 1.0.31 pushes it, of a network of three classes.
const fromTimm = `{
  "architecture": "resnet18", "num_classes": 3, "num_features": 512, "global_pool": "avg",
  "label_names": ["ant", "bee", "cat"], "label_descriptions": {"ant": "ant, emmet"},
  "pretrained_cfg": {"tag": "a1_in1k", "custom_load": false, "input_size": [3, 288, 288], "test_input_size": [3, 320, 320], "fixed_input_size": false,
    "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4],
    "num_classes": 3, "pool_size": [7, 7], "first_conv": "conv1", "classifier": "fc"}}`

// twoClasses is a new head.
var twoClasses = vision.Head{Classes: []string{"x", "y"}, Seed: 1}

// beside writes a network of three classes in a layout, and files beside it.
func beside(t *testing.T, layout vision.Layout, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, drawn(t, "resnet18", 3).Save(filepath.Join(folder, "model.safetensors"), layout))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644))
	}
	return folder
}

// What files say of pictures and classes is followed.
func TestWhatLiesBesideWeights(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	usual := vision.Input{Resize: 256, Crop: 224, Mean: tiny.Mean, Std: tiny.Std}
	timms := vision.Input{Resize: 303, Crop: 288, Interpolation: "bicubic", Mean: [3]float64{0.5, 0.4, 0.3}, Std: [3]float64{0.2, 0.3, 0.4}}
	insects, labels := []string{"ant", "bee", "cat"}, []string{"LABEL_0", "LABEL_1", "LABEL_2"}
	const resnet = `{"model_type": "resnet"}`
	for name, c := range map[string]struct {
		layout vision.Layout
		files  map[string]string
		input  vision.Input
		names  []string
	}{
		"timm":        {vision.Torchvision, map[string]string{"config.json": fromTimm}, timms, insects},
		"an old timm": {vision.Torchvision, map[string]string{"config.json": `{"architecture": "gluon_resnet18_v1b", "input_size": [3, 288, 288], "interpolation": "bicubic", "crop_pct": 0.95, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], "labels": ["ant", "bee", "cat"]}`}, timms, insects},
		"timm's tag":  {vision.Torchvision, map[string]string{"config.json": `{"architecture": "resnet18.tv_in1k", "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bilinear"}}`}, usual, []string{"0", "1", "2"}},
		"microsoft/resnet-50's": {vision.Transformers, map[string]string{"config.json": resnet, "preprocessor_config.json": `{"crop_pct": 0.875, "do_normalize": true, "do_resize": true,
			"feature_extractor_type": "ConvNextFeatureExtractor", "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": 224}`},
			vision.Input{Resize: 256, Crop: 224, Interpolation: "bicubic", Mean: tiny.Mean, Std: tiny.Std}, labels},
		"transformers' Bit": {vision.Transformers, map[string]string{"config.json": `{"model_type": "resnet", "id2label": {"0": "ant", "1": "bee", "2": "cat"}}`, "preprocessor_config.json": `{"image_processor_type": "BitImageProcessor",
			"do_resize": true, "size": {"shortest_edge": 303}, "resample": 3, "do_center_crop": true, "crop_size": {"height": 288, "width": 288}, "do_rescale": true, "rescale_factor": 0.00392156862745098,
			"do_normalize": true, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}`}, timms, insects},
		"not normalised": {vision.Transformers, map[string]string{"config.json": resnet, "preprocessor_config.json": `{"do_normalize": false, "size": 224, "crop_pct": 0.875}`},
			vision.Input{Resize: 256, Crop: 224, Std: [3]float64{1, 1, 1}}, labels},
		"transformers, no preprocessor": {vision.Transformers, map[string]string{"config.json": resnet}, usual, labels},
		"nothing":                       {vision.Torchvision, nil, usual, []string{"0", "1", "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := beside(t, c.layout, c.files)
			got, err := vision.OpenPretrained(folder, "")
			require.NoError(t, err)
			defer got.Close()
			assert.Equal(t, c.input, got.Input)
			assert.Equal(t, c.names, got.Classes)
			// A fine-tuned network keeps it.
			tuned, err := vision.LoadClassifier(folder, "", twoClasses)
			require.NoError(t, err)
			defer tuned.Close()
			assert.Equal(t, c.input, tuned.Input)
			assert.Empty(t, tuned.Warnings)
			again, err := vision.OpenClassifier(put(t, tuned), "")
			require.NoError(t, err)
			defer again.Close()
			assert.Equal(t, c.input, again.Input)
			exported := t.TempDir()
			require.NoError(t, tuned.SaveTransformers(exported))
			whole, err := vision.OpenPretrained(exported, "")
			require.NoError(t, err)
			defer whole.Close()
			assert.Equal(t, c.input, whole.Input)
		})
	}
}

// Networks of the same keys that are others are refused by name, whatever opens them.
func TestOtherNetworksOfTheSameKeys(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	of := func(change ...string) string { return strings.NewReplacer(change...).Replace(fromTimm) }
	for want, config := range map[string]string{
		`its architecture is timm's "resnetaa50", which is not supported: it averages (antialiasing) where torchvision's has strides, with the same keys; there are resnet18, `: of("resnet18", "resnetaa50"),
		`timm's "resnetblur18.x", which is not supported: it blurs (antialiasing)`:                                                                                              of("resnet18", "resnetblur18.x"),
		`timm's "resnet50d", which is not supported: it has a deep stem of three convolutions and average`:                                                                      of("resnet18", "resnet50d"),
		`timm's "gluon_resnet50_v1c", which is not supported: it has a deep stem of three convolutions; `:                                                                       of("resnet18", "gluon_resnet50_v1c"),
		`timm's "ecaresnet50t", which is not supported: it has channel attention`:                                                                                               of("resnet18", "ecaresnet50t"),
		`timm's "seresnext101_32x4d", which is not supported: it has channel attention`:                                                                                         of("resnet18", "seresnext101_32x4d"),
		`timm's "resnet50_gn", which is not supported: it has group norms`:                                                                                                      of("resnet18", "resnet50_gn"),
		`timm's "resnet26t", which is not supported: it has a tiered stem`:                                                                                                      of("resnet18", "resnet26t"),
		`timm's "resnetrs50", which is not supported: it is a network of another design`:                                                                                        of("resnet18", "resnetrs50"),
		`timm's "resnet26", which is not supported: it has other layers`:                                                                                                        of("resnet18", "resnet26"),
		`timm's "vit_base_patch16_224", which is not supported: it is no ResNet`:                                                                                                of("resnet18", "vit_base_patch16_224"),
		`model_args has aa_layer (avg), which makes another network than timm's resnet18`:                                                                                       of(`"global_pool": "avg"`, `"model_args": {"aa_layer": "avg"}`),
		`global_pool is "catavgmax": only avg is supported`:                                                                                                                     of(`"global_pool": "avg"`, `"global_pool": "catavgmax"`),
	} {
		folder := beside(t, vision.Torchvision, map[string]string{"config.json": config})
		path := filepath.Join(folder, "model.safetensors")
		_, err := vision.LoadClassifier(folder, "", twoClasses)
		assert.ErrorContains(t, err, folder+"/config.json: ")
		assert.ErrorContains(t, err, want)
		_, err = vision.OpenPretrained(path, "")
		assert.ErrorContains(t, err, want)
		_, _, err = vision.LoadResNet(path, vision.ResNetOptions{Architecture: "resnet18"})
		assert.ErrorContains(t, err, want)
	}
	for want, files := range map[string]map[string]string{
		"input_size is [3 224 448]: only squares of 3 channels": {"config.json": of("[3, 288, 288]", "[3, 224, 448]")},
		"num_channels is 1: only 3 are supported":               {"config.json": `{"model_type": "resnet", "num_channels": 1}`},
		"quantization_config is set":                            {"config.json": `{"model_type": "resnet", "quantization_config": {"bits": 8}}`},
		"only pixels scaled to 0..1 are supported":              {"config.json": `{"model_type": "resnet"}`, "preprocessor_config.json": `{"do_rescale": false}`},
		"preprocessor_config.json: an input with the standard":  {"config.json": `{"model_type": "resnet"}`, "preprocessor_config.json": `{"size": 224, "crop_pct": 1, "image_mean": [0, 0, 0], "image_std": [0, 1, 1]}`},
		"preprocessor_config.json: unexpected end":              {"config.json": `{"model_type": "resnet"}`, "preprocessor_config.json": `{`},
	} {
		_, err := vision.LoadClassifier(beside(t, vision.Transformers, files), "", twoClasses)
		assert.ErrorContains(t, err, want)
	}
	_, err := vision.OpenPretrained(beside(t, vision.Torchvision, map[string]string{"config.json": of(`"ant", `, "")}), "")
	assert.ErrorContains(t, err, "model.safetensors has a head of 3 classes, and ")
	assert.ErrorContains(t, err, "config.json names 2")
}

// What cannot be followed is told where a new head learns it, and is an error where the old head's scores would change.
func TestWhatCannotBeFollowed(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	const resnet = `{"model_type": "resnet"}`
	for want, files := range map[string]map[string]string{
		`config.json is of a model of the type "vit"`:             {"config.json": `{"model_type": "vit"}`},
		`config.json: interpolation "lanczos": bilinear is taken`: {"config.json": `{"architecture": "resnet18", "pretrained_cfg": {"interpolation": "lanczos"}}`},
		`config.json: crop_mode "squash": the middle is cut out`:  {"config.json": `{"architecture": "resnet18", "pretrained_cfg": {"crop_mode": "squash"}}`},
		`preprocessor_config.json: pictures are squashed to 224 x 224 pixels`: {"config.json": resnet,
			"preprocessor_config.json": `{"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}`},
		`preprocessor_config.json: resample 1 (lanczos)`: {"config.json": resnet,
			"preprocessor_config.json": `{"size": 224, "crop_pct": 0.875, "resample": 1, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}`},
	} {
		folder := beside(t, vision.Torchvision, files)
		tuned, err := vision.LoadClassifier(folder, "", twoClasses)
		require.NoError(t, err)
		require.NotEmpty(t, tuned.Warnings)
		assert.Contains(t, tuned.Warnings[0], want)
		tuned.Close()
		_, err = vision.OpenPretrained(folder, "")
		assert.ErrorContains(t, err, want)
	}
}

// What a head was made for is followed, and refused where it is not known, or is for another number of outputs.
func TestProblemTypeBesideWeights(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	several := beside(t, vision.Transformers, map[string]string{"config.json": `{"model_type": "resnet", "problem_type": "multi_label_classification"}`})
	c, err := vision.OpenPretrained(several, "")
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, objective.MultiLabel, c.ProblemType)
	for want, config := range map[string]string{
		`problem_type is "ranking"; there are "single_label_classification", "multi_label_classification" and "regression"`: `{"model_type": "resnet", "problem_type": "ranking"}`,
		`problem_type is "regression", and the head has 3 outputs: one number is predicted`:                                 `{"model_type": "resnet", "problem_type": "regression"}`,
	} {
		folder := beside(t, vision.Transformers, map[string]string{"config.json": config})
		_, err := vision.OpenPretrained(folder, "")
		assert.ErrorContains(t, err, want)
		assert.ErrorContains(t, err, folder)
		tuned, err := vision.LoadClassifier(folder, "", twoClasses) // its head is another
		require.NoError(t, err)
		assert.Empty(t, tuned.Warnings)
		tuned.Close()
	}
}
