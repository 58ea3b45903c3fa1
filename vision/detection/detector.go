package detection

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train"
	"github.com/thaw-ml/thaw/internal/atomicfile"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// Detector is a network with what is needed to show it pictures. Its keys are torchvision's.
type Detector struct {
	Network `torch:""`

	Input   Input
	Classes []string // names by the network's labels, without the background
	Report  nn.LoadReport
	Source  string // the weights' file, or what else they are

	running   sync.Mutex                  // guards inference
	inference *finetune.Inference[*Batch] // where Predict runs, see Use
}

// Objective is the sum of the network's losses, measured by COCO's numbers.
func (d *Detector) Objective() train.Objective {
	return Objective{Network: d.Network, Classes: d.Classes}
}

// NewDataset makes a data set for the network, of pictures whose boxes have the classes of d.Classes, by position.
func (d *Detector) NewDataset(p Pictures, o DatasetOptions) (*Dataset, error) {
	return NewDataset(p, d.FirstLabel(), d.Input, o)
}

// labels is how many outputs a head for so many classes has.
func labels(architecture string, classes int) (int, error) {
	k, _, err := kindNamed(architecture)
	if err != nil {
		return 0, err
	}
	if k.background {
		classes++
	}
	return classes, nil
}

// checkClasses refuses a head without classes, and names that are no names.
func checkClasses(classes []string) error {
	if len(classes) == 0 {
		return errors.New("a head without classes: give one or more")
	}
	for i, name := range classes {
		if strings.TrimSpace(name) == "" {
			return fmt.Errorf("class %d has no name", i)
		}
		if slices.Contains(classes[:i], name) {
			return fmt.Errorf("two classes are named %q", name)
		}
	}
	return nil
}

// HeadOptions say what a new head is for.
type HeadOptions struct {
	// Architecture is one of Architectures; "" goes by the weights, which must be a detector's then.
	Architecture string
	Classes      []string
	Seed         uint64 // of the new layers
	// TrainNorms is as in Options.
	TrainNorms bool
}

// LoadDetector makes a detector with a new head for classes. weights is the checkpoint of a detector, whose head is replaced,
// or of a classifier, whose body is taken; "" starts all layers from random values, whose norms train then.
func LoadDetector(weights string, o HeadOptions) (*Detector, error) {
	if err := checkClasses(o.Classes); err != nil {
		return nil, err
	}
	generator := torch.NewGenerator(o.Seed)
	if weights == "" {
		outputs, err := labels(o.Architecture, len(o.Classes))
		if err != nil {
			return nil, err
		}
		n, err := New(Options{Architecture: o.Architecture, Classes: outputs, TrainNorms: true})
		if err != nil {
			return nil, err
		}
		if err := torch.Try(func() { n.Init(generator) }); err != nil {
			n.Close()
			return nil, err
		}
		return newDetector(n, o.Classes, nn.LoadReport{}, "random weights"), nil
	}
	architecture := o.Architecture
	if architecture == "" {
		c, err := torch.OpenCheckpoint(weights)
		if err != nil {
			return nil, err
		}
		architecture, _, err = DetectArchitecture(c)
		c.Close()
		if err != nil {
			return nil, err
		}
	}
	outputs, err := labels(architecture, len(o.Classes))
	if err != nil {
		return nil, err
	}
	n, report, err := Load(weights, LoadOptions{
		Architecture: architecture, NewHead: outputs, Generator: generator, TrainNorms: o.TrainNorms,
	})
	if err != nil {
		return nil, err
	}
	return newDetector(n, o.Classes, report, weights), nil
}

func newDetector(n Network, classes []string, report nn.LoadReport, source string) *Detector {
	ChannelsLast(n)
	return &Detector{Network: n, Input: DefaultInput(), Classes: slices.Clone(classes), Report: report, Source: source}
}

// config is config.json beside the weights. Its keys are transformers' where transformers has them.
type config struct {
	ModelType    string            `json:"model_type"` // one of ModelTypes
	Architecture string            `json:"thaw_architecture"`
	Input        Input             `json:"thaw_input"`
	NormEps      float64           `json:"thaw_norm_eps"` // of frozen norms
	TrainNorms   bool              `json:"thaw_train_norms"`
	NumLabels    int               `json:"num_labels"`
	ID2Label     map[string]string `json:"id2label"`
	Label2ID     map[string]int    `json:"label2id"`
}

