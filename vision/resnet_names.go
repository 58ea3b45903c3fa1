package vision

import (
	"fmt"
	"strconv"
	"strings"
)

// TransformersName gives the name that transformers' ResNetForImageClassification has for one of torchvision's keys,
// such as resnet.encoder.stages.0.layers.2.layer.0.convolution.weight for layer1.2.conv1.weight; false for other keys.
func TransformersName(key string) (string, bool) {
	part := strings.Split(key, ".")
	leaf := part[len(part)-1]
	switch {
	case len(part) == 2 && part[0] == "fc":
		return "classifier.1." + leaf, true
	case len(part) == 2 && part[0] == "conv1":
		return "resnet.embedder.embedder.convolution." + leaf, true
	case len(part) == 2 && part[0] == "bn1":
		return "resnet.embedder.embedder.normalization." + leaf, true
	case len(part) < 4 || len(part) > 5:
		return "", false
	}
	layer, isLayer := numbered(part[0], "layer")
	block, isBlock := numbered(part[1], "")
	if !isLayer || !isBlock || layer < 1 {
		return "", false
	}
	prefix := fmt.Sprintf("resnet.encoder.stages.%d.layers.%d.", layer-1, block)
	if len(part) == 5 {
		switch part[2] + "." + part[3] {
		case "downsample.0":
			return prefix + "shortcut.convolution." + leaf, true
		case "downsample.1":
			return prefix + "shortcut.normalization." + leaf, true
		}
		return "", false
	}
	for _, m := range [][2]string{{"conv", "convolution"}, {"bn", "normalization"}} {
		if n, ok := numbered(part[2], m[0]); ok && n >= 1 {
			return fmt.Sprintf("%slayer.%d.%s.%s", prefix, n-1, m[1], leaf), true
		}
	}
	return "", false
}

// TorchvisionName is the inverse of TransformersName. It also takes the keys of transformers' ResNetModel, which lack
// the leading "resnet.".
func TorchvisionName(key string) (string, bool) {
	part := strings.Split(strings.TrimPrefix(key, "resnet."), ".")
	leaf := part[len(part)-1]
	switch strings.Join(part[:len(part)-1], ".") {
	case "classifier.1":
		return "fc." + leaf, true
	case "embedder.embedder.convolution":
		return "conv1." + leaf, true
	case "embedder.embedder.normalization":
		return "bn1." + leaf, true
	}
	if len(part) < 8 || part[0] != "encoder" || part[1] != "stages" || part[3] != "layers" {
		return "", false
	}
	stage, isStage := numbered(part[2], "")
	block, isBlock := numbered(part[4], "")
	if !isStage || !isBlock {
		return "", false
	}
	prefix := fmt.Sprintf("layer%d.%d.", stage+1, block)
	kind := map[string]string{"convolution": "conv", "normalization": "bn"}[part[len(part)-2]]
	at := map[string]string{"conv": "0", "bn": "1"}[kind] // in downsample
	switch {
	case kind == "":
	case len(part) == 8 && part[5] == "shortcut":
		return prefix + "downsample." + at + "." + leaf, true
	case len(part) == 9 && part[5] == "layer":
		if n, ok := numbered(part[6], ""); ok {
			return fmt.Sprintf("%s%s%d.%s", prefix, kind, n+1, leaf), true
		}
	}
	return "", false
}

// numbered gives the number behind a prefix, as strconv.Itoa writes it.
func numbered(s, prefix string) (int, bool) {
	digits, ok := strings.CutPrefix(s, prefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0 && strconv.Itoa(n) == digits
}
