package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestModels(t *testing.T) {
	torchHome := t.TempDir()
	t.Setenv("TORCH_HOME", torchHome)
	t.Setenv("HF_HOME", t.TempDir())
	here := filepath.Join(torchHome, "hub", "checkpoints", "resnet50-11ad3fa6.pth")
	require.NoError(t, os.MkdirAll(filepath.Dir(here), 0o755))
	write(t, here, "weights")

	assert.Equal(t, strings.Join([]string{
		"NAME                               PARAMETERS  INPUT    ACCURACY     SIZE      TRAINS  HERE",
		"resnet50.imagenet1k_v1             25.6 M      224x224  76.13 top-1  102.5 MB  yes     ",
		"resnet50.imagenet1k_v2 = resnet50  25.6 M      224x224  80.86 top-1  102.5 MB  yes     yes",
		"",
	}, "\n"), ok(t, "", "models", "ResNet50.image"))
	all := ok(t, "", "models")
	for _, want := range []string{"fcos_resnet50_fpn.coco_v1 = fcos_resnet50_fpn", "39.2 AP", "800-1333 px", "bert-base-uncased", "109.5 M", "512 tokens"} {
		assert.Contains(t, all, want)
	}
	assert.Equal(t, 1+28, strings.Count(all, "\n"))
	assert.Equal(t, 1+5, strings.Count(ok(t, "", "models", "detector"), "\n"))

	// What thaw does not train is only downloaded.
	for filter, want := range map[string]bool{"fcos_resnet50_fpn": true, "distilbert": false, "bert-base-cased": true, "microsoft/resnet-50": true} {
		var models []struct{ Trains bool }
		require.NoError(t, json.Unmarshal([]byte(ok(t, "", "models", "--json", filter)), &models))
		require.Len(t, models, 1, filter)
		assert.Equal(t, want, models[0].Trains, filter)
	}
	assert.Regexp(t, `(?m)^distilbert-base-uncased +66\.4 M +512 tokens +$`, all)

	var models []struct {
		Name, Alias, Kind, URL, SHA256, Licence, Path string
		Accuracy1                                     float64
		Input                                         struct {
			Resize, Crop int
			Mean         []float64
		}
	}
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "models", "--json", "resnet50.imagenet1k_v2")), &models))
	require.Len(t, models, 1)
	m := models[0]
	assert.Equal(t, []string{"resnet50.imagenet1k_v2", "resnet50", "image classifier", "11ad3fa6", "BSD-3-Clause", here}, []string{m.Name, m.Alias, m.Kind, m.SHA256, m.Licence, m.Path})
	assert.Equal(t, 80.858, m.Accuracy1)
	assert.Equal(t, []int{232, 224}, []int{m.Input.Resize, m.Input.Crop})
	assert.Equal(t, []float64{0.485, 0.456, 0.406}, m.Input.Mean)

	assert.Equal(t, "[]\n", ok(t, "", "models", "--json", "zebra"))
	assert.Equal(t, outcome{exitUsage, "", "thaw: models: none holds \"zebra\"; thaw models alone lists all\n"}, invoke(t, "", "models", "zebra"))
}
