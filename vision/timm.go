package vision

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// timmInput is timm's pretrained_cfg: what a network's pictures are made like.
type timmInput struct {
	InputSize     []int     `json:"input_size"` // channels, height, width
	Interpolation string    `json:"interpolation"`
	CropPct       float64   `json:"crop_pct"`
	CropMode      string    `json:"crop_mode"`
	Mean          []float64 `json:"mean"`
	Std           []float64 `json:"std"`
	FirstConv     any       `json:"first_conv"`
	LabelNames    []string  `json:"label_names"`
	Labels        any       `json:"labels"` // label_names' older name: a list
}

// readTimm reads what timm (1.0.31, timm/models/_hub.py) says of a network and its pictures.
func (c *foreignConfig) readTimm(b *beside) (err error) {
	if b.architecture, err = c.timmNetwork(b.path); err != nil {
		return err
	}
	in := c.timmInput
	if c.Pretrained != nil {
		names := in.LabelNames // beside pretrained_cfg
		if in = *c.Pretrained; in.LabelNames == nil {
			in.LabelNames = names
		}
	}
	if b.classes = in.LabelNames; b.classes == nil {
		list, _ := in.Labels.([]any)
		for _, name := range list {
			b.classes = append(b.classes, fmt.Sprint(name))
		}
	}
	warn := func(format string, args ...any) {
		b.warnings = append(b.warnings, b.path+": "+fmt.Sprintf(format, args...))
	}
	if len(in.Mean) == 3 && len(in.Std) == 3 {
		b.input.Mean, b.input.Std = [3]float64(in.Mean), [3]float64(in.Std)
	} else if in.Mean != nil || in.Std != nil {
		warn("mean %v and std %v are not three numbers each", in.Mean, in.Std)
	}
	if in.Interpolation != "" {
		b.input.interpolate(in.Interpolation, func(name string) { warn("interpolation %q: %s is taken", name, b.input.Filter()) })
	}
	if in.InputSize != nil && (len(in.InputSize) != 3 || in.InputSize[0] != 3 || in.InputSize[1] != in.InputSize[2]) {
		return fmt.Errorf("%s: input_size is %v: only squares of 3 channels are supported", b.path, in.InputSize)
	}
	if in.InputSize != nil {
		b.input.Crop = in.InputSize[1]
	}
	if in.InputSize != nil || in.CropPct != 0 {
		if in.CropPct == 0 {
			in.CropPct = 0.875 // timm's default
		}
		if !(in.CropPct > 0) {
			return fmt.Errorf("%s: crop_pct is %v", b.path, in.CropPct)
		}
		b.input.Resize = max(int(math.Floor(float64(b.input.Crop)/in.CropPct)), b.input.Crop)
	}
	if in.CropMode != "" && in.CropMode != "center" {
		warn("crop_mode %q: the middle is cut out", in.CropMode)
	}
	if err := b.input.check(); err != nil {
		return fmt.Errorf("%s: %w", b.path, err)
	}
	return nil
}

// timmAliases are what timm's names of before 0.9 for the same networks begin or end with.
var timmAliases = regexp.MustCompile(`^(?:tv|ssl|swsl|ig|gluon)_(\w*?)(?:_v1(?:b|([cdes])))?$`)

// timmNetwork is the name here of the architecture that a config of timm's names. Other networks may have the same keys
// and shapes, so that they are refused by their names.
func (c *foreignConfig) timmNetwork(path string) (string, error) {
	name, _, _ := strings.Cut(c.Architecture, ".") // resnet50.a1_in1k: the tag says how it was trained
	if match := timmAliases.FindStringSubmatch(name); match != nil {
		name = match[1] + match[2] // gluon's v1c, v1d, v1e and v1s are called resnet50c and the like today
	}
	if !slices.Contains(Architectures(), name) {
		return "", fmt.Errorf("%s: its architecture is timm's %q, which is not supported: %s; there are %s",
			path, c.Architecture, notTorchvisions(name), strings.Join(Architectures(), ", "))
	}
	for _, key := range []string{"act_layer", "aa_layer", "norm_layer", "attn_layer", "block", "block_args", "block_reduce_first",
		"avg_down", "cardinality", "base_width", "down_kernel_size", "drop_block_rate", "layers", "output_stride", "replace_stem_pool", "stem_type", "stem_width", "in_chans"} {
		if value, ok := c.ModelArgs[key]; ok && value != nil && !(key == "in_chans" && value == 3.) && !(key == "output_stride" && value == 32.) {
			return "", fmt.Errorf("%s: model_args has %s (%v), which makes another network than timm's %s", path, key, value, c.Architecture)
		}
	}
	if pool, ok := c.ModelArgs["global_pool"].(string); ok {
		c.GlobalPool = pool
	}
	if c.GlobalPool != "" && c.GlobalPool != "avg" {
		return "", fmt.Errorf("%s: global_pool is %q: only avg is supported", path, c.GlobalPool)
	}
	return name, nil
}

// notTorchvisions says what is different in a network of timm's.
func notTorchvisions(name string) string {
	depth := regexp.MustCompile(`^(?:eca|se)?(?:wide_)?resn(?:et|ext)\d+([a-z]*)`)
	has := func(part string) bool { return strings.Contains(name, part) }
	switch {
	case !has("resnet") && !has("resnext"):
		return "it is no ResNet"
	case has("resnetaa"), has("resnextaa"):
		return "it averages (antialiasing) where torchvision's has strides, with the same keys"
	case has("blur"):
		return "it blurs (antialiasing) where torchvision's has strides, with the same keys"
	case has("resnetv2"), has("resnetrs"), has("resnest"):
		return "it is a network of another design"
	case strings.HasPrefix(name, "eca"), strings.HasPrefix(name, "se"):
		return "it has channel attention"
	case strings.HasSuffix(name, "_gn"):
		return "it has group norms in place of batch norms"
	}
	if match := depth.FindStringSubmatch(name); match != nil {
		switch match[1] {
		case "c", "s":
			return "it has a deep stem of three convolutions"
		case "d", "e":
			return "it has a deep stem of three convolutions and average pooling in its shortcuts"
		case "t":
			return "it has a tiered stem of three convolutions"
		}
	}
	return "it has other layers or widths than torchvision's"
}
