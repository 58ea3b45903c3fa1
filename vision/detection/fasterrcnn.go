package detection

import (
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection/boxes"
)

// FasterRCNN is the network of Ren et al. 2015 on a feature pyramid (Lin et al. 2016): an RPN proposes regions, and a second
// head says of each which class of object it holds, and where exactly. Keys and numbers are those of torchvision's
// fasterrcnn_resnet50_fpn, and of fasterrcnn_resnet50_fpn_v2, which has two convolutions in the RPN, four with norms in the
// second head, and norms in the pyramid.
//
// It chooses proposals on the host: a step cannot be captured as a CUDA graph.
type FasterRCNN struct {
	Backbone *Backbone       `torch:"backbone"`
	Head     *FasterRCNNHead `torch:""`

	Limits Limits
	name   string
}

// FasterRCNNHead are both heads.
type FasterRCNNHead struct {
	RPN      *RPN      `torch:"rpn"`
	RoIHeads *RoIHeads `torch:"roi_heads"`

	Sampling Sampling
	// Generator chooses what is sampled; nil is the default generator.
	Generator *torch.Generator
	training  bool
}

// RPN is the region proposal network.
type RPN struct {
	Head *RPNHead `torch:"head"`
}

// RPNHead is shared by all levels.
type RPNHead struct {
	Conv      Sequential `torch:"conv"` // 1 or 2 of ConvNorm with ReLU
	ClsLogits *nn.Conv2d `torch:"cls_logits"`
	BBoxPred  *nn.Conv2d `torch:"bbox_pred"`
}

// RoIHeads work on proposals.
type RoIHeads struct {
	BoxHead      BoxHead            `torch:"box_head"`
	BoxPredictor *FastRCNNPredictor `torch:"box_predictor"`
}

// BoxHead maps a proposal's features [R, 256, 7, 7] to [R, 1024].
type BoxHead interface {
	Forward(x torch.Tensor) torch.Tensor
}

// TwoMLPHead is the first version's.
type TwoMLPHead struct {
	FC6 *nn.Linear `torch:"fc6"`
	FC7 *nn.Linear `torch:"fc7"`
}

// FastRCNNPredictor gives a proposal's logits and a box's codes for each class, the background's unused.
type FastRCNNPredictor struct {
	ClsScore *nn.Linear `torch:"cls_score"`
	BBoxPred *nn.Linear `torch:"bbox_pred"`
}

// Sampling says how many proposals there are, and how many of them and of the anchors train.
type Sampling struct {
	Anchors, Proposals            boxes.Sampler
	BeforeNMS, AfterNMS           int // proposals of a level, and of a picture
	TrainBeforeNMS, TrainAfterNMS int
}

// The constants of Faster R-CNN.
var (
	rpnAnchors  = Anchors{Sizes: [][]float64{{32}, {64}, {128}, {256}, {512}}, Ratios: []float64{0.5, 1, 2}}
	rpnMatcher  = boxes.Matcher{High: 0.7, Low: 0.3, AllowLowQuality: true}
	rpnCoder    = boxes.Coder{Weights: [4]float64{1, 1, 1, 1}}
	roiMatcher  = boxes.Matcher{High: 0.5, Low: 0.5}
	roiCoder    = boxes.Coder{Weights: [4]float64{10, 10, 5, 5}}
	roiAlign    = boxes.RoIAlign{Height: 7, Width: 7, Sampling: 2}
	roiLimits   = Limits{MinScore: 0.05, NMS: 0.5, PerPicture: 100}
	roiSampling = Sampling{
		Anchors: boxes.Sampler{Number: 256, Positive: 0.5}, Proposals: boxes.Sampler{Number: 512, Positive: 0.25},
		BeforeNMS: 1000, AfterNMS: 1000, TrainBeforeNMS: 2000, TrainAfterNMS: 2000,
	}
)

const (
	rpnFinest     = 4 // pixels between the places of the first level
	rpnMaps       = 2 // of each level
	rpnNMS        = 0.7
	rpnMinSide    = 1e-3 // of a proposal, in pixels
	roiMinSide    = 1e-2 // of a detection
	roiLevels     = 4    // that proposals are read from, of five
	roiFeatures   = 1024
	smoothL1Beta  = 1. / 9
	ignoredClass  = -100 // of cross-entropy
	firstRoILevel = 2    // whose places are 2^2 pixels apart
)

