// Command customhead puts an own head on a pre-trained BERT, two layers on the largest value of each feature, and
// trains it with the top layer. Run it from the repository's root, after make reviews: go run ./examples/customhead
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/thaw-ml/thaw"
	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Head maps hidden states [N, T, hidden] to logits [N, classes].
type Head struct {
	Dense *nn.Linear `torch:"dense"`
	Out   *nn.Linear `torch:"out"`
}

// Forward takes the largest value of each feature over the tokens of a text; weights are 0 for padding.
func (h *Head) Forward(x, weights torch.Tensor) torch.Tensor {
	padding := weights.Transpose(1, 2).EqScalar(0)  // [N, T, 1]
	x = x.MaskedFill(padding, -1e4).Amax(1)         // [N, hidden]
	return h.Out.Forward(h.Dense.Forward(x).Tanh()) // [N, classes]
}

// Model is a BERT whose pooling and head are replaced.
type Model struct {
	*text.Classifier
	Head *Head
}

// Stages are those of the encoder, and the own head.
func (m *Model) Stages() []nn.Stage[*text.Batch] {
	all := m.Classifier.Stages()
	encoder := all[:len(all)-2] // without pooling and head
	encoder[len(encoder)-1].ForwardWithNext = nil
	return append(encoder, nn.Stage[*text.Batch]{
		Name: "head", Module: m.Head, Key: "head.", PerSample: true,
		Forward: func(b *text.Batch, in nn.Values) nn.Values {
			return nn.Values{m.Head.Forward(in[0], b.MeanWeights())}
		},
	})
}

// Objective is the cross-entropy with label smoothing.
func (m *Model) Objective() train.Objective {
	return objective.Classification{Classes: m.Classes, LabelSmoothing: 0.1}
}

func main() {
	thaw.Tune()
	base, err := text.Load("examples/reviews/data/model", text.NewHead("negative", "positive"))
	if err != nil {
		log.Fatal(err)
	}
	g, hidden := torch.NewGenerator(1), base.Config.HiddenSize
	dense, out := nn.NewLinear(hidden, 64, nn.LinearOptions{}, g), nn.NewLinear(64, 2, nn.LinearOptions{}, g)
	set, err := base.NewDataset([]text.Item{
		{Text: "a joy from start to end", Class: 1}, {Text: "dull and far too long", Class: 0},
		{Text: "wonderful, warm and funny", Class: 1}, {Text: "a waste of a good cast", Class: 0},
	}, text.DatasetOptions{})
	if err != nil {
		log.Fatal(err)
	}
	result, err := finetune.Fit(context.Background(), &Model{base, &Head{dense, out}}, set, set, finetune.Options{
		Phases: []finetune.Phase{finetune.TopFor(1, 8)}, Batch: finetune.Batching{Size: 2},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("before  %v\nafter   %v\n", result.Before, result.Last)
}
