package detection

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

// RetinaNet is the network of Lin et al. 2017: nine anchors at each place of five levels have a logit for each class and are
// shifted onto objects. Keys and numbers are those of torchvision's retinanet_resnet50_fpn, and of
// retinanet_resnet50_fpn_v2, which has group norms in its heads, makes its sixth level of the last layer, and is trained by
// the GIoU loss.
type RetinaNet struct {
	Backbone *Backbone      `torch:"backbone"`
	Head     *RetinaNetHead `torch:"head"`

	Limits Limits
	name   string
	v2     bool
}

// RetinaNetHead is shared by all levels.
type RetinaNetHead struct {
	Classification *RetinaNetClassification `torch:"classification_head"`
	Regression     *RetinaNetRegression     `torch:"regression_head"`
}

// RetinaNetClassification gives a logit for each anchor and class.
type RetinaNetClassification struct {
	Conv      Sequential `torch:"conv"` // 4 of ConvNorm with ReLU
	ClsLogits *nn.Conv2d `torch:"cls_logits"`
}

// RetinaNetRegression gives a box for each anchor.
type RetinaNetRegression struct {
	Conv    Sequential `torch:"conv"` // as the classification's
	BBoxReg *nn.Conv2d `torch:"bbox_reg"`
}

// The constants of RetinaNet. Sizes are x, x 2^(1/3) and x 2^(2/3), in whole pixels.
var (
	retinaAnchors = Anchors{
		Sizes:  [][]float64{{32, 40, 50}, {64, 80, 101}, {128, 161, 203}, {256, 322, 406}, {512, 645, 812}},
		Ratios: []float64{0.5, 1, 2},
	}
	retinaMatcher = boxes.Matcher{High: 0.5, Low: 0.4, AllowLowQuality: true}
	retinaCoder   = boxes.Coder{Weights: [4]float64{1, 1, 1, 1}}
	retinaLimits  = Limits{MinScore: 0.05, NMS: 0.5, Candidates: 1000, PerPicture: 300}
)

const (
	retinaFinest = 8
	retinaMaps   = 2 // of each level
)

func newRetinaNet(name string, body *vision.ResNet, classes int, v2 bool) *RetinaNet {
	var norm func(int) nn.Norm
	p6 := pyramidChannels
	if v2 {
		norm, p6 = groupNorm, body.Channels()[3]
	}
	tower := func() (s Sequential) {
		for range 4 {
			s = append(s, newConvNorm(pyramidChannels, pyramidChannels, 3, norm, true))
		}
		return s
	}
	anchors := retinaAnchors.perPlace()
	return &RetinaNet{
		Backbone: newBackbone(body, 2, p6, nil),
		Head: &RetinaNetHead{
			&RetinaNetClassification{tower(), conv3x3(pyramidChannels, anchors*classes, 1)},
			&RetinaNetRegression{tower(), conv3x3(pyramidChannels, anchors*4, 1)},
		},
		Limits: retinaLimits, name: name, v2: v2,
	}
}

// Name is as torchvision's: "retinanet_resnet50_fpn_v2".
func (r *RetinaNet) Name() string { return r.name }

// Classes is the number of classes that logits are given for. Labels are their numbers.
func (r *RetinaNet) Classes() int {
	return r.Head.Classification.ClsLogits.Weight.Size(0) / retinaAnchors.perPlace()
}

// FirstLabel is 0: RetinaNet has no class for the background, though label 0 of the published checkpoints was never trained.
func (r *RetinaNet) FirstLabel() int { return 0 }

// Init draws all parameters as torchvision does, number for number from the same seed.
func (r *RetinaNet) Init(g *torch.Generator) {
	r.Backbone.Body.Init(g, vision.InitOptions{})
	r.InitNew(g)
}

// InitNew draws what a classifier's checkpoint lacks: pyramid and head.
func (r *RetinaNet) InitNew(g *torch.Generator) {
	r.Backbone.FPN.Init(g)
	c, b := r.Head.Classification, r.Head.Regression
	initDefault(c.Conv, g)
	initNormal(c.Conv, g)
	r.InitHead(g)
	initDefault(b, g)
	initNormal(b.BBoxReg, g)
	initNormal(b.Conv, g)
}

// InitHead draws the layer that depends on the classes.
func (r *RetinaNet) InitHead(g *torch.Generator) { initPrior(r.Head.Classification.ClsLogits, g) }

