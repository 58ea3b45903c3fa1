package vision_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
)

type namesGolden struct {
	Order        []string                    // of torchvision's state dict
	Transformers map[string]map[string][]int // shapes by name, by architecture
}

// drawn is a network with its values.
func drawn(t testing.TB, name string, classes int) *vision.ResNet {
	t.Helper()
	r := newResNet(t, name, classes)
	r.Init(torch.NewGenerator(1), vision.InitOptions{})
	return r
}

func load(t testing.TB, path string, o vision.ResNetOptions) (*vision.ResNet, nn.LoadReport) {
	t.Helper()
	r, report, err := vision.LoadResNet(path, o)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r, report
}

// saved writes a network's state with other keys, leaving out those that rename to "".
func saved(t testing.TB, r *vision.ResNet, rename func(string) string) string {
	t.Helper()
	var state []torch.Named
	for _, s := range nn.State(r) {
		if s.Name = rename(s.Name); s.Name != "" {
			state = append(state, s)
		}
	}
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	require.NoError(t, torch.SaveCheckpoint(path, state, nil))
	return path
}

func same(s string) string { return s }

// digests tell whether two networks hold the same.
func digests(r *vision.ResNet) map[string]uint64 {
	out := map[string]uint64{}
	for _, s := range nn.State(r) {
		torch.Scoped(func() { out[s.Name] = s.Tensor.Contiguous().Digest() })
	}
	return out
}

func TestNamesAreTransformers(t *testing.T) {
	g := torchtest.Golden[namesGolden](t, "names.json.gz")
	require.Len(t, g.Transformers, 2)
	for name, shapes := range g.Transformers {
		r := newResNet(t, name, 3)
		got := map[string][]int{}
		for _, s := range nn.State(r) {
			foreign, ok := vision.TransformersName(s.Name)
			require.True(t, ok, s.Name)
			got[foreign] = s.Tensor.Shape()
			for _, n := range []string{foreign, strings.TrimPrefix(foreign, "resnet.")} {
				back, ok := vision.TorchvisionName(n)
				assert.True(t, ok, n)
				assert.Equal(t, s.Name, back)
			}
		}
		assert.Equal(t, shapes, got)
	}
}

func TestNamesThatAreNone(t *testing.T) {
	for _, key := range []string{"", "x", "fc", "layer1", "layer0.0.conv1.weight", "layer1.00.conv1.weight", "layer1.0.conv0.weight",
		"layer1.0.conv1", "layer1.-1.conv1.weight", "layer1.0.downsample.2.weight", "layer1.0.relu.weight", "layer1.0.1.2.conv1.weight", "bn2.weight"} {
		name, ok := vision.TransformersName(key)
		assert.False(t, ok, "%q gave %q", key, name)
	}
	for _, key := range []string{"", "conv1.weight", "classifier.weight", "classifier.0.weight", "resnet.embedder.embedder.pooler.x",
		"resnet.encoder.stages.0.layers.0.layer.0.convolution", "resnet.encoder.stages.a.layers.0.layer.0.convolution.weight",
		"resnet.encoder.stages.0.layers.0.layer.-1.convolution.weight", "resnet.encoder.stages.0.layers.0.shortcut.x.weight",
		"resnet.encoder.stages.0.layers.0.shortcut.0.convolution.weight", "resnet.encoder.stages.01.layers.0.shortcut.convolution.weight"} {
		name, ok := vision.TorchvisionName(key)
		assert.False(t, ok, "%q gave %q", key, name)
	}
}

func TestDetectArchitecture(t *testing.T) {
	for _, name := range vision.Architectures() {
		r := newResNet(t, name, 3)
		path := filepath.Join(t.TempDir(), "weights.safetensors")
		// only shapes matter, and all of a wide ResNet's would be half a gigabyte
		var state []torch.Named
		for _, s := range nn.State(r) {
			if strings.Contains(s.Name, "conv1") || strings.HasPrefix(s.Name, "layer1.0.") || s.Name == "fc.weight" {
				state = append(state, s)
			}
		}
		require.NoError(t, torch.SaveCheckpoint(path, state, nil))
		r.Close()
		c, err := torch.OpenCheckpoint(path)
		require.NoError(t, err)
		got, classes, err := vision.DetectArchitecture(c)
		require.NoError(t, err)
		assert.Equal(t, name, got)
		assert.Equal(t, 3, classes)
		require.NoError(t, c.Close())
	}
}

