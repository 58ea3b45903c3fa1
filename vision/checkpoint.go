package vision

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Layout says whose names a file's keys are.
type Layout string

// The layouts of a ResNet's checkpoint.
const (
	Torchvision  Layout = "torchvision"  // layer1.0.conv1.weight
	Transformers Layout = "transformers" // resnet.encoder.stages.0.layers.0.layer.0.convolution.weight
)

// ResNetOptions say how a checkpoint becomes a network.
type ResNetOptions struct {
	Architecture string           // one of Architectures; "" goes by the file's keys and shapes
	NewHead      int              // classes of a new head in place of the file's, which it need not have; 0 keeps the file's
	Generator    *torch.Generator // draws the new head; nil is the default generator
}

// LoadResNet reads a network from a checkpoint in either layout. Loading is strict: keys that are missing, unexpected
// or of another shape are an error that names them. A checkpoint may lack num_batches_tracked altogether, as those from
// before PyTorch 0.4.1 do, and its keys may have the prefixes of wrappers, see [torch.Checkpoint.Unwrapped]. What
// config.json beside the file says is heeded: a network that has the same keys and is another one is an error.
func LoadResNet(path string, o ResNetOptions) (*ResNet, nn.LoadReport, error) {
	c, err := torch.OpenCheckpoint(path)
	if err != nil {
		return nil, nn.LoadReport{}, err
	}
	defer c.Close()
	return ReadResNet(c, o)
}

// ReadResNet is LoadResNet for an open checkpoint.
func ReadResNet(c *torch.Checkpoint, o ResNetOptions) (*ResNet, nn.LoadReport, error) {
	fail := func(err error) (*ResNet, nn.LoadReport, error) { return nil, nn.LoadReport{}, err }
	c = c.Unwrapped(isResNets)
	if err := checkConfig(c); err != nil {
		return fail(err)
	}
	name, classes, err := DetectArchitecture(c)
	if o.Architecture != "" { // loading names what differs
		name, err = o.Architecture, nil
	}
	if err != nil {
		return fail(err)
	}
	if classes == 0 && o.NewHead == 0 {
		return fail(fmt.Errorf("%s has no head (fc.weight): say how many classes a new one has", c.Path()))
	}
	if o.NewHead != 0 {
		classes = o.NewHead
	}
	r, err := NewResNet(name, classes)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", c.Path(), err))
	}
	report, err := r.load(c, o.NewHead != 0)
	if err == nil && o.NewHead != 0 {
		err = torch.Try(func() { r.InitHead(o.Generator) })
	}
	if err != nil {
		r.Close()
		return nil, report, err
	}
	return r, report, nil
}

// load copies the checkpoint's tensors, all but a head that will be new.
func (r *ResNet) load(c *torch.Checkpoint, newHead bool) (nn.LoadReport, error) {
	head := func(key string) bool { return newHead && strings.HasPrefix(key, "fc.") }
	counter := func(key string) bool { return strings.HasSuffix(key, ".num_batches_tracked") }
	uncounted := !slices.ContainsFunc(c.Names(), counter)
	_, frozen := r.BN1.(*nn.FrozenBatchNorm) // has no counter
	return nn.Load(r, c, nn.LoadOptions{
		Rename: func(key string) (string, bool) {
			name := canonical(key)
			return name, !head(name) && !(frozen && counter(name))
		},
		Optional: func(key string) bool { return head(key) || uncounted && counter(key) },
	})
}

// canonical gives torchvision's name for a key of either layout, and other keys as they are.
func canonical(key string) string {
	if name, ok := TorchvisionName(key); ok {
		return name
	}
	return key
}

// isResNets tells the keys of a ResNet in either layout, but for the head.
func isResNets(key string) bool {
	key = canonical(key)
	layer, _, ok := strings.Cut(strings.TrimPrefix(key, "layer"), ".")
	return ok && (layer == "conv1" || layer == "bn1" || strings.HasPrefix(key, "layer") && len(layer) == 1 && layer >= "1" && layer <= "4")
}

