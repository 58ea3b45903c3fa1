package vision

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/thaw-ml/thaw/finetune/train/objective"
)

// beside is what the files of a folder say of the weights in it.
type beside struct {
	path         string   // of config.json, "" where there is none or none that is understood
	architecture string   // "" goes by the weights' keys
	input        Input    // ImageNet's usual one where nothing is said
	classes      []string // of the weights' own head, nil where they are not named
	problem      objective.ProblemType
	label        string   // what a class without a name is called: its number goes in place of %d
	warnings     []string // what is said and cannot be followed, which changes pictures or scores, not the network
}

// foreignConfig is a config.json of transformers or timm.
type foreignConfig struct {
	// transformers
	ModelType    string `json:"model_type"`
	HiddenAct    string `json:"hidden_act"`
	InBottleneck bool   `json:"downsample_in_bottleneck"`
	InFirstStage bool   `json:"downsample_in_first_stage"`
	NumChannels  *int   `json:"num_channels"`
	Quantization any    `json:"quantization_config"`
	headConfig

	// timm
	Architecture string         `json:"architecture"`
	ModelArgs    map[string]any `json:"model_args"`
	GlobalPool   string         `json:"global_pool"`
	Pretrained   *timmInput     `json:"pretrained_cfg"`
	timmInput                   // in place of pretrained_cfg, in files of older versions
}

// readBeside reads config.json and preprocessor_config.json of a folder: Thaw's, transformers' or timm's. What makes
// another network of the same weights is an error that names the file and the key.
func readBeside(folder string) (b beside, err error) {
	b = beside{input: imageNet(), label: "%d"}
	path := filepath.Join(folder, "config.json")
	own, err := parseConfig(path)
	if errors.Is(err, os.ErrNotExist) {
		return b, nil
	} else if err != nil {
		return b, err
	}
	if own.ModelType == "resnet" && own.Architecture != "" {
		b.path, b.architecture, b.input, b.problem = path, own.Architecture, own.Input, own.ProblemType
		_, b.classes, err = readConfig(path)
		return b, err
	}
	c, err := parseForeign(path)
	switch {
	case err != nil:
		return b, err
	case c.ModelType == "resnet":
		b.path = path
		return b, c.readTransformers(&b, folder)
	case c.Architecture != "" && (c.ModelType == "" || c.ModelType == "timm_wrapper"):
		b.path = path
		return b, c.readTimm(&b)
	case c.ModelType != "":
		b.warnings = append(b.warnings, fmt.Sprintf("%s is of a model of the type %q: what it says of pictures and classes is not followed", path, c.ModelType))
	}
	return b, nil
}