// What is saved, from channels-last memory too, loads in either layout, and is row-major.
func TestSaveAndLoad(t *testing.T) {
	for _, name := range []string{"resnet18", "resnext50_32x4d"} {
		r := drawn(t, name, 7)
		want := digests(r)
		r.ChannelsLast()
		for _, layout := range []vision.Layout{vision.Torchvision, vision.Transformers} {
			path := filepath.Join(t.TempDir(), "weights.safetensors")
			require.NoError(t, r.Save(path, layout))
			got, report := load(t, path, vision.ResNetOptions{})
			assert.Equal(t, nn.LoadReport{Loaded: len(want)}, report)
			assert.Equal(t, name, got.Architecture)
			assert.Equal(t, want, digests(got))
			c, err := torch.OpenCheckpoint(path)
			require.NoError(t, err)
			assert.Equal(t, map[string]string{"format": "pt"}, c.Metadata())
			assert.Len(t, c.Names(), len(want))
			for _, key := range c.Names() {
				_, foreign := vision.TorchvisionName(key)
				assert.Equal(t, layout == vision.Transformers, foreign, key)
			}
			require.NoError(t, c.Close())
		}
		assert.ErrorContains(t, r.Save(filepath.Join(t.TempDir(), "x"), "timm"), `no layout is named "timm": there are torchvision, transformers`)
	}
}

// The goldens are torch.save's files, where every tensor is its position in the state dict.
func TestLoadPickles(t *testing.T) {
	order := torchtest.Golden[namesGolden](t, "names.json.gz").Order
	for _, path := range []string{"testdata/resnet18_zip.pth", "testdata/resnet18_legacy.pth"} {
		r, report := load(t, path, vision.ResNetOptions{})
		assert.Equal(t, "resnet18", r.Architecture)
		assert.Equal(t, nn.LoadReport{Loaded: len(order)}, report)
		for _, s := range nn.State(r) {
			want := float64(slices.Index(order, s.Name))
			torch.Scoped(func() {
				all := s.Tensor.To(torch.Float32)
				assert.Equal(t, want, all.Min().Item(), s.Name)
				assert.Equal(t, want, all.Max().Item(), s.Name)
			})
		}
	}
}

func TestNewHead(t *testing.T) {
	r := drawn(t, "resnet18", 7)
	want := digests(r)
	for what, path := range map[string]string{
		"another head": saved(t, r, same),
		"no head": saved(t, r, func(key string) string {
			if strings.HasPrefix(key, "fc.") {
				return ""
			}
			return key
		}),
		"transformers' backbone": saved(t, r, func(key string) string {
			name, _ := vision.TransformersName(key)
			name, backbone := strings.CutPrefix(name, "resnet.")
			if !backbone {
				return ""
			}
			return name
		}),
	} {
		t.Run(what, func(t *testing.T) {
			got, report := load(t, path, vision.ResNetOptions{NewHead: 3, Generator: torch.NewGenerator(5)})
			assert.Equal(t, nn.LoadReport{Loaded: len(want) - 2, Skipped: []string{"fc.weight", "fc.bias"}}, report)
			assert.Equal(t, 3, got.Classes())
			body, head := digests(got), nn.NewLinear(512, 3, nn.LinearOptions{}, torch.NewGenerator(5))
			defer nn.Close(head)
			assert.Equal(t, head.Weight.Digest(), body["fc.weight"])
			assert.Equal(t, head.Bias.Digest(), body["fc.bias"])
			for key, digest := range body {
				if !strings.HasPrefix(key, "fc.") {
					assert.Equal(t, want[key], digest, key)
				}
			}
			if what != "another head" {
				_, _, err := vision.LoadResNet(path, vision.ResNetOptions{})
				assert.EqualError(t, err, path+" has no head (fc.weight): say how many classes a new one has")
			}
		})
	}
}