func newFasterRCNN(name string, body *vision.ResNet, classes int, v2 bool) *FasterRCNN {
	var norm func(int) nn.Norm
	var head BoxHead
	depth := 1
	if v2 {
		norm, depth = batchNorm, 2
		var layers Sequential
		for range 4 {
			layers = append(layers, newConvNorm(pyramidChannels, pyramidChannels, 3, norm, true))
		}
		head = append(layers, flattenRows{}, nn.EmptyLinear(pyramidChannels*7*7, roiFeatures, nn.LinearOptions{}), inPlaceReLU{})
	} else {
		head = &TwoMLPHead{
			nn.EmptyLinear(pyramidChannels*7*7, roiFeatures, nn.LinearOptions{}), nn.EmptyLinear(roiFeatures, roiFeatures, nn.LinearOptions{}),
		}
	}
	var conv Sequential
	for range depth {
		conv = append(conv, newConvNorm(pyramidChannels, pyramidChannels, 3, nil, true))
	}
	one := func(out int) *nn.Conv2d { return nn.EmptyConv2d(pyramidChannels, out, 1, nn.ConvOptions{}) }
	anchors := rpnAnchors.perPlace()
	return &FasterRCNN{
		Backbone: newBackbone(body, 1, 0, norm),
		Head: &FasterRCNNHead{
			RPN: &RPN{&RPNHead{conv, one(anchors), one(anchors * 4)}},
			RoIHeads: &RoIHeads{head, &FastRCNNPredictor{
				nn.EmptyLinear(roiFeatures, classes, nn.LinearOptions{}), nn.EmptyLinear(roiFeatures, 4*classes, nn.LinearOptions{}),
			}},
			Sampling: roiSampling,
		},
		Limits: roiLimits, name: name,
	}
}

// Name is as torchvision's: "fasterrcnn_resnet50_fpn_v2".
func (f *FasterRCNN) Name() string { return f.name }

// Classes is the number of classes that logits are given for, the background among them, whose label is 0.
func (f *FasterRCNN) Classes() int { return f.Head.RoIHeads.BoxPredictor.ClsScore.Weight.Size(0) }

// FirstLabel is 1.
func (f *FasterRCNN) FirstLabel() int { return 1 }

// Init draws all parameters as torchvision does, number for number from the same seed.
func (f *FasterRCNN) Init(g *torch.Generator) {
	f.Backbone.Body.Init(g, vision.InitOptions{})
	f.InitNew(g)
}

// InitNew draws what a classifier's checkpoint lacks: pyramid and heads.
func (f *FasterRCNN) InitNew(g *torch.Generator) {
	f.Backbone.FPN.Init(g)
	initDefault(f.Head.RPN, g)
	initNormal(f.Head.RPN, g)
	initDefault(f.Head.RoIHeads.BoxHead, g)
	for _, c := range nn.Modules[*nn.Conv2d](f.Head.RoIHeads.BoxHead) {
		nn.KaimingNormal_(c.Weight, g)
	}
	f.InitHead(g)
}

// InitHead draws the layers that depend on the classes, by PyTorch's default.
func (f *FasterRCNN) InitHead(g *torch.Generator) { initDefault(f.Head.RoIHeads.BoxPredictor, g) }

// SetTraining says whether proposals are sampled and trained on, or all of them are looked at.
func (h *FasterRCNNHead) SetTraining(on bool) { h.training = on }

// Stages are stem, layer1 to layer4, fpn and head. The head gives for each of the five levels, the finest first, the anchors'
// logits [N, 3, H, W] and codes [N, 3 x 4, H, W], and then, for P the most proposals of a picture, or 1:
//
//   - the proposals [N, P, 4] in pixels of the resized picture, 0 where a picture has fewer
//   - 1 for each that there is [N, P] float32
//   - the classes' logits [N, P, classes], the background's first
//   - codes of the boxes of each class [N, P, classes, 4]
//
// In training the proposals are those that are sampled, the annotated boxes among them, for which the head reads the batch's
// targets.
func (f *FasterRCNN) Stages() []nn.Stage[*Batch] {
	return append(f.Backbone.stages(), nn.Stage[*Batch]{Name: "head", Module: f.Head, Forward: func(b *Batch, in nn.Values) nn.Values {
		return f.Head.forward(in, b.Targets())
	}})
}

