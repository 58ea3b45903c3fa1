package vision_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// TestPeers is the Go side of bench/peers/check_torchvision.py, which names the folder: every checkpoint in it is loaded
// strictly, run on inputs.safetensors, and written again in both layouts.
func TestPeers(t *testing.T) {
	folder := os.Getenv("THAW_CHECK_TORCHVISION")
	if folder == "" {
		t.Skip("run bench/peers/check_torchvision.py")
	}
	inputs, err := torch.OpenCheckpoint(filepath.Join(folder, "inputs.safetensors"))
	require.NoError(t, err)
	defer inputs.Close()
	x, err := inputs.Tensor("inputs")
	require.NoError(t, err)
	defer x.Close()
	paths, err := filepath.Glob(filepath.Join(folder, "in", "*", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		if filepath.Base(path) == "config.json" {
			continue
		}
		r, report, err := vision.LoadResNet(path, vision.ResNetOptions{})
		require.NoError(t, err)
		require.Equal(t, nn.LoadReport{Loaded: len(nn.State(r))}, report)
		r.ChannelsLast()
		name := strings.NewReplacer("/", "-", ".", "-").Replace(strings.TrimPrefix(path, filepath.Join(folder, "in")+"/"))
		out := filepath.Join(folder, "out", name)
		require.NoError(t, os.MkdirAll(out, 0o755))
		for _, layout := range []vision.Layout{vision.Torchvision, vision.Transformers} {
			require.NoError(t, r.Save(filepath.Join(out, string(layout)+".safetensors"), layout))
		}
		torch.Scoped(func() {
			torch.NoGrad(func() {
				y := r.Forward(x.ContiguousAs(torch.ChannelsLast))
				err = torch.SaveCheckpoint(filepath.Join(out, "logits.safetensors"), []torch.Named{{Name: "logits", Tensor: y}}, map[string]string{"architecture": r.Architecture})
			})
		})
		require.NoError(t, err)
		r.Close()
	}
}