func TestLoadOldAndParallel(t *testing.T) {
	r := drawn(t, "resnet18", 2)
	got, report := load(t, saved(t, r, func(key string) string {
		if strings.HasSuffix(key, "tracked") {
			return ""
		}
		return "module." + key
	}), vision.ResNetOptions{})
	assert.Len(t, report.Skipped, 20)
	assert.Equal(t, digests(r), digests(got))
}

// Prefixes of DataParallel, torch.compile and Lightning go, in both layouts, and a loss's tensors beside the network
// do not matter.
func TestLoadWrapped(t *testing.T) {
	r := drawn(t, "resnet18", 2)
	for _, prefix := range []string{"module.", "_orig_mod.", "model.", "module._orig_mod.", "model._orig_mod.module."} {
		for name, rename := range map[string]func(string) string{
			"torchvision": same, "transformers": func(key string) string { name, _ := vision.TransformersName(key); return name },
		} {
			path := saved(t, r, func(key string) string { return prefix + rename(key) })
			got, report := load(t, path, vision.ResNetOptions{})
			assert.Equal(t, digests(r), digests(got), "%s %s", prefix, name)
			assert.Empty(t, report.Strays)
		}
	}
	path := saved(t, r, func(key string) string { return "model." + key })
	c, err := torch.OpenCheckpoint(path)
	require.NoError(t, err)
	defer c.Close()
	var state []torch.Named
	torchtest.Scoped(t, func() {
		for _, key := range c.Names() {
			x, err := c.Tensor(key)
			require.NoError(t, err)
			state = append(state, torch.Named{Name: key, Tensor: x})
		}
		state = append(state, torch.Named{Name: "criterion.weight", Tensor: torch.Zeros(torch.Float32, torch.CPU, 2)})
		require.NoError(t, torch.SaveCheckpoint(path+".lightning", state, nil))
	})
	got, report := load(t, path+".lightning", vision.ResNetOptions{NewHead: 5})
	assert.Equal(t, body(r), body(got))
	assert.Equal(t, []string{"criterion.weight"}, report.Strays)
	_, _, err = vision.LoadResNet(saved(t, r, func(key string) string { return "backbone." + key }), vision.ResNetOptions{})
	assert.ErrorContains(t, err, `it has no conv1.weight; its 122 keys are such as "backbone.bn1.`)
	assert.ErrorContains(t, err, `, all under "backbone."`)
}