// Stages are stem, layer1 to layer4, fpn and head. The head gives for each of the five levels, the finest first, the classes'
// logits, anchor by anchor, [N, 9 classes, H, W], and the boxes' codes [N, 9 x 4, H, W].
func (r *RetinaNet) Stages() []nn.Stage[*Batch] {
	return append(r.Backbone.stages(), nn.Stage[*Batch]{Name: "head", Module: r.Head, Key: "head.", Forward: func(_ *Batch, in nn.Values) nn.Values {
		var out nn.Values
		for _, x := range in {
			c, b := r.Head.Classification, r.Head.Regression
			out = append(out, torch.Tidy(func() torch.Tensor { return c.ClsLogits.Forward(c.Conv.Forward(x)) }),
				torch.Tidy(func() torch.Tensor { return b.BBoxReg.Forward(b.Conv.Forward(x)) }))
		}
		return out
	}})
}

// Losses are the focal loss of the classes and the L1 loss of the codes, or in v2 the GIoU loss of the boxes: for each picture
// a sum divided by the number of anchors that are to find an object, and the mean of that over the pictures. No value is read
// from the device.
func (r *RetinaNet) Losses(output, target nn.Values) []torch.Named {
	maps := every(output, retinaMaps, 0)
	anchors := torch.Cat(retinaAnchors.levels(grids(maps), retinaFinest, maps[0].Device()), 0)
	matches := matchAnchors(retinaMatcher, anchors, target[0], target[1])
	found := matches.GeScalar(0)
	count := found.SumDim(1).To(torch.Float32).ClampMin(1)
	at := matches.ClampMin(0)
	classes := torch.Where(found, target[1].Gather(1, at), matches.FullLike(-1))
	truth := target[0].Gather(1, at.Unsqueeze(-1).Expand(at.Size(0), at.Size(1), 4))
	truth = torch.Where(found.Unsqueeze(-1), truth, anchors) // a box, so that what counts for nothing has a gradient of 0

	focal := boxes.DefaultFocal.ClassLoss(flatAll(maps, r.Classes()), classes)
	focal = torch.WhereScalarOther(matches.NeScalar(boxes.Between), focal, 0)
	mean := func(each torch.Tensor) torch.Tensor { return each.SumDim(1).Div(count).Mean() }
	codes := flatAll(every(output, retinaMaps, 1), 4)
	var regression torch.Tensor
	if r.v2 {
		regression = boxes.GIoULoss(retinaCoder.Decode(codes, anchors), truth)
	} else {
		regression = codes.Sub(retinaCoder.Encode(truth, anchors)).Abs().SumDim(-1)
	}
	return []torch.Named{
		{Name: "classification", Tensor: mean(focal)},
		{Name: "bbox_regression", Tensor: mean(torch.WhereScalarOther(found, regression, 0))},
	}
}

// matchAnchors matches anchors [A, 4] with each picture's boxes [N, M, 4] and labels [N, M]: [N, A], see boxes.Matcher.
func matchAnchors(m boxes.Matcher, anchors, truth, labels torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		var each []torch.Tensor
		for i := range truth.Size(0) { // one by one, as the matrix of all pairs is large
			each = append(each, torch.Tidy(func() torch.Tensor {
				return m.Match(boxes.IoU(truth.Select(0, i), anchors), labels.Select(0, i).GeScalar(0))
			}))
		}
		return torch.Stack(each, 0)
	})
}

// Detections are what is found in each picture, the best first. output is what Stages give, sizes as of Batch.Targets.
func (r *RetinaNet) Detections(output nn.Values, sizes torch.Tensor) (found [][]Detection) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			gs := grids(every(output, retinaMaps, 0))
			anchors := retinaAnchors.levels(gs, retinaFinest, output[0].Device())
			var levels []candidates
			for i := range gs {
				scores := flat(output[retinaMaps*i], r.Classes()).Sigmoid()
				levels = append(levels, best(scores, flat(output[retinaMaps*i+1], 4), anchors[i], r.Limits.Candidates, retinaCoder.Decode))
			}
			found = r.Limits.detections(together(levels), sizes)
		})
	})
	return found
}

// Close frees the network.
func (r *RetinaNet) Close() { nn.Close(r) }