func (h *FasterRCNNHead) forward(levels, target nn.Values) nn.Values {
	var out nn.Values
	for _, x := range levels {
		out = append(out, torch.TidyAll(func() []torch.Tensor {
			t := h.RPN.Head.Conv.Forward(x)
			return []torch.Tensor{h.RPN.Head.ClsLogits.Forward(t), h.RPN.Head.BBoxPred.Forward(t)}
		})...)
	}
	var proposals []torch.Tensor
	torch.NoGrad(func() {
		proposals = torch.TidyAll(func() []torch.Tensor {
			proposals := h.propose(out, target[2])
			if h.training {
				proposals = h.sample(proposals, target)
			}
			return proposals
		})
	})
	return append(out, torch.TidyAll(func() []torch.Tensor { return h.RoIHeads.forward(levels[:roiLevels], proposals) })...)
}

// propose gives each picture's proposals [P, 4]: the best anchors of each level, after NMS.
func (h *FasterRCNNHead) propose(maps nn.Values, sizes torch.Tensor) []torch.Tensor {
	before, after := h.Sampling.BeforeNMS, h.Sampling.AfterNMS
	if h.training {
		before, after = h.Sampling.TrainBeforeNMS, h.Sampling.TrainAfterNMS
	}
	gs := grids(every(maps, rpnMaps, 0))
	anchors := rpnAnchors.levels(gs, rpnFinest, maps[0].Device())
	var levels []candidates
	for i := range gs {
		c := best(flat(maps[rpnMaps*i], 1), flat(maps[rpnMaps*i+1], 4), anchors[i], before, rpnCoder.Decode)
		c.scores, c.labels = c.scores.Sigmoid(), c.labels.FullLike(i)
		levels = append(levels, c)
	}
	limits := Limits{MinScore: -1, NMS: rpnNMS, PerPicture: after}
	c := together(levels)
	var out []torch.Tensor
	size := torch.ToSlice[float32](sizes)
	for _, found := range limits.each(c, func(i int) [4]float32 {
		return [4]float32{size[4*i], size[4*i+1], size[4*i], size[4*i+1]} // as resized
	}, rpnMinSide) {
		flat := make([]float32, 0, 4*len(found))
		for _, d := range found {
			flat = append(flat, d.X1, d.Y1, d.X2, d.Y2)
		}
		out = append(out, torch.FromSlice(flat, len(found), 4).ToDevice(c.boxes.Device()))
	}
	return out
}

// sample chooses proposals to train on, after the annotated boxes have joined them.
func (h *FasterRCNNHead) sample(proposals []torch.Tensor, target nn.Values) (out []torch.Tensor) {
	for i, p := range proposals {
		truth, labels := target[0].Select(0, i), target[1].Select(0, i)
		p = torch.Cat([]torch.Tensor{p, truth.IndexSelect(0, labels.GeScalar(0).Nonzero().SqueezeDim(1))}, 0)
		classes, _ := assign(p, truth, labels)
		positives, negatives := h.Sampling.Proposals.Sample(classes, h.Generator)
		at, _ := torch.Cat([]torch.Tensor{positives, negatives}, 0).Sort(0, false)
		out = append(out, p.IndexSelect(0, at))
	}
	return out
}

// assign gives the classes of proposals [P, 4], 0 for the background: [P], and the boxes that they are to find [P, 4].
func assign(proposals, truth, labels torch.Tensor) (classes, boxesToFind torch.Tensor) {
	matches := roiMatcher.Match(boxes.IoU(truth, proposals), labels.GeScalar(0))
	at := matches.ClampMin(0)
	return labels.IndexSelect(0, at).MaskedFill(matches.LtScalar(0), 0), truth.IndexSelect(0, at)
}

