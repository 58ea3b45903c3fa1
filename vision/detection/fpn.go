package detection

import (
	"strconv"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// pyramidChannels are those of every level.
const pyramidChannels = 256

// Backbone is a ResNet with a feature pyramid on its layers.
type Backbone struct {
	Body *vision.ResNet `torch:"body"`
	FPN  *FPN           `torch:"fpn"`

	from int // the first layer that the pyramid stands on: 1 or 2
}

// FPN is the feature pyramid of Lin et al. 2016: each level is its layer's output, reduced to 256 channels, plus the level
// above made twice as large.
type FPN struct {
	InnerBlocks []*ConvNorm `torch:"inner_blocks"` // 1x1: channels of the layers to 256
	LayerBlocks []*ConvNorm `torch:"layer_blocks"` // 3x3
	ExtraBlocks *P6P7       `torch:"extra_blocks"` // two levels more; nil makes one more, every second place of the last
}

// P6P7 makes two more levels by convolutions of stride 2 (Lin et al. 2017).
type P6P7 struct {
	P6 *nn.Conv2d `torch:"p6"` // of the last level, or of the last layer where that has another number of channels
	P7 *nn.Conv2d `torch:"p7"`
}

// newBackbone stands on a body's layers from one on. p6Channels are those of what P6 reads, 0 for no P6P7. norm may be nil.
func newBackbone(body *vision.ResNet, from, p6Channels int, norm func(int) nn.Norm) *Backbone {
	b := &Backbone{Body: body, FPN: &FPN{}, from: from}
	all := body.Channels()
	for _, channels := range all[from-1:] {
		b.FPN.InnerBlocks = append(b.FPN.InnerBlocks, newConvNorm(channels, pyramidChannels, 1, norm, false))
		b.FPN.LayerBlocks = append(b.FPN.LayerBlocks, newConvNorm(pyramidChannels, pyramidChannels, 3, norm, false))
	}
	if p6Channels > 0 {
		b.FPN.ExtraBlocks = &P6P7{conv3x3(p6Channels, pyramidChannels, 2), conv3x3(pyramidChannels, pyramidChannels, 2)}
	}
	return b
}

// Forward maps the layers' outputs, [N, channels, H, W] from the finest on, to as many levels and one or two more, each
// [N, 256, H', W'].
func (f *FPN) Forward(layers nn.Values) nn.Values {
	last := len(layers) - 1
	levels := make(nn.Values, last+1)
	var above torch.Tensor
	for i := last; i >= 0; i-- {
		inner := f.InnerBlocks[i].Forward(layers[i])
		if above.Defined() {
			inner = inner.Add_(torch.UpsampleNearest2d(above, inner.Shape()[2:], nil))
		}
		levels[i], above = f.LayerBlocks[i].Forward(inner), inner
	}
	if f.ExtraBlocks == nil {
		return append(levels, torch.MaxPool2d(levels[last], []int{1, 1}, []int{2, 2}, []int{0, 0}, []int{1, 1}, false))
	}
	from := levels[last]
	if f.ExtraBlocks.P6.Weight.Size(1) != pyramidChannels {
		from = layers[last]
	}
	p6 := f.ExtraBlocks.P6.Forward(from)
	return append(levels, p6, f.ExtraBlocks.P7.Forward(p6.ReLU()))
}

// Init draws the pyramid's parameters as torchvision does, number for number from the same state of the generator.
func (f *FPN) Init(g *torch.Generator) {
	if f.ExtraBlocks != nil {
		initDefault(f.ExtraBlocks, g)
		initLeCun(f.ExtraBlocks, g)
	}
	for i := range f.InnerBlocks {
		initDefault(f.InnerBlocks[i], g)
		initDefault(f.LayerBlocks[i], g)
	}
	initLeCun(f.InnerBlocks, g)
	initLeCun(f.LayerBlocks, g)
}

// stages are the stem, the four layers and the pyramid. Layers behind the one where the pyramid begins hand on what those
// before gave out.
func (b *Backbone) stages() []nn.Stage[*Batch] {
	const body = "backbone.body."
	stages := []nn.Stage[*Batch]{{Name: "stem", Module: b.Body.StemModule(), Key: body, Forward: func(batch *Batch, _ nn.Values) nn.Values {
		return nn.Values{b.Body.Stem(batch.Images())}
	}}}
	for i, layer := range []vision.Layer{b.Body.Layer1, b.Body.Layer2, b.Body.Layer3, b.Body.Layer4} {
		name := "layer" + strconv.Itoa(i+1)
		stages = append(stages, nn.Stage[*Batch]{Name: name, Module: layer, Key: body + name + ".", Forward: func(_ *Batch, in nn.Values) nn.Values {
			out := layer.Forward(in[len(in)-1])
			if i+1 <= b.from {
				return nn.Values{out}
			}
			return append(append(nn.Values{}, in...), out)
		}})
	}
	return append(stages, nn.Stage[*Batch]{Name: "fpn", Module: b.FPN, Key: "backbone.fpn.", Forward: func(_ *Batch, in nn.Values) nn.Values {
		return b.FPN.Forward(in)
	}})
}
