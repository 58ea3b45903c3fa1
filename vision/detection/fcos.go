package detection

import (
	"math"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

// FCOS is the network of Tian et al. 2019 (with the improvements of 2020): each place of five levels says which class of object
// it lies in, how far the object's four edges are, and how near its centre is. Keys and numbers are those of torchvision's
// fcos_resnet50_fpn.
type FCOS struct {
	Backbone *Backbone `torch:"backbone"`
	Head     *FCOSHead `torch:"head"`

	Limits Limits
	name   string
}

// FCOSHead is shared by all levels.
type FCOSHead struct {
	Classification *FCOSClassification `torch:"classification_head"`
	Regression     *FCOSRegression     `torch:"regression_head"`
}

// FCOSClassification gives a logit for each class.
type FCOSClassification struct {
	Conv      Sequential `torch:"conv"` // 4 times: 3x3 convolution, group norm, ReLU
	ClsLogits *nn.Conv2d `torch:"cls_logits"`
}

// FCOSRegression gives distances and centerness.
type FCOSRegression struct {
	Conv        Sequential `torch:"conv"` // as the classification's
	BBoxReg     *nn.Conv2d `torch:"bbox_reg"`
	BBoxCtrness *nn.Conv2d `torch:"bbox_ctrness"`
}

// The constants of FCOS.
var (
	// fcosAnchors has a place's cell: the size is that of the level's steps.
	fcosAnchors = Anchors{Sizes: [][]float64{{8}, {16}, {32}, {64}, {128}}, Ratios: []float64{1}}
	fcosLimits  = Limits{MinScore: 0.2, NMS: 0.6, Candidates: 1000, PerPicture: 100}
)

const (
	fcosFinest = 8   // pixels between the places of the first level
	fcosRadius = 1.5 // how far from the centre of an object, in cells, a place may lie to be trained to find it
	fcosMaps   = 3   // of each level
)

func newFCOS(name string, body *vision.ResNet, classes int) *FCOS {
	tower := func() (s Sequential) {
		for range 4 {
			s = append(s, conv3x3(pyramidChannels, pyramidChannels, 1), nn.EmptyGroupNorm(32, pyramidChannels), inPlaceReLU{})
		}
		return s
	}
	return &FCOS{
		Backbone: newBackbone(body, 2, pyramidChannels, nil),
		Head: &FCOSHead{
			&FCOSClassification{tower(), conv3x3(pyramidChannels, classes, 1)},
			&FCOSRegression{tower(), conv3x3(pyramidChannels, 4, 1), conv3x3(pyramidChannels, 1, 1)},
		},
		Limits: fcosLimits, name: name,
	}
}

// Name is as torchvision's: "fcos_resnet50_fpn".
func (f *FCOS) Name() string { return f.name }

// Classes is the number of classes that logits are given for. Labels are their numbers.
func (f *FCOS) Classes() int { return f.Head.Classification.ClsLogits.Weight.Size(0) }

// FirstLabel is 0: FCOS has no class for the background, though label 0 of the published checkpoint was never trained.
func (f *FCOS) FirstLabel() int { return 0 }

// Init draws all parameters as torchvision does, number for number from the same seed.
func (f *FCOS) Init(g *torch.Generator) {
	f.Backbone.Body.Init(g, vision.InitOptions{})
	f.InitNew(g)
}

// InitNew draws what a classifier's checkpoint lacks: pyramid and head.
func (f *FCOS) InitNew(g *torch.Generator) {
	f.Backbone.FPN.Init(g)
	c, r := f.Head.Classification, f.Head.Regression
	initDefault(c.Conv, g)
	initNormal(c.Conv, g)
	f.InitHead(g)
	initDefault(r, g)
	initNormal([]*nn.Conv2d{r.BBoxReg, r.BBoxCtrness}, g)
	initNormal(r.Conv, g)
}

// InitHead draws the layer that depends on the classes.
func (f *FCOS) InitHead(g *torch.Generator) { initPrior(f.Head.Classification.ClsLogits, g) }

// initPrior draws a layer of logits so that every class begins at a probability of 0.01 (Lin et al. 2017).
func initPrior(c *nn.Conv2d, g *torch.Generator) {
	c.Init(g) // what PyTorch's constructor draws
	initNormal(c, g)
	torch.NoGrad(func() { c.Bias.Fill_(-math.Log((1 - 0.01) / 0.01)) })
}

// Stages are stem, layer1 to layer4, fpn and head. The head gives for each of the five levels, the finest first:
//
//   - the classes' logits [N, classes, H, W]
//   - distances of the left, upper, right and lower edge, in cells, [N, 4, H, W]
//   - the logit of the centerness [N, 1, H, W]
func (f *FCOS) Stages() []nn.Stage[*Batch] {
	return append(f.Backbone.stages(), nn.Stage[*Batch]{Name: "head", Module: f.Head, Key: "head.", Forward: func(_ *Batch, in nn.Values) nn.Values {
		var out nn.Values
		for _, x := range in {
			out = append(out, torch.TidyAll(func() []torch.Tensor { return f.Head.forward(x) })...)
		}
		return out
	}})
}

func (h *FCOSHead) forward(x torch.Tensor) []torch.Tensor {
	logits := h.Classification.ClsLogits.Forward(h.Classification.Conv.Forward(x))
	r := h.Regression.Conv.Forward(x)
	return []torch.Tensor{logits, h.Regression.BBoxReg.Forward(r).ReLU_(), h.Regression.BBoxCtrness.Forward(r)}
}

// Losses are the focal loss of the classes, the GIoU loss of the boxes and the cross-entropy of the centerness, each a sum
// over the batch divided by the number of places that are to find an object. No value is read from the device.
func (f *FCOS) Losses(output, target nn.Values) []torch.Named {
	maps, gs := every(output, fcosMaps, 0), grids(every(output, fcosMaps, 0))
	anchors := fcosAnchors.levels(gs, fcosFinest, maps[0].Device())
	all := torch.Cat(anchors, 0)
	classes, truth := f.match(anchors, target)
	found := classes.GeScalar(0)
	count := found.Sum().To(torch.Float32).ClampMin(1)
	// Places that find nothing get themselves as their object, so that what counts for nothing has a gradient of 0.
	truth = torch.Where(found.Unsqueeze(-1), truth, all)

	focal := boxes.DefaultFocal.ClassLoss(flatAll(maps, f.Classes()), classes).Sum()
	predicted := boxes.LinearCoder{}.Decode(flatAll(every(output, fcosMaps, 1), 4), all)
	giou := torch.WhereScalarOther(found, boxes.GIoULoss(predicted, truth), 0).Sum()
	centerness := torch.BinaryCrossEntropyWithLogits(flatAll(every(output, fcosMaps, 2), 1).SqueezeDim(-1),
		f.centerness(truth, all), found.To(torch.Float32), torch.Tensor{}, torch.ReduceSum)
	return []torch.Named{
		{Name: "classification", Tensor: focal.Div(count)}, {Name: "bbox_regression", Tensor: giou.Div(count)},
		{Name: "bbox_ctrness", Tensor: centerness.Div(count)},
	}
}

// centerness is 1 in the middle of a box and 0 at its edges.
func (f *FCOS) centerness(truth, anchors torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		d := boxes.LinearCoder{}.Encode(truth, anchors)
		l, t, r, b := d.Select(-1, 0), d.Select(-1, 1), d.Select(-1, 2), d.Select(-1, 3)
		return l.Minimum(r).Div(l.Maximum(r)).Mul(t.Minimum(b).Div(t.Maximum(b))).Sqrt()
	})
}

