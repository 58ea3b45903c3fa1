package detection

import (
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/torch"
)

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
	coco := hub.Categories("coco")
	for label := n.FirstLabel(); label < n.Classes(); label++ {
		if n.Classes() == len(coco) {
			d.Classes = append(d.Classes, coco[label])
		} else {
			d.Classes = append(d.Classes, d.ClassOf(label))
		}
	}
	return d, nil
}
