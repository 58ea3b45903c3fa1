package detection

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

// graphed is a network that has a form in ONNX.
type graphed interface {
	// addTo adds the network to a graph: what it finds in the picture, the best first.
	addTo(g graph, p onnxPicture) candidateValues
}

// SaveONNX writes model.onnx and config.json to a folder, which is made if need be. The graph has the input
//
//   - image, float32 [3, height, width], an RGB picture of any size scaled to 0..1
//
// and the outputs, the best first,
//
//   - boxes, float32 [detections, 4], left, upper, right and lower edges in pixels of the picture
//   - labels, int64 [detections]
//   - scores, float32 [detections]
//
// It resizes, normalises and pads as Input says, decodes boxes and has non-maximum suppression inside. Names of the
// labels, the input's sizes and the limits of what becomes a detection are in its metadata too.
func (d *Detector) SaveONNX(folder string) error {
	net, ok := d.Network.(graphed)
	if !ok {
		return fmt.Errorf("write %s: a %T has no form in ONNX; FCOS, RetinaNet and FasterRCNN have", folder, d.Network)
	}
	if err := d.Input.check(); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return fmt.Errorf("write %s: %w", folder, err)
	}
	if err := d.SaveConfig(folder); err != nil {
		return err
	}
	metadata, err := d.onnxMetadata()
	if err != nil {
		return err
	}
	d.running.Lock()
	defer d.running.Unlock()
	return torch.ScopedErr(func() error {
		state, err := nn.MergedStageState(d.Stages())
		if err != nil {
			return err
		}
		g := graph{onnx.NewLayers(d.Name(), state), map[string]onnx.Value{}}
		p := g.picture(d.Input)
		found := net.addTo(g, p)
		count := onnx.Dynamic("detections")
		g.Output(g.op("Mul", "stored", found.boxes, p.factor), "boxes", onnx.Float, count, onnx.Fixed(4))
		g.Output(found.labels, "labels", onnx.Int64, count)
		g.Output(found.scores, "scores", onnx.Float, count)
		doc := d.Name() + ", boxes of objects in a picture"
		return onnx.Model{Graph: g.Graph, Doc: doc, Metadata: metadata}.Save(filepath.Join(folder, ONNXFile))
	})
}

// onnxMetadata is what the graph says of itself.
func (d *Detector) onnxMetadata() (map[string]string, error) {
	out := map[string]string{"architecture": d.Name()}
	for key, value := range map[string]any{"id2label": d.config().ID2Label, "input": d.Input, "limits": LimitsOf(d.Network)} {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		out[key] = string(text)
	}
	return out, nil
}

// graph adds the parts of a detector to a graph. Its pictures are one at a time.
type graph struct {
	onnx.Layers
	lists map[string]onnx.Value // constants that are in the graph
}

// op adds an operator without attributes.
func (g graph) op(op, key string, in ...onnx.Value) onnx.Value { return g.Op(op, key+"/"+op, in) }

// ints is a constant list, in the graph once.
func (g graph) ints(list ...int) onnx.Value {
	key := fmt.Sprint(list)
	if _, ok := g.lists[key]; !ok {
		g.lists[key] = g.Ints("ints", list...)
	}
	return g.lists[key]
}

// cast gives another type.
func (g graph) cast(x onnx.Value, key string, to onnx.Type) onnx.Value {
	return g.Op("Cast", key+"/Cast", []onnx.Value{x}, onnx.Attribute{Name: "to", Value: int(to)})
}

// concat puts tensors behind one another.
func (g graph) concat(key string, axis int, in ...onnx.Value) onnx.Value {
	return g.Op("Concat", key+"/Concat", in, onnx.Attribute{Name: "axis", Value: axis})
}

// gather chooses along an axis.
func (g graph) gather(x, at onnx.Value, key string, axis int) onnx.Value {
	return g.Op("Gather", key+"/Gather", []onnx.Value{x, at}, onnx.Attribute{Name: "axis", Value: axis})
}

// part is x from one position of an axis up to another.
func (g graph) part(x onnx.Value, key string, axis, from, to int) onnx.Value {
	return g.op("Slice", key, x, g.ints(from), g.ints(to), g.ints(axis))
}

// onnxPicture is the picture on its canvas.
type onnxPicture struct {
	canvas onnx.Value // [1, 3, H, W], normalised; its sides are multiples of Divisor
	sides  onnx.Value // of the canvas: [2] int64, height and width
	limit  onnx.Value // float32 [4]: width, height, width, height of the picture as it was resized
	factor onnx.Value // float32 [4]: from there to the picture as it came
}