// match gives for each place of each picture the label of the object that it is to find, -1 for none, [N, A], and its box
// [N, A, 4].
func (f *FCOS) match(anchors []torch.Tensor, target nn.Values) (classes, truth torch.Tensor) {
	out := torch.TidyAll(func() []torch.Tensor {
		places := fcosPlacesOf(anchors)
		var classes, truth []torch.Tensor
		for i := range target[0].Size(0) {
			c := torch.TidyAll(func() []torch.Tensor { return places.match(target[0].Select(0, i), target[1].Select(0, i)) })
			classes, truth = append(classes, c[0]), append(truth, c[1])
		}
		return []torch.Tensor{torch.Stack(classes, 0), torch.Stack(truth, 0)}
	})
	return out[0], out[1]
}

// fcosPlaces are the places of all levels, [A, 1] each.
type fcosPlaces struct {
	x, y, radius, lower, upper torch.Tensor
}

func fcosPlacesOf(anchors []torch.Tensor) fcosPlaces {
	var lower, upper []torch.Tensor
	for i, a := range anchors {
		size := a.Select(1, 2).Sub(a.Select(1, 0))
		low, high := size.MulScalar(4), size.MulScalar(8)
		if i == 0 {
			low = low.ZerosLike()
		}
		if i == len(anchors)-1 {
			high = high.FullLike(math.Inf(1))
		}
		lower, upper = append(lower, low), append(upper, high)
	}
	all := torch.Cat(anchors, 0)
	size := all.Select(1, 2).Sub(all.Select(1, 0))
	wide := func(t torch.Tensor) torch.Tensor { return t.Unsqueeze(1) }
	return fcosPlaces{
		wide(all.Select(1, 0).Add(all.Select(1, 2)).DivScalar(2)), wide(all.Select(1, 1).Add(all.Select(1, 3)).DivScalar(2)),
		wide(size.MulScalar(fcosRadius)), wide(torch.Cat(lower, 0)), wide(torch.Cat(upper, 0)),
	}
}

