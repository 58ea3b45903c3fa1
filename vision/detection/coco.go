package detection

import (
	"github.com/thaw-ml/thaw/torch"
)

// cocoLabels are the classes of the detectors that torchvision publishes, by label: COCO's categories by their ids, some of
// which COCO does not use.
var cocoLabels = []string{
	"__background__", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
	"fire hydrant", "N/A", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
	"bear", "zebra", "giraffe", "N/A", "backpack", "umbrella", "N/A", "N/A", "handbag", "tie", "suitcase", "frisbee", "skis",
	"snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket",
	"bottle", "N/A", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
	"broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "N/A",
	"dining table", "N/A", "N/A", "toilet", "N/A", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
	"microwave", "oven", "toaster", "sink", "refrigerator", "N/A", "book", "clock", "vase", "scissors", "teddy bear",
	"hair drier", "toothbrush",
}

// IsDetector reports whether a checkpoint is that of a detector, by its keys.
func IsDetector(path string) bool {
	c, err := torch.OpenCheckpoint(path)
	if err != nil {
		return false
	}
	defer c.Close()
	_, _, err = DetectArchitecture(c)
	return err == nil
}

// OpenCheckpoint loads a detector with its head from a checkpoint file alone, such as those that torchvision publishes. Of
// 91 classes the names are COCO's; others have their labels for names.
func OpenCheckpoint(path string) (*Detector, error) {
	n, report, err := Load(path, LoadOptions{})
	if err != nil {
		return nil, err
	}
	d := newDetector(n, nil, report, path)
	for label := n.FirstLabel(); label < n.Classes(); label++ {
		if n.Classes() == len(cocoLabels) {
			d.Classes = append(d.Classes, cocoLabels[label])
		} else {
			d.Classes = append(d.Classes, d.ClassOf(label))
		}
	}
	return d, nil
}
