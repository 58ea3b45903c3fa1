package detection

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// LoadOptions say how a checkpoint becomes a network.
type LoadOptions struct {
	// Architecture is one of Architectures. "" goes by the keys and shapes of a detector's file; with a classifier's file it
	// is needed.
	Architecture string
	// NewHead is the number of classes of a new head in place of the file's; 0 keeps the file's. See Options.Classes.
	NewHead int
	// Generator draws what is new; nil is the default generator.
	Generator *torch.Generator
	// TrainNorms is as in Options.
	TrainNorms bool
	// NormEps is what frozen norms add to the variance. 0 stands for 1e-5, but for the published files whose frozen norms
	// have none (torchvision sets 0 for the first COCO weights of Faster R-CNN and RetinaNet), known by their names.
	// A negative number stands for none: a network that was trained from one of those files needs it.
	NormEps float64
}

// withoutEps are the beginnings of the published files' names.
var withoutEps = []string{"fasterrcnn_resnet50_fpn_coco-258fb6c6", "retinanet_resnet50_fpn_coco-eeacb38b"}

// Load reads a network from the checkpoint of a detector, torchvision's or one with its keys, or builds it on the checkpoint
// of a classifier, whose body it takes: pyramid and head are drawn then. Loading is strict: keys that are missing, unexpected
// or of another shape are an error that names them. Keys may have the prefixes of wrappers, see [torch.Checkpoint.Unwrapped];
// those of checkpoints from before torchvision 0.14 are known too.
func Load(path string, o LoadOptions) (Network, nn.LoadReport, error) {
	c, err := torch.OpenCheckpoint(path)
	if err != nil {
		return nil, nn.LoadReport{}, err
	}
	defer c.Close()
	c = c.Unwrapped(isDetectors)
	var n Network
	var report nn.LoadReport
	if slices.ContainsFunc(c.Names(), isDetectors) {
		n, report, err = read(c, o)
	} else {
		n, report, err = build(path, o)
	}
	if err != nil {
		return nil, report, err
	}
	if eps := o.normEps(path); eps >= 0 {
		SetNormEps(n, eps)
	}
	return n, report, nil
}

// normEps is negative where the default is right.
func (o LoadOptions) normEps(path string) float64 {
	known := slices.ContainsFunc(withoutEps, func(name string) bool { return strings.HasPrefix(filepath.Base(path), name) })
	switch {
	case o.NormEps < 0 || o.NormEps == 0 && known:
		return 0
	case o.NormEps > 0:
		return o.NormEps
	}
	return -1
}

// SetNormEps sets what the frozen norms of a network add to the variance.
func SetNormEps(n Network, eps float64) {
	for _, norm := range nn.Modules[*nn.FrozenBatchNorm](n) {
		norm.Eps = eps
	}
}

// NormEps is what the frozen norms of a network add to the variance, 1e-5 where it has none.
func NormEps(n Network) float64 {
	for _, norm := range nn.Modules[*nn.FrozenBatchNorm](n) {
		return norm.Eps
	}
	return 1e-5
}

// isDetectors tells the keys of a detector.
func isDetectors(key string) bool { return strings.HasPrefix(key, "backbone.") }

// build puts a network on a classifier's body.
func build(path string, o LoadOptions) (Network, nn.LoadReport, error) {
	fail := func(report nn.LoadReport, err error) (Network, nn.LoadReport, error) { return nil, report, err }
	if o.Architecture == "" {
		return fail(nn.LoadReport{}, fmt.Errorf("%s is no detector's (it has no keys backbone...): say which detector to build "+
			"on it, such as fcos_resnet50_fpn", path))
	}
	k, name, err := kindNamed(o.Architecture)
	if err != nil {
		return fail(nn.LoadReport{}, err)
	}
	if o.NewHead == 0 {
		return fail(nn.LoadReport{}, errors.New("a classifier's weights have no head that finds objects: say how many classes a new one has"))
	}
	body, report, err := vision.LoadBody(path, vision.BodyOptions{Architecture: name, FrozenNorms: !o.TrainNorms && !k.trainsNorms})
	if err != nil {
		return fail(report, err)
	}
	n, err := k.network(o.Architecture, body, o.NewHead)
	if err == nil {
		if err = torch.Try(func() { n.InitNew(o.Generator) }); err != nil {
			n.Close()
		}
	}
	if err != nil {
		return fail(report, err)
	}
	return n, report, nil
}

