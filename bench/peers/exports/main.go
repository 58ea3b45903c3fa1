// Command exports is the Go side of ../check_exports.py: it makes models of every architecture that Thaw knows, exports
// each in every format that has a form for it, and writes what Thaw itself gives for texts and pictures to
// FOLDER/cases.json.
//
//	go run ./peers/exports FOLDER
//
// FOLDER/inputs.json names the texts, the pairs, the pictures and the folders of BERTs to begin with; or, of
// ../check_detector_onnx.py, detectors and pictures, see maker.detectors.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/lora"
	"github.com/thaw-ml/thaw/onnx"
	"github.com/thaw-ml/thaw/recipe"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// inputs are what the models are shown.
type inputs struct {
	Texts      []string
	Pairs      [][2]string
	Pictures   []string
	BERTs      map[string]string // folders by name
	BatchSizes []int
	Only       string // a part of the names of the models that are made
	Detectors  []detector
}

// result is a model's exports and its own logits.
type result struct {
	Name    string
	Kind    string   // texts, pairs, pictures, matrix
	Problem string   // problem_type
	Classes []string // of the logits
	Folders map[recipe.Format]string
	Logits  map[int][][]float32 // by the batch size
}

// tricky are names of classes that JSON, YAML, Markdown and protocol buffers all shall carry.
var tricky = []string{`a "quoted" 'name'`, "two\nlines", "日本 | *x* <b>", `back\slash: {y}`}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: exports FOLDER")
		os.Exit(2)
	}
	if err := makeAll(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "exports:", err)
		os.Exit(1)
	}
}

