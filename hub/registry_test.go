package hub

import (
	"encoding/json"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The registry says what torchvision says of its weights (testdata/registry.py), figure by figure.
func TestRegistry(t *testing.T) {
	var golden struct {
		Torchvision string
		Weights     map[string]struct {
			Architecture, URL, Interpolation, Categories string
			Default, Antialias                           bool
			Parameters                                   int64
			MiB, Accuracy1, Accuracy5                    float64
			BoxAP                                        float64 `json:"box_ap"`
			Resize, Crop                                 int
			MaxSize                                      int `json:"max_size"`
			Mean, Std                                    [3]float64
		}
		Parameters map[string]int64
	}
	data, err := os.ReadFile("testdata/registry.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	assert.Contains(t, golden.Torchvision, "0.26.")
	require.Len(t, golden.Weights, 22)
	for name, want := range golden.Weights {
		m, err := Find(name)
		require.NoError(t, err)
		kind := Classifier
		if want.BoxAP > 0 {
			kind = Detector
		}
		alias := ""
		if want.Default {
			alias = want.Architecture
		}
		file := path.Base(want.URL)
		hash := file[strings.LastIndexByte(file, '-')+1 : len(file)-len(".pth")]
		assert.Equal(t, Model{
			Name: name, Alias: alias, Kind: kind, Architecture: want.Architecture, Description: m.Description, Parameters: want.Parameters, MiB: want.MiB, Licence: "BSD-3-Clause",
			Input:     Input{Resize: want.Resize, MaxSize: want.MaxSize, Crop: want.Crop, Interpolation: want.Interpolation, Antialias: want.Antialias, Mean: want.Mean, Std: want.Std},
			Accuracy1: want.Accuracy1, Accuracy5: want.Accuracy5, BoxAP: want.BoxAP, URL: want.URL, SHA256: hash, CategorySet: want.Categories,
		}, m)
		assert.Equal(t, file, m.File())
	}
	names := map[string]bool{}
	files := 0
	for _, m := range Models() {
		assert.False(t, names[m.Name] || names[m.Alias], m.Name)
		names[m.Name] = true
		if m.Alias != "" {
			names[m.Alias] = true
		}
		assert.NotEmpty(t, m.Description)
		assert.NotContains(t, m.Description, "\n")
		assert.NotEmpty(t, m.Licence)
		if m.Repository != "" {
			assert.Equal(t, golden.Parameters[m.Name], m.Parameters, m.Name)
			assert.NoError(t, repoRequest{name: m.Repository, revision: "main"}.check())
			continue
		}
		files++
		_, ok := golden.Weights[m.Name]
		assert.True(t, ok, m.Name)
	}
	assert.Equal(t, len(golden.Weights), files)
	assert.Len(t, golden.Parameters, len(Models())-files)
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"resnet50": "resnet50.imagenet1k_v2", "RESNET50": "resnet50.imagenet1k_v2", "resnet50.imagenet1k_v1": "resnet50.imagenet1k_v1",
		"resnet18": "resnet18.imagenet1k_v1", "fcos_resnet50_fpn": "fcos_resnet50_fpn.coco_v1", "bert-base-cased": "bert-base-cased",
		"microsoft/resnet-50": "microsoft/resnet-50",
	} {
		m, err := Find(name)
		require.NoError(t, err)
		assert.Equal(t, want, m.Name)
	}
	for name, near := range map[string]string{"resnet51": "resnet50", "bert-base-case": "bert-base-cased", "bert-base": "", "bert_base_uncased": "bert-base-uncased", "zebra": "", "": ""} {
		_, err := Find(name)
		unknown := new(*UnknownError)
		require.ErrorAs(t, err, unknown)
		assert.Equal(t, near, (*unknown).Near, name)
	}
}

func TestInputs(t *testing.T) {
	for name, want := range map[string]string{"resnet50": "224x224", "fcos_resnet50_fpn": "800-1333 px", "bert-base-cased": "512 tokens", "microsoft/resnet-50": "224x224"} {
		m, err := Find(name)
		require.NoError(t, err)
		assert.Equal(t, want, m.Input.String())
	}
}

func TestCategories(t *testing.T) {
	m, err := Find("resnet50")
	require.NoError(t, err)
	names := m.Categories()
	require.Len(t, names, 1000)
	// ImageNet's own order: its first and last class, and Python's favourites.
	assert.Equal(t, []string{"tench", "golden retriever", "tabby", "Egyptian cat", "toilet tissue"}, []string{names[0], names[207], names[281], names[285], names[999]})
	names[0] = "changed"
	assert.Equal(t, "tench", m.Categories()[0])
	m, err = Find("retinanet_resnet50_fpn")
	require.NoError(t, err)
	names = m.Categories()
	require.Len(t, names, 91)
	assert.Equal(t, []string{"__background__", "person", "N/A", "toothbrush"}, []string{names[0], names[1], names[12], names[90]})
	m, err = Find("bert-base-cased")
	require.NoError(t, err)
	assert.Empty(t, m.Categories())
}