// largestArea is above that of every object, in square pixels; torchvision's number, whose rounding decides between objects
// of nearly the same area.
const largestArea = 1e8

// match is of one picture with boxes [M, 4] and labels [M]. A place is to find the smallest object that it lies in, near the
// object's centre and if the object's farthest edge is within the level's range.
func (p fcosPlaces) match(truth, labels torch.Tensor) []torch.Tensor {
	row := func(i int) torch.Tensor { return truth.Select(1, i).Unsqueeze(0) }
	x1, y1, x2, y2 := row(0), row(1), row(2), row(3)
	away := p.x.Sub(x1.Add(x2).DivScalar(2)).Abs().Maximum(p.y.Sub(y1.Add(y2).DivScalar(2)).Abs())
	l, t, r, b := p.x.Sub(x1), p.y.Sub(y1), x2.Sub(p.x), y2.Sub(p.y)
	nearest, farthest := l.Minimum(t).Minimum(r.Minimum(b)), l.Maximum(t).Maximum(r.Maximum(b))
	finds := away.Lt(p.radius).LogicalAnd(nearest.GtScalar(0)).LogicalAnd(farthest.Gt(p.lower)).LogicalAnd(farthest.Lt(p.upper)).
		LogicalAnd(labels.GeScalar(0).Unsqueeze(0))
	area := x2.Sub(x1).Mul(y2.Sub(y1))
	value, object := finds.To(torch.Float32).Mul(area.RSubScalar(largestArea)).MaxDim(1)
	nothing := value.LtScalar(1e-5)
	return []torch.Tensor{labels.IndexSelect(0, object).MaskedFill(nothing, -1), truth.IndexSelect(0, object)}
}

// Detections are what is found in each picture, the best first. output is what Stages give, sizes as of Batch.Targets.
func (f *FCOS) Detections(output nn.Values, sizes torch.Tensor) (found [][]Detection) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			gs := grids(every(output, fcosMaps, 0))
			anchors := fcosAnchors.levels(gs, fcosFinest, output[0].Device())
			var levels []candidates
			for i := range gs {
				maps := output[fcosMaps*i:]
				scores := flat(maps[0], f.Classes()).Sigmoid().Mul(flat(maps[2], 1).Sigmoid()).Sqrt()
				levels = append(levels, best(scores, flat(maps[1], 4), anchors[i], f.Limits.Candidates, boxes.LinearCoder{}.Decode))
			}
			found = f.Limits.detections(together(levels), sizes)
		})
	})
	return found
}

// Close frees the network.
func (f *FCOS) Close() { nn.Close(f) }