// picture adds the input and what Input says of it. The size is computed in float64, as in torchvision and Dataset.
func (g graph) picture(in Input) onnxPicture {
	const key = "picture"
	image := g.Input("image", onnx.Float, onnx.Fixed(3), onnx.Dynamic("height"), onnx.Dynamic("width"))
	stored := g.part(g.op("Shape", key, image), key, 0, 1, 3)
	least, most := g.op("ReduceMin", key, stored), g.op("ReduceMax", key, stored) // [1]
	scale := g.op("Min", key,
		g.op("Div", key, g.Double("min_size", float64(in.MinSize)), g.cast(least, key, onnx.Double)),
		g.op("Div", key, g.Double("max_size", float64(in.MaxSize)), g.cast(most, key, onnx.Double)))
	resized := g.cast(g.op("Mul", key, g.cast(stored, key, onnx.Double), scale), key, onnx.Int64) // rounds down
	resized = g.op("Max", key, resized, g.ints(1))
	sides := g.op("Div", key, g.op("Add", key, resized, g.ints(Divisor-1)), g.ints(Divisor))
	sides = g.op("Mul", key, sides, g.ints(Divisor))

	x := g.op("Unsqueeze", key, image, g.ints(0))
	x = g.Op("Resize", key+"/Resize", []onnx.Value{x, "", "", g.concat(key, 0, g.ints(1, 3), resized)},
		onnx.Attribute{Name: "mode", Value: "linear"},
		onnx.Attribute{Name: "coordinate_transformation_mode", Value: "half_pixel"})
	channels := func(name string, v [3]float64) onnx.Value {
		return g.Floats(name, []int{3, 1, 1}, float32(v[0]), float32(v[1]), float32(v[2]))
	}
	x = g.op("Div", key, g.op("Sub", key, x, channels("mean", in.Mean)), channels("std", in.Std))
	pads := g.concat(key, 0, g.ints(0, 0, 0, 0, 0, 0), g.op("Sub", key, sides, resized))
	x = g.op("Pad", key, x, pads)

	twice := g.ints(1, 0, 1, 0) // of height and width
	limit := g.gather(g.cast(resized, key, onnx.Float), twice, key, 0)
	factor := g.op("Div", key, g.gather(g.cast(stored, key, onnx.Float), twice, key, 0), limit)
	return onnxPicture{x, sides, limit, factor}
}

// backbone adds the levels that b gives, see FPN.Forward.
func (g graph) backbone(b *Backbone, canvas onnx.Value) (levels []onnx.Value) {
	const key = "backbone.fpn."
	layers := b.Body.AddBody(g.Layers, canvas, "backbone.body.")
	used := layers[b.from-1:]
	last := len(used) - 1
	levels = make([]onnx.Value, last+1)
	var above onnx.Value
	for i := last; i >= 0; i-- {
		name := strconv.Itoa(i)
		inner := g.convNorm(used[i], key+"inner_blocks."+name, b.FPN.InnerBlocks[i])
		if above != "" {
			// The canvas' sides are multiples of 32, so that each level is exactly twice as large as the one above.
			twice := g.Floats("twice", []int{4}, 1, 1, 2, 2)
			above = g.Op("Resize", key+"Resize", []onnx.Value{above, "", twice},
				onnx.Attribute{Name: "mode", Value: "nearest"}, onnx.Attribute{Name: "nearest_mode", Value: "floor"},
				onnx.Attribute{Name: "coordinate_transformation_mode", Value: "asymmetric"})
			inner = g.op("Add", key+"inner_blocks."+name, inner, above)
		}
		levels[i], above = g.convNorm(inner, key+"layer_blocks."+name, b.FPN.LayerBlocks[i]), inner
	}
	extra := b.FPN.ExtraBlocks
	if extra == nil {
		return append(levels, g.MaxPool2d(levels[last], key+"pool", nn.MaxPool2d{Kernel: 1, Stride: 2}))
	}
	from := levels[last]
	if extra.P6.Weight.Size(1) != pyramidChannels {
		from = used[last]
	}
	p6 := g.Conv2d(from, key+"extra_blocks.p6", extra.P6)
	return append(levels, p6, g.Conv2d(g.op("Relu", key+"extra_blocks.p6", p6), key+"extra_blocks.p7", extra.P7))
}

func (g graph) convNorm(x onnx.Value, key string, c *ConvNorm) onnx.Value {
	x = g.Conv2d(x, key+".0", c.Conv)
	if c.Norm != nil {
		x = g.Norm(x, key+".1", c.Norm)
	}
	if c.ReLU {
		x = g.op("Relu", key, x)
	}
	return x
}

// sequential adds layers that heads have. Another one panics *torch.Error.
func (g graph) sequential(x onnx.Value, key string, layers Sequential) onnx.Value {
	for i, layer := range layers {
		key := key + "." + strconv.Itoa(i)
		switch layer := layer.(type) {
		case *nn.Conv2d:
			x = g.Conv2d(x, key, layer)
		case nn.Norm:
			x = g.Norm(x, key, layer)
		case *ConvNorm:
			x = g.convNorm(x, key, layer)
		case *nn.Linear:
			x = g.Linear(x, key)
		case inPlaceReLU:
			x = g.op("Relu", key, x)
		case flattenRows:
			x = g.op("Flatten", key, x) // from axis 1 on
		default:
			panic(&torch.Error{Op: "onnx", Msg: fmt.Sprintf("%s is a %T, which has no form in ONNX files", key, layer)})
		}
	}
	return x
}
