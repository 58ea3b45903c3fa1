package detection_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
	"github.com/thaw-ml/thaw/vision/detection"
)

// saved writes a network's state, each key as rename gives it; "" leaves it out.
func saved(t *testing.T, name string, m any, rename func(key string) string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".safetensors")
	var state []torch.Named
	for _, s := range nn.State(m) {
		if rename != nil {
			s.Name = rename(s.Name)
		}
		if s.Name != "" {
			state = append(state, s)
		}
	}
	require.NoError(t, torch.SaveCheckpoint(path, state, nil))
	return path
}

func digests(m any) map[string]uint64 {
	out := map[string]uint64{}
	for _, s := range nn.State(m) {
		out[s.Name] = s.Tensor.Digest()
	}
	return out
}

var allKinds = []string{
	"fcos_resnet18_fpn", "retinanet_resnet18_fpn", "retinanet_resnet18_fpn_v2", "fasterrcnn_resnet18_fpn", "fasterrcnn_resnet18_fpn_v2",
}

func TestLoad(t *testing.T) {
	for _, name := range allKinds {
		n := newNetwork(t, name, 4)
		n.Init(torch.NewGenerator(1))
		want := digests(n)

		// What it is goes by the keys and shapes; wrappers' prefixes are taken away.
		path := saved(t, name, n, func(key string) string { return "module." + key })
		got, report, err := detection.Load(path, detection.LoadOptions{})
		require.NoError(t, err)
		t.Cleanup(got.Close)
		assert.Equal(t, name, got.Name())
		assert.Equal(t, 4, got.Classes())
		assert.Equal(t, want, digests(got))
		assert.Equal(t, len(want), report.Loaded)
		assert.Equal(t, 1e-5, detection.NormEps(got))

		// A new head: all else is the file's.
		other, report, err := detection.Load(path, detection.LoadOptions{NewHead: 7, Generator: torch.NewGenerator(3), NormEps: -1})
		require.NoError(t, err)
		t.Cleanup(other.Close)
		assert.Equal(t, 7, other.Classes())
		assert.NotEmpty(t, report.Skipped)
		for key, d := range digests(other) {
			if strings.Contains(key, "predictor") || strings.Contains(key, "cls_logits") && !strings.HasPrefix(key, "rpn.") {
				assert.NotEqual(t, want[key], d, key)
			} else {
				assert.Equal(t, want[key], d, key)
			}
		}
		if !strings.HasSuffix(name, "_v2") {
			assert.Equal(t, 0.0, detection.NormEps(other))
		}

		// Strict: what is missing is named.
		broken := saved(t, name, n, func(key string) string {
			if key == "backbone.fpn.inner_blocks.1.0.weight" {
				return ""
			}
			return key
		})
		_, _, err = detection.Load(broken, detection.LoadOptions{})
		assert.ErrorContains(t, err, "1 keys missing (backbone.fpn.inner_blocks.1.0.weight)")
	}
}

// Keys from before torchvision 0.14, whose published files have them still.
func TestLoadOldKeys(t *testing.T) {
	for name, old := range map[string]func(key string) string{
		"retinanet_resnet18_fpn": func(key string) string {
			for i, even := range []string{"0", "2", "4", "6"} {
				key = strings.Replace(key, "_head.conv."+string(rune('0'+i))+".0.", "_head.conv."+even+".", 1)
				if strings.Contains(key, "_head.conv."+even+".") {
					break
				}
			}
			return key
		},
		"fasterrcnn_resnet18_fpn": func(key string) string { return strings.Replace(key, "rpn.head.conv.0.0.", "rpn.head.conv.", 1) },
	} {
		n := newNetwork(t, name, 4)
		n.Init(torch.NewGenerator(1))
		path := saved(t, name, n, func(key string) string {
			if strings.HasPrefix(key, "backbone.fpn.") {
				key = strings.Replace(key, ".0.weight", ".weight", 1)
				key = strings.Replace(key, ".0.bias", ".bias", 1)
				if strings.HasSuffix(key, "blocks.weight") || strings.HasSuffix(key, "blocks.bias") { // the block's own number went
					key = strings.Replace(key, "blocks.", "blocks.0.", 1)
				}
			}
			return old(key)
		})
		// The first COCO weights of both: frozen norms add nothing to the variance.
		as := filepath.Join(filepath.Dir(path), strings.Replace(name, "18", "50", 1)+"_coco-"+
			map[string]string{"retinanet_resnet18_fpn": "eeacb38b", "fasterrcnn_resnet18_fpn": "258fb6c6"}[name]+".safetensors")
		require.NoError(t, os.Rename(path, as))
		got, _, err := detection.Load(as, detection.LoadOptions{})
		require.NoError(t, err, name)
		t.Cleanup(got.Close)
		assert.Equal(t, digests(n), digests(got))
		assert.Equal(t, 0.0, detection.NormEps(got))
	}
}

// A classifier's checkpoint gives the body.
func TestLoadOnClassifier(t *testing.T) {
	r, err := vision.NewResNet("resnet18", 10)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	r.Init(torch.NewGenerator(1), vision.InitOptions{})
	body := digests(r)
	path := saved(t, "resnet18", r, nil)
	for _, name := range allKinds {
		n, report, err := detection.Load(path, detection.LoadOptions{Architecture: name, NewHead: 3, Generator: torch.NewGenerator(2)})
		require.NoError(t, err, name)
		assert.Greater(t, report.Loaded, 90)
		for key, d := range digests(n) {
			if own, ok := strings.CutPrefix(key, "backbone.body."); ok {
				assert.Equal(t, body[own], d, key)
			}
		}
		again, _, err := detection.Load(path, detection.LoadOptions{Architecture: name, NewHead: 3, Generator: torch.NewGenerator(2)})
		require.NoError(t, err)
		assert.Equal(t, digests(n), digests(again), "the same seed, the same numbers")
		n.Close()
		again.Close()
	}

	before := torch.Stats().Tensors
	for _, c := range []struct {
		o    detection.LoadOptions
		says string
	}{
		{detection.LoadOptions{}, "say which detector to build on it"},
		{detection.LoadOptions{Architecture: "fcos_resnet18_fpn"}, "say how many classes a new one has"},
		{detection.LoadOptions{Architecture: "fcos_resnet5O_fpn", NewHead: 3}, `no detector is named "fcos_resnet5O_fpn"; did you mean "fcos_resnet50_fpn"?`},
		{detection.LoadOptions{Architecture: "fcos_resnet34_fpn", NewHead: 3}, "does not fit the model"},
		{detection.LoadOptions{Architecture: "fasterrcnn_resnet18_fpn", NewHead: 1}, "a fasterrcnn_resnet18_fpn of 1 classes: give 2 or more"},
	} {
		_, _, err := detection.Load(path, c.o)
		assert.ErrorContains(t, err, c.says)
	}
	_, _, err = detection.Load("nowhere.pth", detection.LoadOptions{})
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, before, torch.Stats().Tensors, "what was made before a failure is freed")
}

func TestArchitectures(t *testing.T) {
	names := detection.Architectures()
	assert.Len(t, names, 50)
	for _, name := range []string{"fcos_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn", "fasterrcnn_wide_resnet50_2_fpn_v2"} {
		assert.Contains(t, names, name)
	}
}