// forward gives proposals, which there are, logits and codes, see Stages.
func (h *RoIHeads) forward(levels nn.Values, proposals []torch.Tensor) []torch.Tensor {
	most := 1
	for _, p := range proposals {
		most = max(most, p.Size(0))
	}
	logits, codes := h.predict(pool(levels, proposals))
	padded := func(t torch.Tensor) torch.Tensor { return t.ConstantPad([]int{0, 0, 0, most - t.Size(0)}, 0) }
	var places, exist, allLogits, allCodes []torch.Tensor
	from := 0
	for _, p := range proposals {
		n := p.Size(0)
		places = append(places, padded(p))
		exist = append(exist, padded(torch.Ones(torch.Float32, p.Device(), n, 1)).SqueezeDim(1))
		allLogits = append(allLogits, padded(logits.Narrow(0, from, n)))
		allCodes = append(allCodes, padded(codes.Narrow(0, from, n)).View(most, -1, 4))
		from += n
	}
	return []torch.Tensor{torch.Stack(places, 0), torch.Stack(exist, 0), torch.Stack(allLogits, 0), torch.Stack(allCodes, 0)}
}

func (h *RoIHeads) predict(x torch.Tensor) (logits, codes torch.Tensor) {
	x = h.BoxHead.Forward(x)
	return h.BoxPredictor.ClsScore.Forward(x), h.BoxPredictor.BBoxPred.Forward(x)
}

// Forward maps [R, 256, 7, 7] to [R, 1024].
func (h *TwoMLPHead) Forward(x torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		return h.FC7.Forward(h.FC6.Forward(x.Flatten(1, -1)).ReLU_()).ReLU_()
	})
}

// pool reads each picture's proposals [P, 4] from the levels that fit their sizes: [R, 256, 7, 7], R being all proposals.
func pool(levels nn.Values, proposals []torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		var rois []torch.Tensor
		for i, p := range proposals {
			rois = append(rois, torch.Cat([]torch.Tensor{torch.Full([]int{p.Size(0), 1}, i, torch.Float32, p.Device()), p}, 1))
		}
		all := torch.Cat(rois, 0)
		level := boxes.Levels(all.Narrow(1, 1, 4), firstRoILevel, len(levels))
		var parts, places []torch.Tensor
		for i, x := range levels {
			at := level.EqScalar(i).Nonzero().SqueezeDim(1)
			if at.Size(0) == 0 {
				continue
			}
			parts = append(parts, roiAlign.Forward(x, all.IndexSelect(0, at), 1/float64(int(1)<<(firstRoILevel+i))))
			places = append(places, at)
		}
		if len(parts) == 0 {
			return torch.Zeros(levels[0].DType(), levels[0].Device(), 0, levels[0].Size(1), roiAlign.Height, roiAlign.Width)
		}
		_, back := torch.Cat(places, 0).Sort(0, false)
		return torch.Cat(parts, 0).IndexSelect(0, back)
	})
}

// Losses are the cross-entropy of the anchors and the smooth L1 loss of their codes, of those that are sampled, and the same of
// the proposals. Outside of training all anchors and all proposals count. Sampling reads values from the device.
func (f *FasterRCNN) Losses(output, target nn.Values) []torch.Named {
	n := len(output) - 4
	objectness, anchorCodes := f.Head.rpnLosses(output[:n], target)
	classifier, codes := roiLosses(output[n:], target)
	return []torch.Named{
		{Name: "loss_objectness", Tensor: objectness}, {Name: "loss_rpn_box_reg", Tensor: anchorCodes},
		{Name: "loss_classifier", Tensor: classifier}, {Name: "loss_box_reg", Tensor: codes},
	}
}

func (h *FasterRCNNHead) rpnLosses(maps, target nn.Values) (objectness, regression torch.Tensor) {
	out := torch.TidyAll(func() []torch.Tensor {
		logits, codes := flatAll(every(maps, rpnMaps, 0), 1).Flatten(0, -1), flatAll(every(maps, rpnMaps, 1), 4).Flatten(0, 1)
		anchors := torch.Cat(rpnAnchors.levels(grids(every(maps, rpnMaps, 0)), rpnFinest, logits.Device()), 0)
		matches := matchAnchors(rpnMatcher, anchors, target[0], target[1])
		// As the sampler has them: 1 for an object's, 0 for the background's, -1 for neither's.
		labels := matches.GeScalar(0).To(torch.Int64).MaskedFill(matches.EqScalar(boxes.Between), -1)
		at := matches.ClampMin(0)
		truth := target[0].Gather(1, at.Unsqueeze(-1).Expand(at.Size(0), at.Size(1), 4))

		var positives, sampled []torch.Tensor
		all := boxes.Sampler{Number: 2 * labels.Size(1), Positive: 0.5}
		for i := range labels.Size(0) {
			sampler := all
			if h.training {
				sampler = h.Sampling.Anchors
			}
			p, n := sampler.Sample(labels.Select(0, i), h.Generator)
			p, n = p.AddScalar(i*labels.Size(1)), n.AddScalar(i*labels.Size(1))
			positives, sampled = append(positives, p), append(sampled, p, n)
		}
		found, chosen := torch.Cat(positives, 0), torch.Cat(sampled, 0)
		wanted := rpnCoder.Encode(truth, anchors).Flatten(0, 1).IndexSelect(0, found)
		count := float64(max(chosen.Size(0), 1))
		return []torch.Tensor{
			torch.BinaryCrossEntropyWithLogits(logits.IndexSelect(0, chosen), labels.Flatten(0, -1).IndexSelect(0, chosen).To(torch.Float32),
				torch.Tensor{}, torch.Tensor{}, torch.ReduceSum).DivScalar(count),
			torch.SmoothL1Loss(codes.IndexSelect(0, found), wanted, torch.ReduceSum, smoothL1Beta).DivScalar(count),
		}
	})
	return out[0], out[1]
}

