package vision

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/internal/suggest"
	"github.com/thaw-ml/thaw/torch"
)

// source is where a network's weights come from, and what is known of them.
type source struct {
	architecture string // "" goes by the weights
	weights      string // "" for random ones
	input        Input
	classes      []string              // of the weights' own head; nil where that is not known
	problem      objective.ProblemType // of that head
	named        string                // the file beside the weights that names the classes; "" where none does
	label        string                // what a class without a name is called: its number goes in place of %d
	warnings     []string              // what is said of the weights and cannot be followed
}

// find says what model and weights of a spec mean. model is a path, or the name of an architecture where weights is
// given.
func find(model, weights string) (source, error) {
	switch {
	case weights == "none":
		if !slices.Contains(Architectures(), model) {
			_, err := NewResNet(model, 2)
			return source{}, err
		}
		return source{architecture: model, input: imageNet()}, nil
	case weights == "":
		return findFile(model)
	}
	s, err := findFile(weights)
	if err != nil {
		return s, err
	}
	if slices.Contains(Architectures(), model) {
		s.architecture = model
		return s, nil
	}
	own, err := findFile(model)
	if err != nil {
		return s, err
	}
	s.architecture, s.input, s.warnings = own.architecture, own.input, own.warnings
	if s.classes == nil {
		s.classes, s.problem = own.classes, own.problem
	}
	return s, nil
}

// findFile says what a folder or a file of weights is.
func findFile(path string) (s source, err error) {
	s = source{weights: path, input: imageNet(), label: "%d"}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) && slices.Contains(Architectures(), path) {
		return s, fmt.Errorf("%s is an architecture: name a file of weights too, or none for random ones", path)
	}
	if errors.Is(err, os.ErrNotExist) && !strings.ContainsRune(path, filepath.Separator) {
		return s, fmt.Errorf("no file, folder or architecture is named %s%s", path, suggest.DidYouMean(path, Architectures()))
	}
	if err != nil {
		return s, err
	}
	folder := filepath.Dir(path)
	if info.IsDir() {
		folder = path
		if s.weights, err = torch.FindWeights(path); err != nil {
			return s, err
		}
	}
	b, err := readBeside(folder)
	if err != nil {
		return s, err
	}
	s.architecture, s.input, s.classes, s.problem = b.architecture, b.input, b.classes, b.problem
	s.label, s.warnings = b.label, b.warnings
	if b.path != "" {
		if s.classes != nil {
			s.named = b.path
		}
		return s, nil
	}
	for _, m := range hub.Models() {
		if m.Kind == hub.Classifier && m.URL != "" && m.File() == filepath.Base(s.weights) {
			s.architecture, s.input, s.classes = m.Architecture, inputOf(m), m.Categories()
		}
	}
	return s, nil
}

// Head is the new last layer of a classifier.
type Head struct {
	Classes []string // names of the classes or labels, in the order of the logits; a regression needs none
	Problem objective.ProblemType
	Seed    uint64 // draws the weights
}

// NewHead is the head of a classification.
func NewHead(classes ...string) Head { return Head{Classes: classes} }

// labels are the names of the logits.
func (h Head) labels() []string {
	if h.Problem == objective.Regression && len(h.Classes) == 0 {
		return []string{"LABEL_0"} // as transformers names a single output
	}
	return h.Classes
}

// Load loads a pre-trained network and gives it a new head. model is as for [LoadClassifier], or the name of a model
// that thaw download, or torchvision, has brought to this machine, such as resnet50; nothing is downloaded.
func Load(model string, head Head) (*Classifier, error) {
	if _, err := os.Stat(model); err != nil {
		path, failure := hub.Local(model)
		if failure != nil {
			return nil, fmt.Errorf("there is no file or folder %s, and %w", model, failure)
		}
		model = path
	}
	return LoadClassifier(model, "", head)
}

// LoadClassifier loads a pre-trained network and gives it a new head. model is the path of a checkpoint (torchvision's
// .pth, or safetensors with its or transformers' keys), of a folder that has one, or an architecture's name where
// weights names a file, or is "none" for random weights.
//
// What lies beside the weights is followed: config.json of Thaw, timm or transformers and transformers'
// preprocessor_config.json. A network that is not supported is an error, what else cannot be followed is in Warnings.
func LoadClassifier(model, weights string, head Head) (*Classifier, error) {
	classes := head.labels()
	if err := objective.CheckNames(head.Problem, classes); err != nil {
		return nil, err
	}
	s, err := find(model, weights)
	if err != nil {
		return nil, err
	}
	c := &Classifier{Input: s.input, Classes: classes, ProblemType: head.Problem, Source: s.weights, Warnings: s.warnings}
	g := torch.NewGenerator(head.Seed)
	if s.weights != "" {
		c.Net, c.Report, err = LoadResNet(s.weights, ResNetOptions{Architecture: s.architecture, NewHead: len(classes), Generator: g})
	} else if c.Net, err = NewResNet(s.architecture, len(classes)); err == nil {
		c.Source = "random"
		err = torch.Try(func() { c.Net.Init(g, InitOptions{}) })
	}
	if err != nil {
		return nil, err
	}
	c.Net.ChannelsLast()
	return c, nil
}

// OpenPretrained loads a network with its own head. model and weights are as for LoadClassifier, or model is the name
// of one that was downloaded. Classes whose names are not known are called by their numbers. What lies beside the
// weights and cannot be followed is an error: scores would be others.
func OpenPretrained(model, weights string) (*Classifier, error) {
	if _, err := os.Stat(model); err != nil && weights == "" {
		path, failure := hub.Local(model)
		if failure != nil {
			return nil, fmt.Errorf("there is no file or folder %s, and %w", model, failure)
		}
		model = path
	}
	s, err := find(model, weights)
	if err != nil {
		return nil, err
	}
	if s.weights == "" {
		return nil, errors.New("random weights predict nothing: name a file of weights")
	}
	if len(s.warnings) > 0 { // its own head would give other scores
		return nil, errors.New(s.warnings[0])
	}
	net, report, err := LoadResNet(s.weights, ResNetOptions{Architecture: s.architecture})
	if err != nil {
		return nil, err
	}
	net.ChannelsLast()
	c := &Classifier{Net: net, Input: s.input, Classes: s.classes, ProblemType: s.problem, Report: report, Source: s.weights}
	if n := net.Classes(); s.named != "" && n != len(s.classes) {
		c.Close()
		return nil, fmt.Errorf("%s has a head of %d classes, and %s names %d", s.weights, n, s.named, len(s.classes))
	}
	if err := checkProblem(cmp.Or(s.named, s.weights), c.ProblemType, net.Classes()); err != nil {
		c.Close()
		return nil, err
	}
	if len(c.Classes) != net.Classes() {
		c.Classes = nil
		if net.Classes() == 1000 { // ImageNet-1K, in the order that all use
			c.Classes = hub.Categories("imagenet")
		}
	}
	for i := len(c.Classes); i < net.Classes(); i++ {
		c.Classes = append(c.Classes, strings.Replace(s.label, "%d", strconv.Itoa(i), 1))
	}
	return c, nil
}

// Name says what the network is, for people: "ResNet-50".
func (c *Classifier) Name() string {
	name := c.Net.Architecture
	if depth, ok := strings.CutPrefix(name, "resnet"); ok {
		return "ResNet-" + depth
	}
	return name
}