func makeAll(folder string) error {
	var in inputs
	data, err := os.ReadFile(filepath.Join(folder, "inputs.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	m := maker{folder: folder, in: in}
	if len(in.Detectors) > 0 { // ../check_detector_onnx.py asks
		return m.detectors()
	}
	for name, base := range in.BERTs {
		if err := m.texts(name, base); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for i, name := range vision.Architectures() {
		if !strings.Contains(name, in.Only) {
			continue
		}
		if err := m.pictures(name, uint64(i)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if strings.Contains("external", in.Only) {
		if err := m.external(); err != nil {
			return err
		}
	}
	data, err = json.Marshal(m.results)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "cases.json"), data, 0o666)
}

type maker struct {
	folder  string
	in      inputs
	results []result
}

// texts makes classifiers of each kind on a BERT.
func (m *maker) texts(name, base string) error {
	for _, c := range []struct {
		name  string
		head  text.Head
		pairs bool
		lora  bool
	}{
		{name: "classes-cls", head: text.Head{Classes: tricky, Pooling: text.CLS}},
		{name: "classes-mean", head: text.Head{Classes: tricky, Pooling: text.Mean}},
		{name: "labels-cls", head: text.Head{Classes: []string{"x", "y", "z"}, Problem: text.MultiLabel, Pooling: text.CLS}},
		{name: "labels-mean", head: text.Head{Classes: []string{"x", "y", "z"}, Problem: text.MultiLabel, Pooling: text.Mean}},
		{name: "number-cls", head: text.Head{Problem: text.Regression, Pooling: text.CLS}},
		{name: "number-mean", head: text.Head{Problem: text.Regression, Pooling: text.Mean}},
		{name: "pairs-cls", head: text.NewHead("no", "yes"), pairs: true},
		{name: "pairs-mean", head: text.Head{Classes: []string{"no", "yes"}, Pooling: text.Mean}, pairs: true},
		{name: "lora-cls", head: text.NewHead("no", "yes"), lora: true},
	} {
		c.head.Seed = 1
		if !strings.Contains(name+"-"+c.name, m.in.Only) {
			continue
		}
		if err := m.textCase(name+"-"+c.name, base, c.head, c.pairs, c.lora); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (m *maker) textCase(name, base string, head text.Head, pairs, adapted bool) error {
	c, err := text.LoadClassifier(base, "", head)
	if err != nil {
		return err
	}
	defer c.Close()
	c.Config.Pairs, c.Config.MaxLength = &pairs, min(64, c.Config.MaxPositionEmbeddings)
	err = torch.Try(func() {
		c.Linear.Weight.Normal_(0, 0.3, torch.NewGenerator(2))
		c.Linear.Bias.Normal_(0, 0.3, torch.NewGenerator(3))
	})
	if err != nil {
		return err
	}
	if adapted {
		adapters, err := lora.Apply(c.Stages(), lora.Config{Rank: 4, Alpha: 8, Targets: []string{"query", "value", "dense"}, Seed: 4})
		if err != nil {
			return err
		}
		defer adapters.Close()
		torch.NoGrad(func() {
			for _, layer := range nn.Modules[nn.Adaptable](c) {
				if a := *layer.Adapted(); a != nil {
					for _, p := range nn.Params(a) {
						p.Normal_(0, 0.05, torch.NewGenerator(5))
					}
				}
			}
		})
	}
	r := result{Name: name, Kind: "texts", Problem: string(c.Config.ProblemType), Classes: c.Classes, Logits: map[int][][]float32{}}
	items := text.Items(m.in.Texts...)
	if pairs {
		r.Kind, items = "pairs", nil
		for _, p := range m.in.Pairs {
			items = append(items, text.Item{Text: p[0], Pair: p[1]})
		}
	}
	for _, size := range m.in.BatchSizes {
		found, err := c.Predict(context.Background(), items, finetune.PredictOptions{BatchSize: size})
		if err != nil {
			return err
		}
		for _, p := range found {
			r.Logits[size] = append(r.Logits[size], p.Logits)
		}
	}
	formats := []recipe.Format{recipe.ONNX}
	if head.Pooling != text.Mean {
		formats = append(formats, recipe.Transformers)
	}
	return m.export(r, formats, c, c.SaveConfig)
}

// pictures makes a network with norms as those of a trained one.
func (m *maker) pictures(name string, seed uint64) error {
	c, err := vision.NewClassifier(name, 3, seed)
	if err != nil {
		return err
	}
	defer c.Close()
	c.Classes, c.Input = tricky[:3], c.Input.Sized(96, 0)
	g := torch.NewGenerator(seed)
	torch.NoGrad(func() {
		for _, b := range nn.Modules[*nn.BatchNorm](c.Net) {
			b.Weight.Uniform_(0.3, 0.7, g)
			b.Bias.Uniform_(-0.2, 0.2, g)
			b.RunningMean.Uniform_(-0.2, 0.2, g)
			b.RunningVar.Uniform_(0.5, 1.5, g)
		}
	})
	r := result{Name: name, Kind: "pictures", Problem: "single_label_classification", Classes: c.Classes, Logits: map[int][][]float32{}}
	var files []vision.Image
	for _, path := range m.in.Pictures {
		files = append(files, vision.File(path))
	}
	for _, size := range m.in.BatchSizes {
		found, err := c.Predict(context.Background(), files, finetune.PredictOptions{BatchSize: size})
		if err != nil {
			return err
		}
		for _, p := range found {
			r.Logits[size] = append(r.Logits[size], p.Logits)
		}
	}
	formats := []recipe.Format{recipe.ONNX, recipe.Torchvision}
	if c.HasTransformers() {
		formats = append(formats, recipe.Transformers)
	}
	return m.export(r, formats, c, c.SaveConfig)
}

// export leaves a run folder, as a run does, and exports it.
func (m *maker) export(r result, formats []recipe.Format, model any, saveConfig func(folder string) error) error {
	folder := filepath.Join(m.folder, "runs", r.Name)
	weights := filepath.Join(folder, finetune.WeightsDir)
	if err := os.MkdirAll(weights, 0o777); err != nil {
		return err
	}
	if err := saveConfig(weights); err != nil {
		return err
	}
	err := torch.ScopedErr(func() error {
		state, err := nn.MergedState(model)
		if err != nil {
			return err
		}
		return torch.SaveCheckpoint(filepath.Join(weights, "best.safetensors"), state, nil)
	})
	if err != nil {
		return err
	}
	run, err := recipe.OpenRun(folder)
	if err != nil {
		return err
	}
	defer run.Close()
	r.Folders = map[recipe.Format]string{}
	for _, f := range formats {
		r.Folders[f] = filepath.Join(m.folder, "out-"+r.Name+"-"+string(f))
		if err := run.Export(r.Folders[f], f); err != nil {
			return err
		}
	}
	m.results = append(m.results, r)
	return os.RemoveAll(folder)
}

// external makes a graph whose weights are in a file beside it.
func (m *maker) external() error {
	r := result{Name: "external", Kind: "matrix", Folders: map[recipe.Format]string{recipe.ONNX: filepath.Join(m.folder, "out-external-onnx")}}
	if err := os.MkdirAll(r.Folders[recipe.ONNX], 0o777); err != nil {
		return err
	}
	return torch.ScopedErr(func() (err error) {
		torch.NoGrad(func() {
			g := torch.NewGenerator(1)
			a, b := nn.NewLinear(70, 300, nn.LinearOptions{}, g), nn.NewLinear(300, 5, nn.LinearOptions{}, g)
			var state []torch.Named
			for name, l := range map[string]*nn.Linear{"a": a, "b": b} {
				for _, n := range nn.State(l) {
					state = append(state, torch.Named{Name: name + "." + n.Name, Tensor: n.Tensor})
				}
			}
			l := onnx.NewLayers("external", state)
			x := l.Input("x", onnx.Float, onnx.Dynamic("batch"), onnx.Fixed(70))
			y := l.Op("Relu", "relu", []onnx.Value{l.Linear(x, "a")})
			l.Output(l.Linear(y, "b"), "logits", onnx.Float, onnx.Dynamic("batch"), onnx.Fixed(5))
			if err = (onnx.Model{Graph: l.Graph, Inline: 1}).Save(filepath.Join(r.Folders[recipe.ONNX], "model.onnx")); err != nil {
				return
			}
			ones := torch.Ones(torch.Float32, torch.CPU, 3, 70)
			out := torch.ToSlice[float32](b.Forward(a.Forward(ones).ReLU()))
			r.Logits = map[int][][]float32{3: slices.Collect(slices.Chunk(out, 5))}
			nn.Close(a)
			nn.Close(b)
		})
		m.results = append(m.results, r)
		return err
	})
}
