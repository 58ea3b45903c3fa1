package vision

import (
	"fmt"
	"strings"

	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/onnx"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ResNet is the residual network of He et al. 2015, with its ResNeXt (Xie et al. 2016) and wide (Zagoruyko and
// Komodakis 2016) forms. Fields are named as torchvision's keys.
type ResNet struct {
	Conv1  *nn.Conv2d `torch:"conv1"` // 7x7, stride 2
	BN1    nn.Norm    `torch:"bn1"`
	Layer1 Layer      `torch:"layer1"`
	Layer2 Layer      `torch:"layer2"`
	Layer3 Layer      `torch:"layer3"`
	Layer4 Layer      `torch:"layer4"`
	FC     *nn.Linear `torch:"fc"` // [classes, features]; nil of a body alone, see NewBody

	Architecture string // its name in Architectures
}

// Layer is the blocks that work at one resolution, the first of which lowers it in layers 2 to 4.
type Layer []Block

// Block maps [N, C, H, W] to [N, C', H', W'] around a shortcut.
type Block interface {
	Forward(x torch.Tensor) torch.Tensor
	lastNorm() nn.Norm                                               // of the residual branch
	addTo(l resnetLayers, x onnx.Value, key string) (out onnx.Value) // what Forward computes, to a graph
}

// BasicBlock is two 3x3 convolutions, of ResNet-18 and 34.
type BasicBlock struct {
	Conv1      *nn.Conv2d  `torch:"conv1"`
	BN1        nn.Norm     `torch:"bn1"`
	Conv2      *nn.Conv2d  `torch:"conv2"`
	BN2        nn.Norm     `torch:"bn2"`
	Downsample *Downsample `torch:"downsample"` // nil where the shapes agree
}

// Bottleneck is a 1x1, a 3x3 and a 1x1 convolution, with the stride on the 3x3 (v1.5, as torchvision; the paper has it
// on the first).
type Bottleneck struct {
	Conv1      *nn.Conv2d  `torch:"conv1"`
	BN1        nn.Norm     `torch:"bn1"`
	Conv2      *nn.Conv2d  `torch:"conv2"`
	BN2        nn.Norm     `torch:"bn2"`
	Conv3      *nn.Conv2d  `torch:"conv3"`
	BN3        nn.Norm     `torch:"bn3"`
	Downsample *Downsample `torch:"downsample"` // nil where the shapes agree
}

// Downsample is a shortcut that changes the shape, by a 1x1 convolution.
type Downsample struct {
	Conv *nn.Conv2d `torch:"0"`
	BN   nn.Norm    `torch:"1"`
}

// architecture is what the networks differ in.
type architecture struct {
	name       string
	bottleneck bool
	blocks     [4]int // of each layer
	groups     int    // of the 3x3 convolutions
	width      int    // channels of a group in layer1
	norm       func(channels int) nn.Norm
}

// architectures have torchvision's names and numbers (torchvision/models/resnet.py).
var architectures = []architecture{
	{"resnet18", false, [4]int{2, 2, 2, 2}, 1, 64, batchNorm},
	{"resnet34", false, [4]int{3, 4, 6, 3}, 1, 64, batchNorm},
	{"resnet50", true, [4]int{3, 4, 6, 3}, 1, 64, batchNorm},
	{"resnet101", true, [4]int{3, 4, 23, 3}, 1, 64, batchNorm},
	{"resnet152", true, [4]int{3, 8, 36, 3}, 1, 64, batchNorm},
	{"resnext50_32x4d", true, [4]int{3, 4, 6, 3}, 32, 4, batchNorm},
	{"resnext101_32x8d", true, [4]int{3, 4, 23, 3}, 32, 8, batchNorm},
	{"resnext101_64x4d", true, [4]int{3, 4, 23, 3}, 64, 4, batchNorm},
	{"wide_resnet50_2", true, [4]int{3, 4, 6, 3}, 1, 128, batchNorm},
	{"wide_resnet101_2", true, [4]int{3, 4, 23, 3}, 1, 128, batchNorm},
}

// Architectures lists the names that NewResNet knows, torchvision's.
func Architectures() []string {
	var names []string
	for _, a := range architectures {
		names = append(names, a.name)
	}
	return names
}

// NewResNet makes a network with memory but no values, to be loaded or drawn with Init. Its parameters are float32 on
// the CPU and live until Close.
func NewResNet(name string, classes int) (*ResNet, error) {
	a, err := architectureNamed(name)
	if err != nil {
		return nil, err
	}
	return a.network(classes)
}

func architectureNamed(name string) (architecture, error) {
	for _, a := range architectures {
		if a.name == name {
			return a, nil
		}
	}
	return architecture{}, fmt.Errorf("no architecture is named %q%s; there are %s",
		name, suggest.DidYouMean(name, Architectures()), strings.Join(Architectures(), ", "))
}

func batchNorm(channels int) nn.Norm  { return nn.EmptyBatchNorm(channels) }
func frozenNorm(channels int) nn.Norm { return nn.EmptyFrozenBatchNorm(channels) }

func (a architecture) network(classes int) (*ResNet, error) {
	if classes < 1 {
		return nil, fmt.Errorf("a %s of %d classes: give one or more", a.name, classes)
	}
	r := &ResNet{Architecture: a.name}
	err := torch.Try(func() { // memory may not do
		r.FC = nn.EmptyLinear(a.body(r), classes, nn.LinearOptions{})
	})
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("make a %s of %d classes: %w", a.name, classes, err)
	}
	return r, nil
}

