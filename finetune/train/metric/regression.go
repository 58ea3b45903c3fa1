package metric

import (
	"fmt"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// regression measures numbers [N] or [N, 1] against numbers.
type regression struct {
	options           Options
	asked             []numberMetric
	losses            losses
	predicted, truths []torch.Tensor // [N] float64, of each batch
}

// NewRegression measures outputs [N, 1] against numbers [N]: mse, mae, and the correlations pearson and spearman, which
// are NaN where all outputs or all targets are equal (SciPy's pearsonr and spearmanr). The best epoch is chosen by mse,
// lower being better.
func NewRegression() Metric {
	m, err := Options{}.Regression()
	if err != nil {
		panic(err) // the defaults are defined
	}
	return m
}

// Regression measures as NewRegression what the options ask for, see RegressionNames. A name that is none is a
// *NameError.
func (o Options) Regression() (Metric, error) {
	asked, err := o.chooseNumber()
	if err != nil {
		return nil, err
	}
	return &regression{options: o, asked: asked}, nil
}

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
	var predicted, truth []float64
	if r.losses.rows > 0 {
		torch.Scoped(func() {
			predicted = torch.ToSlice[float64](torch.Cat(r.predicted, 0))
			truth = torch.ToSlice[float64](torch.Cat(r.truths, 0))
		})
	}
	score := Score{Loss: r.losses.mean(), Rows: len(truth)}
	statistics := make([]Statistic, len(r.asked))
	for i, asked := range r.asked {
		statistics[i] = asked.of(truth, predicted)
		score.Values = append(score.Values, Value{Name: asked.name, Value: statistics[i](nil), Lower: asked.lower})
	}
	score.addIntervals(r.options.Intervals, len(truth), func(times []int32, into []float64) {
		for i, s := range statistics {
			into[i] = s(times)
		}
	})
	return score, nil
}

func (r *regression) Close() {
	r.losses.close()
	closeAll(r.predicted)
	closeAll(r.truths)
}
