package vision

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/thaw-ml/thaw/onnx"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
)

// ONNXFile is the name of the graph in a folder that SaveONNX writes.
const ONNXFile = "model.onnx"

// SaveONNX writes model.onnx, config.json and preprocessor_config.json to a folder, which is made if need be. The graph
// maps pixel_values, float32 [batch, 3, Crop, Crop], any number of pictures made as Input says, scaled to 0..1 and
// normalised, to logits, float32 [batch, classes]. Adapters are merged into the weights. Classes, what the logits mean
// and the input are in its metadata too.
func (c *Classifier) SaveONNX(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	if err := c.SaveConfig(folder); err != nil {
		return err
	}
	if err := c.savePreprocessor(folder); err != nil {
		return err
	}
	metadata, err := c.onnxMetadata()
	if err != nil {
		return err
	}
	c.running.Lock()
	defer c.running.Unlock()
	return torch.ScopedErr(func() error {
		state, err := nn.MergedState(c.Net)
		if err != nil {
			return err
		}
		doc := c.Name() + ", logits of " + metadata["problem_type"]
		return onnx.Model{Graph: c.Net.graph(state, c.Input), Doc: doc, Metadata: metadata}.Save(filepath.Join(folder, ONNXFile))
	})
}

// onnxMetadata is what the graph says of itself.
func (c *Classifier) onnxMetadata() (map[string]string, error) {
	classes, err := json.Marshal(c.Classes)
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(c.torchvisionTransforms())
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"architecture": c.Net.Architecture, "classes": string(classes), "problem_type": string(c.headConfig().ProblemType),
		"transforms": string(input),
	}, nil
}

// graph is the network in inference, on pictures of the input's size.
func (r *ResNet) graph(state []torch.Named, input Input) *onnx.Graph {
	l := resnetLayers{onnx.NewLayers(r.Architecture, state)}
	batch := onnx.Dynamic("batch")
	x := l.Input("pixel_values", onnx.Float, batch, onnx.Fixed(3), onnx.Fixed(input.Crop), onnx.Fixed(input.Crop))
	x = r.AddBody(l.Layers, x, "")[3]
	x = l.Op("GlobalAveragePool", "pool/GlobalAveragePool", []onnx.Value{x})
	x = l.Op("Flatten", "pool/Flatten", []onnx.Value{x}, onnx.Attribute{Name: "axis", Value: 1})
	l.Output(l.Linear(x, "fc"), "logits", onnx.Float, batch, onnx.Fixed(r.Classes()))
	return l.Graph
}

// AddBody adds stem and layers to a graph, in inference: x [N, 3, H, W], normalised, becomes what each of the four
// layers gives out. prefix is what the keys of the graph's state have before the network's: "backbone.body.".
func (r *ResNet) AddBody(to onnx.Layers, x onnx.Value, prefix string) (layers [4]onnx.Value) {
	l := resnetLayers{to}
	x = l.relu(l.norm(x, prefix+"conv1", r.Conv1, prefix+"bn1", r.BN1), prefix+"stem")
	x = l.MaxPool2d(x, prefix+"stem", stemPool)
	for i, layer := range []Layer{r.Layer1, r.Layer2, r.Layer3, r.Layer4} {
		for k, block := range layer {
			x = block.addTo(l, x, prefix+"layer"+strconv.Itoa(i+1)+"."+strconv.Itoa(k))
		}
		layers[i] = x
	}
	return layers
}

// resnetLayers adds the parts of a ResNet to a graph.
type resnetLayers struct{ onnx.Layers }

// norm is a convolution and its norm.
func (l resnetLayers) norm(x onnx.Value, convKey string, conv *nn.Conv2d, normKey string, norm nn.Norm) onnx.Value {
	return l.Norm(l.Conv2d(x, convKey, conv), normKey, norm)
}

func (l resnetLayers) relu(x onnx.Value, key string) onnx.Value {
	return l.Op("Relu", key+"/Relu", []onnx.Value{x})
}

// join adds the shortcut of x to y.
func (l resnetLayers) join(y, x onnx.Value, key string, d *Downsample) onnx.Value {
	if d != nil {
		x = l.norm(x, key+".downsample.0", d.Conv, key+".downsample.1", d.BN)
	}
	return l.relu(l.Op("Add", key+"/Add", []onnx.Value{y, x}), key)
}

// addTo adds what Forward computes.
func (b *BasicBlock) addTo(l resnetLayers, x onnx.Value, key string) onnx.Value {
	y := l.relu(l.norm(x, key+".conv1", b.Conv1, key+".bn1", b.BN1), key+".bn1")
	return l.join(l.norm(y, key+".conv2", b.Conv2, key+".bn2", b.BN2), x, key, b.Downsample)
}

// addTo adds what Forward computes.
func (b *Bottleneck) addTo(l resnetLayers, x onnx.Value, key string) onnx.Value {
	y := l.relu(l.norm(x, key+".conv1", b.Conv1, key+".bn1", b.BN1), key+".bn1")
	y = l.relu(l.norm(y, key+".conv2", b.Conv2, key+".bn2", b.BN2), key+".bn2")
	return l.join(l.norm(y, key+".conv3", b.Conv3, key+".bn3", b.BN3), x, key, b.Downsample)
}