// body makes all but the head, and gives the number of channels that layer 4 gives out.
func (a architecture) body(r *ResNet) (features int) {
	r.Conv1, r.BN1 = conv(3, 64, 7, 2, 1), a.norm(64)
	features = 64
	for i, layer := range []*Layer{&r.Layer1, &r.Layer2, &r.Layer3, &r.Layer4} {
		planes, stride := 64<<i, min(i+1, 2)
		for range a.blocks[i] {
			*layer = append(*layer, a.block(features, planes, stride))
			features, stride = a.expansion()*planes, 1
		}
	}
	return features
}

// expansion is how many channels a block gives out for each plane.
func (a architecture) expansion() int {
	if a.bottleneck {
		return 4
	}
	return 1
}

// block maps in channels to expansion*planes.
func (a architecture) block(in, planes, stride int) Block {
	out := a.expansion() * planes
	var down *Downsample
	if stride != 1 || in != out {
		down = &Downsample{conv(in, out, 1, stride, 1), a.norm(out)}
	}
	if !a.bottleneck {
		return &BasicBlock{
			conv(in, planes, 3, stride, 1), a.norm(planes),
			conv(planes, planes, 3, 1, 1), a.norm(planes), down,
		}
	}
	width := planes * a.width / 64 * a.groups
	return &Bottleneck{
		conv(in, width, 1, 1, 1), a.norm(width),
		conv(width, width, 3, stride, a.groups), a.norm(width),
		conv(width, out, 1, 1, 1), a.norm(out), down,
	}
}

// conv is a convolution without bias that keeps the image's size, up to the stride.
func conv(in, out, kernel, stride, groups int) *nn.Conv2d {
	return nn.EmptyConv2d(in, out, kernel, nn.ConvOptions{Stride: stride, Padding: kernel / 2, Groups: groups, NoBias: true})
}

// InitOptions say how Init draws.
type InitOptions struct {
	// ZeroInitResidual starts the last norm of every block at 0, so that blocks start as their shortcuts (Goyal et al.
	// 2017).
	ZeroInitResidual bool
}

// Init draws the parameters as torchvision does, number for number from the same seed: convolutions by Kaiming's normal
// for ReLU (fan_out), norms 1 and 0, the head by PyTorch's default.
func (r *ResNet) Init(g *torch.Generator, o InitOptions) {
	for _, c := range nn.Modules[*nn.Conv2d](r) {
		c.Init(g) // what PyTorch's constructors draw; replaced below, but the generator moves on
	}
	r.InitHead(g)
	for _, c := range nn.Modules[*nn.Conv2d](r) {
		nn.KaimingNormal_(c.Weight, g)
	}
	for _, b := range nn.Modules[nn.Norm](r) {
		b.Init()
	}
	if o.ZeroInitResidual {
		torch.NoGrad(func() {
			for _, b := range nn.Modules[Block](r) {
				switch norm := b.lastNorm().(type) {
				case *nn.BatchNorm:
					norm.Weight.Zero_()
				case *nn.FrozenBatchNorm:
					norm.Weight.Zero_()
				}
			}
		})
	}
}

// InitHead draws the last layer by PyTorch's default, ±1/sqrt(features).
func (r *ResNet) InitHead(g *torch.Generator) {
	if r.FC == nil { // torchvision draws one of 1000 classes before it is left out
		head := nn.NewLinear(r.Layer4.channels(), 1000, nn.LinearOptions{}, g)
		defer nn.Close(head)
		return
	}
	r.FC.Init(g)
}