// DetectArchitecture tells from the keys and shapes of a checkpoint, in either layout, which network it holds, and how
// many classes its head has: 0 where it has no head. The classes are told with an error too, where they are known.
func DetectArchitecture(c *torch.Checkpoint) (name string, classes int, err error) {
	return detect(c.Unwrapped(isResNets), canonical)
}

// detect is DetectArchitecture of a checkpoint whose keys name turns into torchvision's.
func detect(c *torch.Checkpoint, name func(key string) string) (_ string, classes int, err error) {
	shapes := map[string][]int{}
	for _, key := range c.Names() {
		shapes[name(key)], _ = c.Shape(key)
	}
	shape := func(key string, dims int) []int {
		switch s, ok := shapes[key]; {
		case err != nil:
		case !ok:
			err = fmt.Errorf("%s is no ResNet of torchvision's, timm's or transformers': it has no %s; %s", c.Path(), key, c.DescribeKeys())
		case len(s) != dims:
			err = fmt.Errorf("%s is no ResNet of torchvision's, timm's or transformers': %s has the shape %v, not %d dimensions", c.Path(), key, s, dims)
		default:
			return s
		}
		return make([]int, dims)
	}
	if _, ok := shapes["fc.weight"]; ok {
		classes = shape("fc.weight", 2)[0]
	}
	shape("conv1.weight", 4)
	found := architecture{groups: 1, width: shape("layer1.0.conv1.weight", 4)[0]}
	if _, found.bottleneck = shapes["layer1.0.conv3.weight"]; found.bottleneck {
		conv2 := shape("layer1.0.conv2.weight", 4) // [out, in/groups, 3, 3]
		found.width = conv2[1]
		found.groups = conv2[0] / max(conv2[1], 1)
	}
	if err != nil {
		return "", classes, err
	}
	for i := range found.blocks {
		for shapes[fmt.Sprintf("layer%d.%d.conv1.weight", i+1, found.blocks[i])] != nil {
			found.blocks[i]++
		}
	}
	for _, a := range architectures {
		if found.bottleneck == a.bottleneck && found.blocks == a.blocks && found.groups == a.groups && found.width == a.width {
			return a.name, classes, nil
		}
	}
	kind := "basic"
	if found.bottleneck {
		kind = "bottleneck"
	}
	return "", classes, fmt.Errorf("%s: no architecture has layers of %v %s blocks with %d groups of %d channels; there are %s",
		c.Path(), found.blocks, kind, found.groups, found.width, strings.Join(Architectures(), ", "))
}

// checkConfig refuses what config.json beside a checkpoint tells and its shapes do not: of transformers' layout,
// strides and activations that are not torchvision's; of torchvision's layout, which timm shares, timm's networks of
// the same keys.
func checkConfig(c *torch.Checkpoint) error {
	path := filepath.Join(filepath.Dir(c.Path()), "config.json")
	config, err := parseForeign(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if slices.ContainsFunc(c.Names(), func(key string) bool { _, ok := TorchvisionName(key); return ok }) {
		if err == nil && config.ModelType == "resnet" {
			err = config.sameNetwork(path)
		}
		return err
	}
	if err == nil && config.Architecture != "" && config.ModelType != "resnet" {
		_, err = config.timmNetwork(path)
		return err
	}
	return nil // another's
}

// Save writes the network as safetensors, atomically, with keys of the layout; adapters are merged into the weights.
func (r *ResNet) Save(path string, layout Layout) (err error) {
	torch.Scoped(func() {
		var state []torch.Named
		if state, err = nn.MergedState(r); err == nil {
			err = saveState(path, state, layout)
		}
	})
	return err
}

func saveState(path string, state []torch.Named, layout Layout) error {
	switch layout {
	case Torchvision:
	case Transformers:
		for i, s := range state {
			name, ok := TransformersName(s.Name)
			if !ok {
				return fmt.Errorf("write %s: transformers has no name for %q", path, s.Name)
			}
			state[i].Name = name
		}
	default:
		return fmt.Errorf("write %s: no layout is named %q: there are %s, %s", path, layout, Torchvision, Transformers)
	}
	return torch.SaveCheckpoint(path, state, map[string]string{"format": "pt"}) // transformers asks for the format
}