// roiLosses are of the proposals that the head gave.
func roiLosses(output, target nn.Values) (classifier, regression torch.Tensor) {
	out := torch.TidyAll(func() []torch.Tensor {
		proposals, exist, logits, codes := output[0], output[1].GtScalar(0), output[2].To(torch.Float32), output[3].To(torch.Float32)
		var classes, wanted []torch.Tensor
		for i := range proposals.Size(0) {
			p := proposals.Select(0, i)
			c, truth := assign(p, target[0].Select(0, i), target[1].Select(0, i))
			c = torch.Where(exist.Select(0, i), c, c.FullLike(ignoredClass))
			positive := c.GtScalar(0).Unsqueeze(-1)
			whole := torch.FromSlice([]float32{0, 0, 1, 1}).ToDevice(p.Device()) // where nothing is to be found: no logarithm of 0
			wanted = append(wanted, roiCoder.Encode(torch.Where(positive, truth, whole), torch.Where(positive, p, whole)))
			classes = append(classes, c)
		}
		class := torch.Stack(classes, 0) // [N, P]
		count := exist.Sum().To(torch.Float32).ClampMin(1)
		positive := class.GtScalar(0)
		n, p := class.Size(0), class.Size(1)
		own := codes.Gather(2, class.ClampMin(0).View(n, p, 1, 1).Expand(n, p, 1, 4)).SqueezeDim(2)
		apart := torch.SmoothL1Loss(own, torch.Stack(wanted, 0), torch.ReduceNone, smoothL1Beta).SumDim(-1)
		entropy := torch.CrossEntropyLoss(logits.Flatten(0, 1), class.Flatten(0, 1), torch.Tensor{}, torch.ReduceSum, ignoredClass, 0)
		return []torch.Tensor{entropy.Div(count), torch.WhereScalarOther(positive, apart, 0).Sum().Div(count)}
	})
	return out[0], out[1]
}

// Detections are what is found in each picture, the best first. output is what Stages give outside of training, sizes as of
// Batch.Targets.
func (f *FasterRCNN) Detections(output nn.Values, sizes torch.Tensor) (found [][]Detection) {
	torch.Scoped(func() {
		torch.NoGrad(func() {
			output := output[len(output)-4:]
			proposals, exist, logits, codes := output[0], output[1], output[2].To(torch.Float32), output[3].To(torch.Float32)
			n, p, classes := logits.Size(0), logits.Size(1), logits.Size(2)-1
			scores := logits.Softmax(-1).Narrow(2, 1, classes).Mul(exist.Unsqueeze(-1))
			decoded := roiCoder.Decode(codes.Narrow(2, 1, classes), proposals.Unsqueeze(2))
			labels := torch.Arange(1, classes+1, logits.Device()).View(1, 1, -1).Expand(n, p, classes)
			c := candidates{decoded.Flatten(1, 2), scores.Flatten(1, 2), labels.Flatten(1, 2)}
			size := torch.ToSlice[float32](sizes)
			found = f.Limits.each(c, func(i int) [4]float32 { return [4]float32(size[4*i:]) }, roiMinSide)
		})
	})
	return found
}

// Close frees the network.
func (f *FasterRCNN) Close() { nn.Close(f) }
