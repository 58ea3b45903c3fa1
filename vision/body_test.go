package vision_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// A body is the network without its head, with norms of either kind.
func TestBody(t *testing.T) {
	r := newResNet(t, "resnet18", 5)
	fill(r)
	path := filepath.Join(t.TempDir(), "resnet18.safetensors")
	require.NoError(t, r.Save(path, vision.Torchvision))
	want := map[string]uint64{}
	for _, s := range nn.State(r) {
		want[s.Name] = s.Tensor.Digest()
	}
	for _, frozen := range []bool{false, true} {
		b, report, err := vision.LoadBody(path, vision.BodyOptions{FrozenNorms: frozen})
		require.NoError(t, err)
		t.Cleanup(b.Close)
		assert.Nil(t, b.FC)
		assert.Equal(t, "resnet18", b.Architecture)
		assert.Equal(t, [4]int{64, 128, 256, 512}, b.Channels())
		assert.Empty(t, report.Missing)
		seen := 0
		for _, s := range nn.State(b) {
			assert.Equal(t, want[s.Name], s.Tensor.Digest(), s.Name)
			seen++
		}
		norms := 20 // of a ResNet-18, whose counters go where they are frozen, and two tensors of the head with it
		if frozen {
			assert.Equal(t, len(want)-norms-2, seen)
			for key := range nn.Params(b) {
				assert.NotContains(t, key, "bn", "frozen norms have no parameters")
			}
		} else {
			assert.Equal(t, len(want)-2, seen)
		}
		torch.Scoped(func() {
			x := images("images", 2, 64)
			stages := imageStages(r)
			want := nn.RunStages(stages[:5], x, nil)[0]
			got := b.Stem(x)
			for _, layer := range []vision.Layer{b.Layer1, b.Layer2, b.Layer3, b.Layer4} {
				got = layer.Forward(got)
			}
			assert.True(t, want.AllClose(got, 1e-5, 1e-5))
		})
	}

	// Under a prefix, beside other keys.
	state := []torch.Named{}
	for _, s := range nn.State(r) {
		if !strings.HasPrefix(s.Name, "fc.") {
			state = append(state, torch.Named{Name: "backbone.body." + s.Name, Tensor: s.Tensor})
		}
	}
	state = append(state, torch.Named{Name: "head.weight", Tensor: r.FC.Weight})
	path = filepath.Join(t.TempDir(), "detector.safetensors")
	require.NoError(t, torch.SaveCheckpoint(path, state, nil))
	c, err := torch.OpenCheckpoint(path)
	require.NoError(t, err)
	defer c.Close()
	name, err := vision.DetectBody(c, "backbone.body.")
	require.NoError(t, err)
	assert.Equal(t, "resnet18", name)
	_, err = vision.DetectBody(c, "backbone.")
	assert.ErrorContains(t, err, "it has no conv1.weight")
	_, err = vision.NewBody(vision.BodyOptions{Architecture: "resnet19"})
	assert.ErrorContains(t, err, "did you mean")
	_, _, err = vision.LoadBody(path, vision.BodyOptions{Architecture: "resnet18"})
	assert.ErrorContains(t, err, "does not fit the model")
}

// A body is drawn as torchvision draws the whole network.
func TestBodyInit(t *testing.T) {
	r := newResNet(t, "resnet18", 1000)
	r.Init(torch.NewGenerator(3), vision.InitOptions{ZeroInitResidual: true})
	want := map[string]uint64{}
	for _, s := range nn.State(r) {
		want[s.Name] = s.Tensor.Digest()
	}
	b, err := vision.NewBody(vision.BodyOptions{Architecture: "resnet18", FrozenNorms: true})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	b.Init(torch.NewGenerator(3), vision.InitOptions{ZeroInitResidual: true})
	for _, s := range nn.State(b) {
		assert.Equal(t, want[s.Name], s.Tensor.Digest(), s.Name)
	}
}