// ModelTypes are what config.json files of detectors call them.
func ModelTypes() []string { return []string{"fcos", "retinanet", "faster_rcnn"} }

// modelType is that of an architecture.
func modelType(architecture string) string {
	family, _, _ := strings.Cut(architecture, "_")
	if family == "fasterrcnn" {
		return "faster_rcnn"
	}
	return family
}

// SaveConfig writes config.json: the architecture, the input and the classes by label.
func (d *Detector) SaveConfig(folder string) error {
	return atomicfile.WriteJSON(filepath.Join(folder, "config.json"), d.config())
}

func (d *Detector) config() config {
	c := config{
		ModelType: modelType(d.Name()), Architecture: d.Name(), Input: d.Input, NormEps: NormEps(d.Network),
		TrainNorms: !hasFrozenNorms(d.Network), NumLabels: d.Network.Classes(),
		ID2Label: map[string]string{}, Label2ID: map[string]int{},
	}
	for i, name := range d.Classes {
		label := d.FirstLabel() + i
		c.ID2Label[strconv.Itoa(label)], c.Label2ID[name] = name, label
	}
	return c
}

// OpenDetector loads a detector with its head from a folder with config.json and weights, as a run leaves it. weights names
// a file in place of the folder's; "" reads the one that [torch.FindWeights] finds.
func OpenDetector(folder, weights string) (*Detector, error) {
	path := filepath.Join(folder, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !slices.Contains(ModelTypes(), c.ModelType) || c.Architecture == "" {
		return nil, fmt.Errorf("%s: it is no config of a detector that Thaw has trained: model_type is %q, thaw_architecture %q",
			path, c.ModelType, c.Architecture)
	}
	if err := c.Input.check(); err != nil {
		return nil, fmt.Errorf("%s: thaw_input: %w", path, err)
	}
	if weights == "" {
		if weights, err = torch.FindWeights(folder); err != nil {
			return nil, err
		}
	}
	eps := c.NormEps
	if eps == 0 {
		eps = -1
	}
	n, report, err := Load(weights, LoadOptions{Architecture: c.Architecture, TrainNorms: c.TrainNorms, NormEps: eps})
	if err != nil {
		return nil, err
	}
	d := newDetector(n, nil, report, weights)
	d.Input = c.Input
	for label := n.FirstLabel(); label < n.Classes(); label++ {
		name, ok := c.ID2Label[strconv.Itoa(label)]
		if !ok {
			d.Close()
			return nil, fmt.Errorf("%s: id2label names no label %d, and %s has %d", path, label, weights, n.Classes())
		}
		d.Classes = append(d.Classes, name)
	}
	return d, nil
}

// Close frees the network, once predictions under way have ended.
func (d *Detector) Close() {
	d.running.Lock()
	defer d.running.Unlock()
	if n := d.inference; n != nil {
		d.inference = nil
		_ = n.Close() // a device that fails here has failed before, and was reported
	}
	d.Network.Close()
}

func hasFrozenNorms(n Network) bool {
	for range nn.Modules[*nn.FrozenBatchNorm](n) {
		return true
	}
	return false
}

// SaveTorchvision writes a folder, which is made if need be, with model.safetensors, a state dict that torchvision's
// constructor of the architecture loads strictly, and config.json: as SaveConfig's, with what the constructor takes under
// the key "torchvision".
func (d *Detector) SaveTorchvision(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	if err := torch.SaveCheckpoint(filepath.Join(folder, "model.safetensors"), nn.StageState(d.Stages()), map[string]string{"format": "pt"}); err != nil {
		return err
	}
	type constructor struct {
		Architecture string         `json:"architecture"`
		Arguments    map[string]any `json:"arguments"`
		FrozenNorms  bool           `json:"frozen_norms"`
		NormEps      float64        `json:"norm_eps"`
	}
	return atomicfile.WriteJSON(filepath.Join(folder, "config.json"), struct {
		config
		Torchvision constructor `json:"torchvision"`
	}{d.config(), constructor{
		d.Name(), map[string]any{"num_classes": d.Network.Classes(), "min_size": d.Input.MinSize, "max_size": d.Input.MaxSize},
		hasFrozenNorms(d.Network), NormEps(d.Network),
	}})
}