func TestLoadIsStrict(t *testing.T) {
	r := drawn(t, "resnet18", 2)
	without := func(missing string, to string) func(string) string {
		return func(key string) string {
			if key == missing {
				return to
			}
			return key
		}
	}
	for _, c := range []struct {
		path, want string
		o          vision.ResNetOptions
	}{
		{saved(t, r, without("layer2.1.bn2.bias", "")), "1 keys missing (layer2.1.bn2.bias)", vision.ResNetOptions{}},
		{saved(t, r, without("bn1.num_batches_tracked", "")), "1 keys missing (bn1.num_batches_tracked)", vision.ResNetOptions{}},
		{saved(t, r, without("layer2.1.bn2.bias", "layer2.1.bn2.bia")), "1 keys missing (layer2.1.bn2.bias); 1 keys unexpected (layer2.1.bn2.bia)", vision.ResNetOptions{}},
		{saved(t, r, without("fc.bias", "")), "1 keys missing (fc.bias)", vision.ResNetOptions{}},
		{saved(t, r, same), "keys missing (layer1.2.conv1.weight, ", vision.ResNetOptions{Architecture: "resnet34"}},
		{saved(t, r, same), `no architecture is named "resnet19"; did you mean "resnet18"?`, vision.ResNetOptions{Architecture: "resnet19"}},
		{saved(t, r, same), "a resnet18 of -1 classes: give one or more", vision.ResNetOptions{NewHead: -1}},
		{saved(t, r, without("conv1.weight", "stem.weight")), "is no ResNet of torchvision's, timm's or transformers': it has no conv1.weight; its 122 keys are such as ", vision.ResNetOptions{}},
		{saved(t, r, without("conv1.weight", "stem.weight")), "1 keys missing (conv1.weight); 1 keys unexpected (stem.weight)", vision.ResNetOptions{Architecture: "resnet18"}},
		{saved(t, r, without("layer4.1.conv1.weight", "x")), "no architecture has layers of [2 2 2 1] basic blocks with 1 groups of 64 channels; there are resnet18, ", vision.ResNetOptions{}},
	} {
		_, _, err := vision.LoadResNet(c.path, c.o)
		if assert.ErrorContains(t, err, c.want) {
			assert.True(t, strings.HasPrefix(err.Error(), c.path), "%v names no file", err)
		}
	}
	_, _, err := vision.LoadResNet(filepath.Join(t.TempDir(), "none.safetensors"), vision.ResNetOptions{})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// Shapes that no network has must be refused, not trusted.
func TestDetectStrangeShapes(t *testing.T) {
	for name, shapes := range map[string]map[string][]int{
		"conv1.weight has the shape [3], not 4 dimensions":                             {"conv1.weight": {3}, "layer1.0.conv1.weight": {1, 1, 1, 1}},
		"fc.weight has the shape [5], not 2 dimensions":                                {"fc.weight": {5}},
		"it has no layer1.0.conv1.weight":                                              {"conv1.weight": {1, 1, 1, 1}},
		"it has no layer1.0.conv2.weight":                                              {"conv1.weight": {1, 1, 1, 1}, "layer1.0.conv1.weight": {1, 1, 1, 1}, "layer1.0.conv3.weight": {1}},
		"layers of [1 0 0 0] bottleneck blocks with 2 groups of 0 channels; there are": {"conv1.weight": {1, 1, 1, 1}, "layer1.0.conv1.weight": {1, 1, 1, 1}, "layer1.0.conv2.weight": {2, 0, 1, 1}, "layer1.0.conv3.weight": {1}},
	} {
		path := filepath.Join(t.TempDir(), "weights.safetensors")
		torchtest.Scoped(t, func() {
			var state []torch.Named
			for _, key := range slices.Sorted(maps.Keys(shapes)) {
				state = append(state, torch.Named{Name: key, Tensor: torch.Zeros(torch.Float32, torch.CPU, shapes[key]...)})
			}
			require.NoError(t, torch.SaveCheckpoint(path, state, nil))
		})
		_, _, err := vision.LoadResNet(path, vision.ResNetOptions{})
		assert.ErrorContains(t, err, name)
	}
}

// What transformers' config.json says and shapes do not show is refused where it differs.
func TestTransformersConfig(t *testing.T) {
	r := drawn(t, "resnet18", 2)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	config := filepath.Join(filepath.Dir(path), "config.json")
	for _, c := range []struct{ config, want string }{
		{`{"model_type":"resnet","hidden_act":"relu","downsample_in_bottleneck":false}`, ""},
		{`{"model_type":"resnet"}`, ""},
		{`{"model_type":"vit","hidden_act":"gelu"}`, ""},
		{`{"model_type":"resnet","downsample_in_bottleneck":true}`, config + ": downsample_in_bottleneck is true"},
		{`{"model_type":"resnet","downsample_in_first_stage":true}`, config + ": downsample_in_first_stage is true"},
		{`{"model_type":"resnet","hidden_act":"gelu"}`, config + `: hidden_act is "gelu": only relu is supported`},
		{`{"model_type":`, config + ": unexpected end of JSON input"},
	} {
		require.NoError(t, os.WriteFile(config, []byte(c.config), 0o644))
		require.NoError(t, r.Save(path, vision.Torchvision))
		load(t, path, vision.ResNetOptions{}) // the config is transformers', the weights are not
		require.NoError(t, r.Save(path, vision.Transformers))
		got, _, err := vision.LoadResNet(path, vision.ResNetOptions{})
		if c.want == "" {
			require.NoError(t, err)
			got.Close()
		} else {
			assert.ErrorContains(t, err, c.want)
		}
	}
}
