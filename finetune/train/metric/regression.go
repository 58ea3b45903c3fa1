package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// regression measures numbers [N] or [N, 1] against numbers.
type regression struct {
	losses            losses
	predicted, truths []torch.Tensor // [N] float64, of each batch
}

// NewRegression measures outputs [N, 1] against numbers [N]: mse, mae, and the correlations pearson and spearman, which
// are NaN where all outputs or all targets are equal (SciPy's pearsonr and spearmanr). The best epoch is chosen by mse,
// lower being better.
func NewRegression() Metric { return &regression{} }

func (r *regression) Add(output, target nn.Values) error {
	y, err := outputOf(output)
	if err != nil {
		return err
	}
	truth, err := targetOf(target)
	if err != nil {
		return err
	}
	if y.Numel() != truth.Numel() || y.Numel() != y.Size(0) {
		return fmt.Errorf("the head gives %v numbers and the data %v: one for each sample is measured", y.Shape(), truth.Shape())
	}
	y, truth = y.Reshape(-1).To(torch.Float64), truth.Reshape(-1).To(torch.Float64)
	r.losses.add(torch.MSELoss(y, truth, torch.ReduceMean), y.Size(0))
	r.predicted = append(r.predicted, torch.Keep(y.Clone()))
	r.truths = append(r.truths, torch.Keep(truth.Clone()))
	return nil
}

func (r *regression) Score() (Score, error) {
	var x, y []float64
	if r.losses.rows > 0 {
		torch.Scoped(func() {
			x = torch.ToSlice[float64](torch.Cat(r.predicted, 0))
			y = torch.ToSlice[float64](torch.Cat(r.truths, 0))
		})
	}
	squares, absolute := 0.0, 0.0
	for i := range x {
		d := x[i] - y[i]
		squares, absolute = squares+d*d/float64(len(x)), absolute+math.Abs(d)/float64(len(x))
	}
	return Score{
		Loss: r.losses.mean(), Rows: len(x),
		Values: []Value{
			{Name: "mse", Value: squares, Lower: true}, {Name: "mae", Value: absolute, Lower: true},
			{Name: "pearson", Value: pearson(x, y)}, {Name: "spearman", Value: pearson(ranks(x), ranks(y))},
		},
	}, nil
}

func (r *regression) Close() {
	r.losses.close()
	closeAll(r.predicted)
	closeAll(r.truths)
}

// pearson is the correlation of two lists; NaN where one of them is constant.
func pearson(x, y []float64) float64 {
	if constant(x) || constant(y) {
		return math.NaN()
	}
	mean := func(of []float64) (sum float64) {
		for _, v := range of {
			sum += v
		}
		return sum / float64(len(of))
	}
	mx, my := mean(x), mean(y)
	var xy, xx, yy float64
	for i := range x {
		dx, dy := x[i]-mx, y[i]-my
		xy, xx, yy = xy+dx*dy, xx+dx*dx, yy+dy*dy
	}
	return max(-1, min(1, xy/math.Sqrt(xx*yy)))
}

func constant(values []float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return v != values[0] })
}

// ranks gives each value its place from 1, equal ones the mean of theirs.
func ranks(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	out := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i + 1
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, k := range order[i:j] {
			out[k] = float64(i+j+1) / 2
		}
		i = j
	}
	return out
}