// Classes is the number of logits.
func (r *ResNet) Classes() int { return r.FC.Weight.Size(0) }

// Features is the number of channels that the head sees.
func (r *ResNet) Features() int { return r.FC.Weight.Size(1) }

// ChannelsLast lays the convolutions' weights out for channels-last images, which run faster on most devices. What is
// saved stays row-major.
func (r *ResNet) ChannelsLast() { nn.ChannelsLast(r) }

// Stages are the stem, the four layers, the pooling and the head, of a model on batches of type B; images gives a
// batch's images as Forward takes them.
func Stages[B any](r *ResNet, images func(B) torch.Tensor) []nn.Stage[B] {
	layer := func(name string, l Layer) nn.Stage[B] {
		return nn.Stage[B]{Name: name, Module: l, Key: name + ".", Forward: func(_ B, in nn.Values) nn.Values {
			return nn.Values{l.Forward(in[0])}
		}}
	}
	return []nn.Stage[B]{
		{Name: "stem", Module: &stem{r.Conv1, r.BN1}, Forward: func(b B, _ nn.Values) nn.Values {
			return nn.Values{r.stem(images(b))}
		}},
		layer("layer1", r.Layer1), layer("layer2", r.Layer2), layer("layer3", r.Layer3), layer("layer4", r.Layer4),
		{Name: "pool", PerSample: true, Forward: func(_ B, in nn.Values) nn.Values { return nn.Values{r.pool(in[0])} }},
		{Name: "head", Module: r.FC, Key: "fc.", Forward: func(_ B, in nn.Values) nn.Values {
			return nn.Values{r.FC.Forward(in[0])}
		}},
	}
}

// stem views what is before layer1 as one module.
type stem struct {
	Conv1 *nn.Conv2d `torch:"conv1"`
	BN1   nn.Norm    `torch:"bn1"`
}

// Forward maps images [N, 3, H, W], already normalised, to logits [N, classes]. Images of 32 pixels or more make sense;
// channels-last images stay so up to the head.
func (r *ResNet) Forward(x torch.Tensor) torch.Tensor {
	stages := Stages(r, func(x torch.Tensor) torch.Tensor { return x })
	return nn.RunStages(stages, x, nil)[0]
}

// stemPool ends the stem.
var stemPool = nn.MaxPool2d{Kernel: 3, Stride: 2, Padding: 1}

// stem maps [N, 3, H, W] to [N, 64, H/4, W/4].
func (r *ResNet) stem(x torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		return stemPool.Forward(nn.ConvNorm(r.Conv1, r.BN1, x, torch.Tensor{}, true))
	})
}

// pool maps [N, features, H, W] to [N, features].
func (r *ResNet) pool(x torch.Tensor) torch.Tensor {
	return nn.AdaptiveAvgPool2d{H: 1, W: 1}.Forward(x).Flatten(1, -1)
}

// Forward maps [N, C, H, W] to [N, C', H', W'].
func (l Layer) Forward(x torch.Tensor) torch.Tensor {
	for i, block := range l {
		y := torch.Tidy(func() torch.Tensor { return block.Forward(x) })
		if i > 0 {
			x.Close()
		}
		x = y
	}
	return x
}

// Forward maps [N, inplanes, H, W] to [N, planes, H/stride, W/stride].
func (b *BasicBlock) Forward(x torch.Tensor) torch.Tensor {
	y := nn.ConvNorm(b.Conv1, b.BN1, x, torch.Tensor{}, true)
	return nn.ConvNorm(b.Conv2, b.BN2, y, b.Downsample.Forward(x), true)
}

// Forward maps [N, inplanes, H, W] to [N, 4*planes, H/stride, W/stride].
func (b *Bottleneck) Forward(x torch.Tensor) torch.Tensor {
	y := nn.ConvNorm(b.Conv1, b.BN1, x, torch.Tensor{}, true)
	y = nn.ConvNorm(b.Conv2, b.BN2, y, torch.Tensor{}, true)
	return nn.ConvNorm(b.Conv3, b.BN3, y, b.Downsample.Forward(x), true)
}

// Forward is x itself where there is nothing to change.
func (d *Downsample) Forward(x torch.Tensor) torch.Tensor {
	if d == nil {
		return x
	}
	return nn.ConvNorm(d.Conv, d.BN, x, torch.Tensor{}, false)
}

func (b *BasicBlock) lastNorm() nn.Norm { return b.BN2 }
func (b *Bottleneck) lastNorm() nn.Norm { return b.BN3 }

// Close frees the network.
func (r *ResNet) Close() { nn.Close(r) }