// read makes the network that a detector's checkpoint holds.
func read(c *torch.Checkpoint, o LoadOptions) (Network, nn.LoadReport, error) {
	name, classes, err := DetectArchitecture(c)
	if o.Architecture != "" { // loading names what differs
		name, err = o.Architecture, nil
	}
	if err != nil {
		return nil, nn.LoadReport{}, err
	}
	if o.NewHead != 0 {
		classes = o.NewHead
	}
	n, err := New(Options{Architecture: name, Classes: classes, TrainNorms: o.TrainNorms})
	if err != nil {
		return nil, nn.LoadReport{}, fmt.Errorf("%s: %w", c.Path(), err)
	}
	report, err := load(n, c, o.NewHead != 0)
	if err == nil && o.NewHead != 0 {
		err = torch.Try(func() { n.InitHead(o.Generator) })
	}
	if err != nil {
		n.Close()
		return nil, report, err
	}
	return n, report, nil
}

// load copies the checkpoint's tensors, all but a head that will be new.
func load(n Network, c *torch.Checkpoint, newHead bool) (nn.LoadReport, error) {
	k, _, err := kindNamed(n.Name())
	if err != nil {
		return nn.LoadReport{}, err
	}
	head := func(key string) bool {
		return newHead && slices.ContainsFunc(k.head, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
	}
	counter := func(key string) bool { return strings.HasSuffix(key, ".num_batches_tracked") }
	counted := slices.ContainsFunc(c.Names(), counter)
	counts := false
	for name := range nn.Buffers(n) {
		counts = counts || counter(name)
	}
	current := currentKeys(c)
	return nn.Load(n, c, nn.LoadOptions{
		Rename: func(key string) (string, bool) {
			name := current(key)
			return name, !head(name) && (counts || !counter(name)) // frozen norms do not count
		},
		Optional: func(key string) bool { return head(key) || !counted && counter(key) },
	})
}

// DetectArchitecture tells from the keys and shapes of a detector's checkpoint which network it holds, and how many classes
// its head scores.
func DetectArchitecture(c *torch.Checkpoint) (name string, classes int, err error) {
	c = c.Unwrapped(isDetectors)
	shapes, current := map[string][]int{}, currentKeys(c)
	for _, key := range c.Names() {
		shapes[current(key)], _ = c.Shape(key)
	}
	body, err := vision.DetectBody(c, "backbone.body.")
	if err != nil {
		return "", 0, err
	}
	for _, k := range kinds {
		shape := shapes[k.classesKey]
		if len(shape) > 0 && shape[0]%k.outputs == 0 && k.is(shapes) {
			return k.prefix + body + k.suffix, shape[0] / k.outputs, nil
		}
	}
	return "", 0, fmt.Errorf("%s is no FCOS, RetinaNet or Faster R-CNN of torchvision's; %s", c.Path(), c.DescribeKeys())
}

// is tells the kinds apart by keys that only one has.
func (k kind) is(shapes map[string][]int) bool {
	has := func(key string) bool { return shapes[key] != nil }
	centerness := has("head.regression_head.bbox_ctrness.weight")
	switch k.prefix + k.suffix {
	case "fcos__fpn":
		return centerness
	case "retinanet__fpn":
		return !centerness && !has("head.regression_head.conv.0.1.weight")
	case "retinanet__fpn_v2":
		return !centerness && has("head.regression_head.conv.0.1.weight")
	case "fasterrcnn__fpn":
		return !has("roi_heads.box_head.0.0.weight")
	}
	return has("roi_heads.box_head.0.0.weight")
}

// currentKeys gives the key of today for one of a checkpoint from before torchvision 0.14, and other keys as they are: the
// blocks of a pyramid, and the convolutions of a RetinaNet's and an RPN's head, were no Sequential then.
func currentKeys(c *torch.Checkpoint) func(key string) string {
	_, isFCOS := c.Shape("head.regression_head.bbox_ctrness.weight") // its convolutions are none still
	return func(key string) string {
		part := strings.Split(key, ".")
		n := len(part)
		leaf := part[n-1]
		if leaf != "weight" && leaf != "bias" {
			return key
		}
		stem := strings.Join(part[:n-1], ".")
		switch {
		case n == 5 && part[1] == "fpn" && (part[2] == "inner_blocks" || part[2] == "layer_blocks"):
			return stem + ".0." + leaf
		case n == 5 && part[0] == "head" && part[2] == "conv" && !isFCOS:
			if at, err := strconv.Atoi(part[3]); err == nil && at%2 == 0 { // a ReLU lay between
				return fmt.Sprintf("head.%s.conv.%d.0.%s", part[1], at/2, leaf)
			}
		case stem == "rpn.head.conv":
			return stem + ".0.0." + leaf
		}
		return key
	}
}
