package report

import (
	"cmp"
	"math"
	"slices"

	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// mostCells is the number of scores that are kept of an evaluation of several labels: 4 bytes each, and as many
// targets.
const mostCells = 8 << 20

// outputs are what a model said of the samples of an evaluation.
type outputs struct {
	problem objective.ProblemType
	batches []batch // on the device
	cells   int     // of batches
	host    rows
}

// batch is what is kept of a batch, as tensors on the device: of classes [N] the predicted and the true class (int64),
// the probability of the former and the latter (float64); of several labels [N, labels] logits and targets (float32);
// of numbers [N] the predicted and the true one (float64).
type batch struct {
	samples []int
	kept    []torch.Tensor
}

// rows are the batches on the host, one after the other.
type rows struct {
	samples          []int
	predicted, truth []int64   // classes
	sure, likely     []float64 // the probabilities of the predicted and of the true class
	labels           int       // of several labels
	logits, targets  []float32 // [rows, labels]
	value, wanted    []float64 // numbers
}

// add keeps a batch. What has not the shape that the problem has is passed over: the metric will tell.
func (o *outputs) add(samples []int, output, target nn.Values) {
	if len(output) != 1 || len(target) == 0 || !target[0].Defined() {
		return
	}
	out, wanted := output[0], target[0]
	var keep []torch.Tensor
	switch {
	case o.problem == objective.SingleLabel && out.Dim() == 2 && wanted.Dim() == 1 && wanted.DType() == torch.Int64:
		probabilities := out.SoftmaxAs(1, torch.Float64)
		predicted := out.Argmax(1)
		at := func(class torch.Tensor) torch.Tensor { return probabilities.Gather(1, class.Unsqueeze(1)).Reshape(-1) }
		keep = []torch.Tensor{predicted, wanted.Clone(), at(predicted), at(wanted.Clamp(0, out.Size(1)-1))}
	case o.problem == objective.MultiLabel && out.Dim() == 2 && slices.Equal(out.Shape(), wanted.Shape()):
		if o.cells+out.Numel() > mostCells {
			return
		}
		o.cells += out.Numel()
		keep = []torch.Tensor{out.To(torch.Float32).Clone(), wanted.To(torch.Float32).Clone()}
	case o.problem == objective.Regression && out.Numel() == wanted.Numel():
		keep = []torch.Tensor{out.To(torch.Float64).Reshape(-1).Clone(), wanted.To(torch.Float64).Reshape(-1).Clone()}
	default:
		return
	}
	o.batches = append(o.batches, batch{slices.Clone(samples), keep})
	torch.Keep(keep...)
}

// read brings the batches to the host.
func (o *outputs) read() error {
	defer o.drop()
	o.host = rows{}
	return torch.Try(func() {
		for _, b := range o.batches {
			torch.Scoped(func() { o.host.append(o.problem, b) })
		}
	})
}

func (r *rows) append(problem objective.ProblemType, b batch) {
	switch problem {
	case objective.SingleLabel:
		predicted, truth := torch.ToSlice[int64](b.kept[0]), torch.ToSlice[int64](b.kept[1])
		sure, likely := torch.ToSlice[float64](b.kept[2]), torch.ToSlice[float64](b.kept[3])
		for i, class := range truth {
			if class < 0 || i >= len(b.samples) { // a sample without a class, cross-entropy's ignore_index
				continue
			}
			r.samples = append(r.samples, b.samples[i])
			r.predicted, r.truth = append(r.predicted, predicted[i]), append(r.truth, class)
			r.sure, r.likely = append(r.sure, sure[i]), append(r.likely, likely[i])
		}
	case objective.MultiLabel:
		r.samples = append(r.samples, b.samples...)
		r.labels = b.kept[0].Size(1)
		r.logits = append(r.logits, torch.ToSlice[float32](b.kept[0])...)
		r.targets = append(r.targets, torch.ToSlice[float32](b.kept[1])...)
	case objective.Regression:
		r.samples = append(r.samples, b.samples...)
		r.value = append(r.value, torch.ToSlice[float64](b.kept[0])...)
		r.wanted = append(r.wanted, torch.ToSlice[float64](b.kept[1])...)
	}
}

// rows is the number of samples of the last evaluation.
func (o *outputs) rows() int { return len(o.host.samples) }

// drop frees the batches.
func (o *outputs) drop() {
	for _, b := range o.batches {
		for _, t := range b.kept {
			t.Close()
		}
	}
	o.batches, o.cells = nil, 0
}

// confusion counts predictions by true and predicted class, the true classes in order; at most so many pairs, the most
// frequent ones.
func (r *rows) confusion(most int) []Cell {
	counts := map[[2]int]int{}
	for i, class := range r.truth {
		counts[[2]int{int(class), int(r.predicted[i])}]++
	}
	cells := make([]Cell, 0, len(counts))
	for pair, n := range counts {
		cells = append(cells, Cell{pair[0], pair[1], n})
	}
	slices.SortFunc(cells, func(a, b Cell) int {
		return cmp.Or(b.Count-a.Count, a.True-b.True, a.Predicted-b.Predicted)
	})
	cells = cells[:min(most, len(cells))]
	slices.SortFunc(cells, func(a, b Cell) int { return cmp.Or(a.True-b.True, a.Predicted-b.Predicted) })
	return cells
}

// calibration compares how sure predictions are with how often they are right: the likeliest class, or each label.
func (r *rows) calibration() *Calibration {
	var sure []float64
	var right []bool
	if r.labels > 0 {
		for i, x := range r.logits {
			sure, right = append(sure, sigmoid(x)), append(right, r.targets[i] > 0.5)
		}
	} else {
		sure = r.sure
		for i, class := range r.truth {
			right = append(right, r.predicted[i] == class)
		}
	}
	if len(sure) == 0 {
		return nil
	}
	c := &Calibration{Bins: make([]Bin, metric.CalibrationBins)}
	c.Error = metric.CalibrationErrorOf(sure, right, metric.CalibrationBins)(nil)
	for i, p := range sure {
		b := &c.Bins[min(int(p*metric.CalibrationBins), metric.CalibrationBins-1)]
		b.Count++
		b.Mean += p
		if right[i] {
			b.Right++
		}
	}
	for i := range c.Bins {
		if n := c.Bins[i].Count; n > 0 {
			c.Bins[i].Mean /= float64(n)
		}
	}
	return c
}

func sigmoid(x float32) float64 { return 1 / (1 + math.Exp(-float64(x))) }

// worst gives the rows that are most wrong, at most so many: classes that are not predicted, the least likely first;
// samples some of whose labels are wrong, and numbers, by their loss.
func (r *rows) worst(most int) []int {
	loss := make([]float64, len(r.samples))
	var wrong []int
	for i := range r.samples {
		switch {
		case r.labels > 0:
			off := 0
			for j := i * r.labels; j < (i+1)*r.labels; j++ {
				x, positive := float64(r.logits[j]), r.targets[j] > 0.5
				loss[i] += math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
				if positive {
					loss[i] -= x
				}
				if (x > 0) != positive {
					off++
				}
			}
			if off == 0 {
				continue
			}
		case r.value != nil:
			loss[i] = math.Abs(r.value[i] - r.wanted[i])
		default:
			if r.predicted[i] == r.truth[i] {
				continue
			}
			loss[i] = -r.likely[i]
		}
		wrong = append(wrong, i)
	}
	slices.SortFunc(wrong, func(a, b int) int { return cmp.Or(cmp.Compare(loss[b], loss[a]), r.samples[a]-r.samples[b]) })
	return wrong[:min(most, len(wrong))]
}

// points are the true and predicted numbers, at most so many, evenly chosen.
func (r *rows) points(most int) (points [][2]float64) {
	n := len(r.value)
	count := min(n, most)
	for k := range count {
		i := k * n / count
		if finite(r.wanted[i]) != nil && finite(r.value[i]) != nil {
			points = append(points, [2]float64{r.wanted[i], r.value[i]})
		}
	}
	return points
}
