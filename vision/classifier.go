package vision

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Classifier is a ResNet with what is needed to show it pictures. Its keys are torchvision's.
type Classifier struct {
	Net *ResNet `torch:""`

	Input   Input
	Classes []string // names of the classes or labels; of a regression, the one name of the number
	// ProblemType is what the head was made for; "" stands for objective.SingleLabel.
	ProblemType objective.ProblemType
	Report      nn.LoadReport // how the weights met the network
	Source      string        // the weights' file, or what else they are

	Warnings []string // what files beside the weights say and cannot be followed

	running   sync.Mutex                  // guards inference
	inference *finetune.Inference[*Batch] // where Predict runs, see Use
}

// Stages are those of the network.
func (c *Classifier) Stages() []nn.Stage[*Batch] { return Stages(c.Net, (*Batch).Images) }

// Objective is what the head was made for.
func (c *Classifier) Objective() train.Objective { return c.objective() }

func (c *Classifier) objective() objective.Objective { return objective.New(c.ProblemType, c.Classes) }

// config is config.json beside the weights. Its keys are transformers' where transformers has them.
type config struct {
	ModelType    string `json:"model_type"` // resnet
	Architecture string `json:"thaw_architecture"`
	Input        Input  `json:"thaw_input"`
	headConfig
}

// headConfig is what transformers' config.json says of a head.
type headConfig struct {
	ProblemType objective.ProblemType `json:"problem_type"` // "" stands for objective.SingleLabel
	NumLabels   any                   `json:"num_labels"`   // int; not read
	ID2Label    map[string]string     `json:"id2label"`
	Label2ID    any                   `json:"label2id"` // map[string]int; not read
}

func (c *Classifier) headConfig() headConfig {
	labels, numbers := map[string]string{}, map[string]int{}
	for i, class := range c.Classes {
		labels[strconv.Itoa(i)], numbers[class] = class, i
	}
	return headConfig{cmp.Or(c.ProblemType, objective.SingleLabel), len(c.Classes), labels, numbers}
}

// SaveConfig writes config.json: the architecture, the input, the classes or labels, and what the head was made for.
func (c *Classifier) SaveConfig(folder string) error {
	return atomicfile.WriteJSON(filepath.Join(folder, "config.json"), config{"resnet", c.Net.Architecture, c.Input, c.headConfig()})
}

// readConfig reads what SaveConfig wrote.
func readConfig(path string) (c config, classes []string, err error) {
	if c, err = parseConfig(path); err != nil {
		return c, nil, err
	}
	if c.ModelType != "resnet" || c.Architecture == "" {
		return c, nil, fmt.Errorf("%s: it is no config of a network for pictures that Thaw has trained: model_type is %q, thaw_architecture %q", path, c.ModelType, c.Architecture)
	}
	if err := c.Input.check(); err != nil {
		return c, nil, fmt.Errorf("%s: thaw_input: %w", path, err)
	}
	if classes, err = c.classes(path); err == nil {
		err = checkProblem(path, c.ProblemType, len(classes))
	}
	return c, classes, err
}

// checkProblem refuses what a config.json says of a head with so many outputs that no objective is.
func checkProblem(path string, problem objective.ProblemType, outputs int) error {
	switch problem {
	case "", objective.SingleLabel, objective.MultiLabel:
	case objective.Regression:
		if outputs != 1 {
			return fmt.Errorf("%s: problem_type is %q, and the head has %d outputs: one number is predicted", path, problem, outputs)
		}
	default:
		return fmt.Errorf("%s: problem_type is %q; there are %q, %q and %q",
			path, problem, objective.SingleLabel, objective.MultiLabel, objective.Regression)
	}
	return nil
}

// parseConfig reads a config.json, which may be another program's.
func parseConfig(path string) (c config, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// classes are the labels by number.
func (c *headConfig) classes(path string) (classes []string, err error) {
	for i := range len(c.ID2Label) {
		class, ok := c.ID2Label[strconv.Itoa(i)]
		if !ok {
			return nil, fmt.Errorf("%s: id2label has %d classes, and none is numbered %d", path, len(c.ID2Label), i)
		}
		classes = append(classes, class)
	}
	return classes, nil
}

// OpenClassifier loads a classifier with its head from a folder with config.json and weights, as a run leaves it.
// weights names a file in place of the folder's; "" reads the one that [torch.FindWeights] finds.
func OpenClassifier(folder, weights string) (*Classifier, error) {
	saved, classes, err := readConfig(filepath.Join(folder, "config.json"))
	if err != nil {
		return nil, err
	}
	if weights == "" {
		if weights, err = torch.FindWeights(folder); err != nil {
			return nil, err
		}
	}
	net, report, err := LoadResNet(weights, ResNetOptions{Architecture: saved.Architecture})
	if err != nil {
		return nil, err
	}
	if n := net.Classes(); n != len(classes) {
		net.Close()
		return nil, fmt.Errorf("%s has a head of %d classes, and %s names %d", weights, n, filepath.Join(folder, "config.json"), len(classes))
	}
	net.ChannelsLast()
	return &Classifier{
		Net: net, Input: saved.Input, Classes: classes, ProblemType: saved.ProblemType, Report: report, Source: weights,
	}, nil
}

// Close frees the network, once predictions under way have ended.
func (c *Classifier) Close() {
	c.running.Lock()
	defer c.running.Unlock()
	if n := c.inference; n != nil {
		c.inference = nil
		_ = n.Close() // a device that fails here has failed before, and was reported
	}
	nn.Close(c)
}