func parseForeign(path string) (c foreignConfig, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// sameNetwork refuses what a config of transformers says that is not torchvision's ResNet, and that no shape shows.
func (c *foreignConfig) sameNetwork(path string) error {
	switch {
	case c.InBottleneck:
		return fmt.Errorf("%s: downsample_in_bottleneck is true: the stride on the first 1x1 convolution (ResNet v1) is not supported", path)
	case c.InFirstStage:
		return fmt.Errorf("%s: downsample_in_first_stage is true: a stride in the first layer is not supported", path)
	case c.HiddenAct != "" && c.HiddenAct != "relu":
		return fmt.Errorf("%s: hidden_act is %q: only relu is supported", path, c.HiddenAct)
	case c.NumChannels != nil && *c.NumChannels != 3:
		return fmt.Errorf("%s: num_channels is %d: only 3 are supported", path, *c.NumChannels)
	case c.Quantization != nil:
		return fmt.Errorf("%s: quantization_config is set: quantized weights are not supported", path)
	}
	return nil
}

// readTransformers reads what transformers says of its ResNet.
func (c *foreignConfig) readTransformers(b *beside, folder string) (err error) {
	if err := c.sameNetwork(b.path); err != nil {
		return err
	}
	b.label = "LABEL_%d" // as transformers calls them
	if b.classes, err = c.classes(b.path); err != nil {
		return err
	}
	b.problem = c.ProblemType
	return readPreprocessor(b, filepath.Join(folder, "preprocessor_config.json"))
}

// preprocessor is preprocessor_config.json of transformers' image processors.
type preprocessor struct {
	Kind          string          `json:"image_processor_type"`
	OldKind       string          `json:"feature_extractor_type"`
	DoResize      *bool           `json:"do_resize"`
	Size          json.RawMessage `json:"size"` // a number or a map
	CropPct       float64         `json:"crop_pct"`
	Resample      *int            `json:"resample"` // as Pillow counts filters
	DoCenterCrop  *bool           `json:"do_center_crop"`
	CropSize      json.RawMessage `json:"crop_size"`
	DoRescale     *bool           `json:"do_rescale"`
	RescaleFactor *float64        `json:"rescale_factor"`
	DoNormalize   *bool           `json:"do_normalize"`
	Mean          []float64       `json:"image_mean"`
	Std           []float64       `json:"image_std"`
}

// readPreprocessor reads what the pictures are made for. What is said and cannot be followed is a warning.
func readPreprocessor(b *beside, path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var p preprocessor
	if err := json.Unmarshal(data, &p); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	warn := func(format string, args ...any) {
		b.warnings = append(b.warnings, path+": "+fmt.Sprintf(format, args...))
	}
	off := func(flag *bool) bool { return flag != nil && !*flag }
	if off(p.DoRescale) || p.RescaleFactor != nil && math.Abs(*p.RescaleFactor*255-1) > 1e-6 {
		return fmt.Errorf("%s: do_rescale or rescale_factor: only pixels scaled to 0..1 are supported", path)
	}
	switch {
	case off(p.DoNormalize):
		b.input.Mean, b.input.Std = [3]float64{}, [3]float64{1, 1, 1}
	case len(p.Mean) != 3 || len(p.Std) != 3:
		warn("image_mean %v and image_std %v are not three numbers each: ImageNet's %v and %v are taken", p.Mean, p.Std, b.input.Mean, b.input.Std)
	default:
		b.input.Mean, b.input.Std = [3]float64(p.Mean), [3]float64(p.Std)
	}
	kind := p.Kind + p.OldKind
	filter := map[int]string{0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
	resample := 2
	if p.Resample != nil {
		resample = *p.Resample
	} else if len(kind) >= 3 && kind[:3] == "Bit" {
		resample = 3 // its default
	}
	b.input.interpolate(filter[resample], func(name string) { warn("resample %d (%s)", resample, name) })
	short, wide, high := edges(p.Size)
	_, cropWide, cropHigh := edges(p.CropSize)
	switch {
	case off(p.DoResize):
		warn("do_resize is false, and pictures are resized")
	case short > 0 && p.DoCenterCrop == nil && (p.CropPct > 0 || len(kind) >= 8 && kind[:8] == "ConvNext"):
		if p.CropPct == 0 {
			p.CropPct = 224. / 256
		}
		if b.input.Crop, b.input.Resize = short, int(float64(short)/p.CropPct); short >= 384 {
			b.input.Resize = short
			warn("pictures of %d pixels are squashed to squares, and here their middle is cut out", short)
		}
	case p.DoCenterCrop != nil && *p.DoCenterCrop && short > 0 && cropWide > 0 && cropWide == cropHigh:
		b.input.Resize, b.input.Crop = short, cropWide
	case wide > 0 && wide == high:
		b.input.Resize, b.input.Crop = wide, wide
		warn("pictures are squashed to %d x %d pixels, and here their middle is cut out", wide, high)
	default:
		warn("size %s, crop_size %s: the middle %d pixels of pictures resized to %d are taken", p.Size, p.CropSize, b.input.Crop, b.input.Resize)
	}
	if err := b.input.check(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// edges reads a size: a number, or a map with shortest_edge or height and width.
func edges(raw json.RawMessage) (short, width, height int) {
	var n int
	if json.Unmarshal(raw, &n) == nil {
		return n, n, n
	}
	var m struct {
		Short  int `json:"shortest_edge"`
		Width  int `json:"width"`
		Height int `json:"height"`
	}
	_ = json.Unmarshal(raw, &m) // the caller sees zeros
	return m.Short, m.Width, m.Height
}

// interpolate sets the filter by its name; other gets a name that is not known.
func (in *Input) interpolate(name string, other func(name string)) {
	if !slices.Contains(interpolations, name) {
		other(name)
		return
	}
	if in.Interpolation = name; name == "bilinear" {
		in.Interpolation = ""
	}
}
