package hub

import "fmt"

// torchvisionModels is where torchvision's weights are published.
const torchvisionModels = "https://download.pytorch.org/models/"

// torchvision's library is under this licence; it says that the weights may carry the terms of the data they were
// trained on.
const torchvisionLicence = "BSD-3-Clause"

// The training recipes that torchvision publishes weights of.
const (
	recipe1 = "with the paper's simple recipe"
	recipe2 = "with torchvision's newer recipe: longer, with label smoothing, mixup, cutmix and weight averaging"
)

// classifierWeights are torchvision 0.26's ResNet family; testdata/registry.py reads the figures from torchvision
// itself, and a test compares.
var classifierWeights = []struct {
	architecture, weights, sha256 string
	isDefault                     bool
	parameters                    int64
	mib, accuracy1, accuracy5     float64
	resize                        int
	title, recipe                 string
}{
	{"resnet18", "imagenet1k_v1", "f37072fd", true, 11_689_512, 44.661, 69.758, 89.078, 256, "ResNet-18", recipe1},
	{"resnet34", "imagenet1k_v1", "b627a593", true, 21_797_672, 83.275, 73.314, 91.420, 256, "ResNet-34", recipe1},
	{"resnet50", "imagenet1k_v1", "0676ba61", false, 25_557_032, 97.781, 76.130, 92.862, 256, "ResNet-50", recipe1},
	{"resnet50", "imagenet1k_v2", "11ad3fa6", true, 25_557_032, 97.790, 80.858, 95.434, 232, "ResNet-50", recipe2},
	{"resnet101", "imagenet1k_v1", "63fe2227", false, 44_549_160, 170.511, 77.374, 93.546, 256, "ResNet-101", recipe1},
	{"resnet101", "imagenet1k_v2", "cd907fc2", true, 44_549_160, 170.530, 81.886, 95.780, 232, "ResNet-101", recipe2},
	{"resnet152", "imagenet1k_v1", "394f9c45", false, 60_192_808, 230.434, 78.312, 94.046, 256, "ResNet-152", recipe1},
	{"resnet152", "imagenet1k_v2", "f82ba261", true, 60_192_808, 230.474, 82.284, 96.002, 232, "ResNet-152", recipe2},
	{"resnext50_32x4d", "imagenet1k_v1", "7cdf4587", false, 25_028_904, 95.789, 77.618, 93.698, 256, "ResNeXt-50 32x4d", recipe1},
	{"resnext50_32x4d", "imagenet1k_v2", "1a0047aa", true, 25_028_904, 95.833, 81.198, 95.340, 232, "ResNeXt-50 32x4d", recipe2},
	{"resnext101_32x8d", "imagenet1k_v1", "8ba56ff5", false, 88_791_336, 339.586, 79.312, 94.526, 256, "ResNeXt-101 32x8d", recipe1},
	{"resnext101_32x8d", "imagenet1k_v2", "110c445d", true, 88_791_336, 339.673, 82.834, 96.228, 232, "ResNeXt-101 32x8d", recipe2},
	{"resnext101_64x4d", "imagenet1k_v1", "173b62eb", true, 83_455_272, 319.318, 83.246, 96.454, 232, "ResNeXt-101 64x4d", recipe2},
	{"wide_resnet50_2", "imagenet1k_v1", "95faca4d", false, 68_883_240, 131.820, 78.468, 94.086, 256, "Wide ResNet-50-2", recipe1},
	{"wide_resnet50_2", "imagenet1k_v2", "9ba9bcbe", true, 68_883_240, 263.124, 81.602, 95.758, 232, "Wide ResNet-50-2", recipe2},
	{"wide_resnet101_2", "imagenet1k_v1", "32ee1156", false, 126_886_696, 242.896, 78.848, 94.284, 256, "Wide ResNet-101-2", recipe1},
	{"wide_resnet101_2", "imagenet1k_v2", "d733dc28", true, 126_886_696, 484.747, 82.510, 96.020, 232, "Wide ResNet-101-2", recipe2},
}

// detectorWeights are torchvision 0.26's detectors on a ResNet-50 with a feature pyramid, compared likewise.
var detectorWeights = []struct {
	architecture, sha256 string
	parameters           int64
	mib, boxAP           float64
	description          string
}{
	{"fasterrcnn_resnet50_fpn", "258fb6c6", 41_755_286, 159.743, 37.0, "Faster R-CNN, ResNet-50 with FPN, trained on COCO"},
	{"fasterrcnn_resnet50_fpn_v2", "dd69338a", 43_712_278, 167.104, 46.7, "Faster R-CNN, ResNet-50 with FPN, trained on COCO with an enhanced recipe"},
	{"retinanet_resnet50_fpn", "eeacb38b", 34_014_999, 130.267, 36.4, "RetinaNet, ResNet-50 with FPN, trained on COCO"},
	{"retinanet_resnet50_fpn_v2", "5905b1c5", 38_198_935, 146.037, 41.5, "RetinaNet, ResNet-50 with FPN, trained on COCO with an enhanced recipe"},
	{"fcos_resnet50_fpn", "99b0c9b7", 32_269_600, 123.608, 39.2, "FCOS, ResNet-50 with FPN, trained on COCO"},
}

// ImageNet's channel means and standard deviations, as all of torchvision's models take them.
var (
	imageNetMean = [3]float64{0.485, 0.456, 0.406}
	imageNetStd  = [3]float64{0.229, 0.224, 0.225}
)

func torchvisionClassifiers() (out []Model) {
	for _, w := range classifierWeights {
		m := Model{
			Name: w.architecture + "." + w.weights, Kind: Classifier, Architecture: w.architecture,
			Description: fmt.Sprintf("%s, trained on ImageNet-1K %s", w.title, w.recipe),
			Parameters:  w.parameters, MiB: w.mib, Licence: torchvisionLicence,
			Input:     Input{Resize: w.resize, Crop: 224, Interpolation: "bilinear", Antialias: true, Mean: imageNetMean, Std: imageNetStd},
			Accuracy1: w.accuracy1, Accuracy5: w.accuracy5, CategorySet: "imagenet",
			URL: torchvisionModels + w.architecture + "-" + w.sha256 + ".pth", SHA256: w.sha256,
		}
		if w.isDefault {
			m.Alias = w.architecture
		}
		out = append(out, m)
	}
	return out
}

func torchvisionDetectors() (out []Model) {
	for _, w := range detectorWeights {
		out = append(out, Model{
			Name: w.architecture + ".coco_v1", Alias: w.architecture, Kind: Detector, Architecture: w.architecture,
			Description: w.description, Parameters: w.parameters, MiB: w.mib, Licence: torchvisionLicence,
			Input: Input{Resize: 800, MaxSize: 1333, Interpolation: "bilinear", Mean: imageNetMean, Std: imageNetStd},
			BoxAP: w.boxAP, CategorySet: "coco",
			URL: torchvisionModels + w.architecture + "_coco-" + w.sha256 + ".pth", SHA256: w.sha256,
		})
	}
	return out
}
