package boxes

import "github.com/thaw-ml/thaw/torch"

// What a Matcher gives in place of a box's number.
const (
	Below   = -1 // the best IoU is below Low: background
	Between = -2 // the best IoU is between Low and High: neither
)

// Matcher chooses for each anchor, or proposal, the annotated box that it is to find.
type Matcher struct {
	High, Low float64 // from which IoU on an anchor is a box's, and below which it is background
	// Each box also gets the anchors that fit it best, however little, each of which then takes the box that it fits best.
	AllowLowQuality bool
}

// Match gives for each of N anchors the number of its box, or Below or Between: [N] (int64), from the IoU [M, N] of boxes with
// anchors. valid [M] (bool) tells which of the boxes exist. No value is read from the device.
func (m Matcher) Match(iou, valid torch.Tensor) torch.Tensor {
	return torch.Tidy(func() torch.Tensor {
		exists := valid.Unsqueeze(1)
		iou := torch.WhereScalarOther(exists, iou, -1)
		best, all := iou.MaxDim(0)
		matches := all.MaskedFill(best.LtScalar(m.High), Between).MaskedFill(best.LtScalar(m.Low), Below)
		if !m.AllowLowQuality {
			return matches
		}
		highest := iou.Amax(1).Unsqueeze(1)
		fits := iou.Eq(highest).LogicalAnd(exists).AnyDim(0)
		return torch.Where(fits, all, matches)
	})
}

// Sampler chooses anchors or proposals to train on, at random.
type Sampler struct {
	Number   int     // at most, of a picture
	Positive float64 // the largest share of positives
}

// Sample gives the positions of the positives and of the negatives that are chosen of labels [N] (int64 or float32), in
// ascending order: labels above 0 are positives, 0 are negatives, others are neither. It reads the labels from the device.
func (s Sampler) Sample(labels torch.Tensor, g *torch.Generator) (positives, negatives torch.Tensor) {
	choose := func(among torch.Tensor, most int) torch.Tensor {
		return torch.Tidy(func() torch.Tensor {
			at := among.Nonzero().SqueezeDim(1)
			n := at.Size(0)
			if n <= most {
				return at
			}
			chosen := torch.Randperm(n, g, torch.Int64, torch.CPU).Narrow(0, 0, most)
			chosen, _ = chosen.Sort(0, false)
			return at.IndexSelect(0, chosen.ToDevice(at.Device()))
		})
	}
	positives = choose(labels.GtScalar(0), int(float64(s.Number)*s.Positive))
	return positives, choose(labels.EqScalar(0), s.Number-positives.Size(0))
}
