package vision_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/vision"
)

// What is written for transformers, Thaw reads again; that transformers does is seen by
// bench/peers/check_torchvision.py.
func TestSaveTransformers(t *testing.T) {
	c, err := vision.NewClassifier("resnet18", 3, 1)
	require.NoError(t, err)
	defer c.Close()
	c.Classes = []string{"cat", "dog", "owl"}
	folder := filepath.Join(t.TempDir(), "new", "folder")
	require.NoError(t, c.SaveTransformers(folder))

	again, err := vision.OpenClassifier(folder, "")
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, c.Classes, again.Classes)
	assert.Equal(t, c.Input, again.Input)
	assert.Equal(t, digests(c.Net), digests(again.Net))

	tuned, err := vision.LoadClassifier(folder, "", twoClasses)
	require.NoError(t, err)
	defer tuned.Close()
	assert.Equal(t, digests(c.Net)["layer4.1.conv2.weight"], digests(tuned.Net)["layer4.1.conv2.weight"])

	var config struct {
		HiddenSizes   []int  `json:"hidden_sizes"`
		Depths        []int  `json:"depths"`
		LayerType     string `json:"layer_type"`
		Architectures []string
	}
	data, err := os.ReadFile(filepath.Join(folder, "config.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &config))
	assert.Equal(t, []int{64, 128, 256, 512}, config.HiddenSizes)
	assert.Equal(t, []int{2, 2, 2, 2}, config.Depths)
	assert.Equal(t, "basic", config.LayerType)
	assert.Equal(t, []string{"ResNetForImageClassification"}, config.Architectures)
}

func TestSaveTransformersOfWhatItHasNot(t *testing.T) {
	c, err := vision.NewClassifier("resnext50_32x4d", 2, 1)
	require.NoError(t, err)
	defer c.Close()
	folder := filepath.Join(t.TempDir(), "out")
	assert.EqualError(t, c.SaveTransformers(folder), "write "+folder+": transformers has no class for a resnext50_32x4d: its ResNets are those of He et al. 2015")
	assert.NoDirExists(t, folder)
}
