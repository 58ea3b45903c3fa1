package train_test

import (
	"fmt"
	"time"

	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// huber is an own loss with a metric that there is.
type huber struct{}

// Loss is Huber's: squared for errors below 1, and absolute above.
func (huber) Loss(output, target nn.Values) torch.Tensor {
	return torch.HuberLoss(output[0].Reshape(-1), target[0].Reshape(-1), torch.ReduceMean, 1)
}

// NewMetric measures mse, mae and correlations.
func (huber) NewMetric() metric.Metric { return metric.NewRegression() }

// An objective is a loss and a metric. finetune.Options.Objective takes one in place of the model's own.
func ExampleObjective() {
	var o train.Objective = huber{}
	torch.Scoped(func() {
		output := nn.Values{torch.FromSlice([]float32{0, 3}, 2, 1)}
		target := nn.Values{torch.FromSlice([]float32{1, 0}, 2)}
		fmt.Println(o.Loss(output, target)) // the mean of 0.5 and 2.5
	})
	// Output: tensor(1.5000)
}

// Events are values with fields; String is a line for a log.
func ExampleEvent() {
	first := train.Task{Kind: train.Training, Epoch: 1}
	score := metric.Score{Rows: 100, Values: []metric.Value{{Name: "accuracy", Value: 0.83}}}
	for _, e := range []train.Event{
		train.TaskStarted{Task: first, Samples: 900},
		train.StepDone{Epoch: 1, Step: 12, Samples: 384, Loss: 0.4612, LR: 2e-3},
		train.TaskDone{Task: first, Samples: 900, Loss: 0.42, Elapsed: 3 * time.Second, Score: &score},
	} {
		switch e := e.(type) {
		case train.StepDone:
			fmt.Println(e.Step, e.Loss)
		default:
			fmt.Println(e)
		}
	}
	// Output:
	// epoch 1: 900 samples
	// 12 0.4612
	// epoch 1: 900 samples in 3s, loss 0.4200, accuracy 0.8300
}
