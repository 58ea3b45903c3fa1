package detection

import (
	"fmt"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// Network is one that finds objects: [FCOS], [RetinaNet] or [FasterRCNN].
type Network interface {
	// Name is as torchvision's: "fcos_resnet50_fpn".
	Name() string
	// Classes is the number of classes that the head scores, with the background where that is one.
	Classes() int
	// FirstLabel is the label of the first class that can be found: 1 where 0 is the background, else 0.
	FirstLabel() int
	// Stages are stem, layer1 to layer4, fpn and head.
	Stages() []nn.Stage[*Batch]
	// Losses are what training minimises the sum of, by torchvision's names. output is what Stages give, target are the
	// batch's Targets.
	Losses(output, target nn.Values) []torch.Named
	// Detections are what is found in each picture, the best first. output is what Stages give outside of training, sizes are
	// the last of the batch's Targets.
	Detections(output nn.Values, sizes torch.Tensor) [][]Detection
	// Init draws all parameters as torchvision does, number for number from the same seed; InitNew those that a classifier's
	// checkpoint lacks, InitHead those that depend on the number of classes.
	Init(g *torch.Generator)
	InitNew(g *torch.Generator)
	InitHead(g *torch.Generator)
	// Close frees the network.
	Close()
}

// Loss is the sum of a network's losses: a tensor without dimensions.
func Loss(n Network, output, target nn.Values) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		var sum torch.Tensor
		for _, l := range n.Losses(output, target) {
			if sum.Defined() {
				l.Tensor = sum.Add(l.Tensor)
			}
			sum = l.Tensor
		}
		return sum
	})
}

// kind is one of the networks.
type kind struct {
	prefix, suffix string // of the name, around that of the ResNet
	trainsNorms    bool   // always, as torchvision's second versions do
	background     bool   // is a class
	make           func(name string, body *vision.ResNet, classes int) Network
	// classesKey is that of the layer that depends on the classes, outputs how many of its rows there are for each.
	classesKey string
	outputs    int
	head       []string // prefixes of the keys that go with the classes
}

var kinds = []kind{
	{
		prefix: "fcos_", suffix: "_fpn", classesKey: "head.classification_head.cls_logits.weight", outputs: 1,
		head: []string{"head.classification_head.cls_logits."},
		make: func(name string, body *vision.ResNet, classes int) Network { return newFCOS(name, body, classes) },
	},
	{
		prefix: "retinanet_", suffix: "_fpn", classesKey: "head.classification_head.cls_logits.weight", outputs: 9,
		head: []string{"head.classification_head.cls_logits."},
		make: func(name string, body *vision.ResNet, classes int) Network {
			return newRetinaNet(name, body, classes, false)
		},
	},
	{
		prefix: "retinanet_", suffix: "_fpn_v2", trainsNorms: true, outputs: 9,
		classesKey: "head.classification_head.cls_logits.weight", head: []string{"head.classification_head.cls_logits."},
		make: func(name string, body *vision.ResNet, classes int) Network {
			return newRetinaNet(name, body, classes, true)
		},
	},
	{
		prefix: "fasterrcnn_", suffix: "_fpn", background: true, classesKey: fastRCNNPredictor + "cls_score.weight", outputs: 1,
		head: []string{fastRCNNPredictor},
		make: func(name string, body *vision.ResNet, classes int) Network {
			return newFasterRCNN(name, body, classes, false)
		},
	},
	{
		prefix: "fasterrcnn_", suffix: "_fpn_v2", trainsNorms: true, background: true, outputs: 1,
		classesKey: fastRCNNPredictor + "cls_score.weight", head: []string{fastRCNNPredictor},
		make: func(name string, body *vision.ResNet, classes int) Network {
			return newFasterRCNN(name, body, classes, true)
		},
	},
}

const fastRCNNPredictor = "roi_heads.box_predictor."

// Architectures lists the names that New knows, torchvision's and those of its other ResNets: fcos_resnet50_fpn and so on.
func Architectures() (names []string) {
	for _, k := range kinds {
		for _, body := range vision.Architectures() {
			names = append(names, k.prefix+body+k.suffix)
		}
	}
	return names
}

// kindNamed takes a name apart.
func kindNamed(name string) (k kind, body string, err error) {
	for _, k := range kinds {
		body, isKind := strings.CutPrefix(name, k.prefix)
		body, isVersion := strings.CutSuffix(body, k.suffix)
		if isKind && isVersion && slices.Contains(vision.Architectures(), body) {
			return k, body, nil
		}
	}
	var forms []string
	for _, k := range kinds {
		forms = append(forms, k.prefix+"RESNET"+k.suffix)
	}
	return kind{}, "", fmt.Errorf("no detector is named %q%s; there are %s with RESNET one of %s", name,
		suggest.DidYouMean(name, Architectures()), strings.Join(forms, ", "), strings.Join(vision.Architectures(), ", "))
}

// Options say how a network is made.
type Options struct {
	Architecture string // one of Architectures
	// Classes is how many the head scores: with the background for Faster R-CNN, whose label 0 it is, without for the others.
	Classes int
	// TrainNorms makes the ResNet's norms ordinary batch norms, as is right where it trains from scratch. By default they are
	// frozen, as torchvision has them with pre-trained weights, but in its second versions, whose norms always train.
	TrainNorms bool
}

// New makes a network with memory but no values, to be loaded or drawn with Init. Its parameters are float32 on the CPU and
// live until Close.
func New(o Options) (Network, error) {
	k, body, err := kindNamed(o.Architecture)
	if err != nil {
		return nil, err
	}
	r, err := vision.NewBody(vision.BodyOptions{Architecture: body, FrozenNorms: !o.TrainNorms && !k.trainsNorms})
	if err != nil {
		return nil, err
	}
	return k.network(o.Architecture, r, o.Classes)
}

// network builds on a body, which it closes where it fails.
func (k kind) network(name string, body *vision.ResNet, classes int) (n Network, err error) {
	least := 1
	if k.background {
		least = 2
	}
	if classes < least {
		err = fmt.Errorf("a %s of %d classes: give %d or more", name, classes, least)
	} else if err = torch.Try(func() { n = k.make(name, body, classes) }); err != nil {
		err = fmt.Errorf("make a %s of %d classes: %w", name, classes, err)
	}
	if err != nil {
		body.Close()
		return nil, err
	}
	return n, nil
}

// ChannelsLast lays a network out for channels-last pictures, as batches have them. What is saved stays row-major.
func ChannelsLast(n Network) { nn.ChannelsLast(n) }
