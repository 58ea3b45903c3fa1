package vision_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune/train/objective"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/torch/torchtest"
	"github.com/thaw-ml/thaw/vision"
)

// scratch is a network with random weights for pictures of 32 pixels.
func scratch(t testing.TB, architecture string, classes int) *vision.Classifier {
	t.Helper()
	c, err := vision.NewClassifier(architecture, classes, 1)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	c.Input = tiny
	return c
}

// put writes a classifier as a run does.
func put(t testing.TB, c *vision.Classifier) string {
	t.Helper()
	folder := t.TempDir()
	require.NoError(t, c.SaveConfig(folder))
	require.NoError(t, torch.SaveCheckpoint(filepath.Join(folder, "best.safetensors"), nn.State(c), nil))
	return folder
}

// run runs the stages from (included) to to (not included).
func run(c *vision.Classifier, b *vision.Batch, in nn.Values, from, to int) torch.Tensor {
	return nn.RunStages(c.Stages()[from:to], b, in)[0]
}

// some is a batch of random pixels.
func some(n int) *vision.Batch {
	b := &vision.Batch{Side: 32, Mean: []float32{0.485, 0.456, 0.406}, Std: []float32{0.229, 0.224, 0.225}}
	for i := range n {
		b.Index, b.Target.Classes = append(b.Index, i), append(b.Target.Classes, i%3)
	}
	word := torchtest.Words("pixels")
	for i := range n * 32 * 32 * 3 {
		b.Pixels = append(b.Pixels, byte(word(i)))
	}
	return b
}

func TestClassifierStages(t *testing.T) {
	for _, name := range []string{"resnet18", "resnet50"} {
		c := scratch(t, name, 3)
		var names []string
		seen := map[string]int{}
		for _, s := range c.Stages() {
			names = append(names, s.Name)
			for _, n := range nn.State(s.Module) {
				seen[s.Key+n.Name]++
			}
		}
		assert.Equal(t, []string{"stem", "layer1", "layer2", "layer3", "layer4", "pool", "head"}, names)
		want := map[string]int{}
		for _, n := range nn.State(c) {
			want[n.Name] = 1
		}
		assert.Equal(t, want, seen, "every parameter and buffer is in one stage")
		assert.Equal(t, want, func() map[string]int {
			keys := map[string]int{}
			for _, n := range nn.State(c.Net) {
				keys[n.Name] = 1
			}
			return keys
		}(), "a classifier's keys are its network's")
	}
}

// The stages one by one, in whatever parts, are the whole bit for bit, and that is the network itself.
func TestClassifierForwardByParts(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	nn.SetTraining(c, false)
	b := some(4)
	torchtest.Scoped(t, func() {
		torch.NoGrad(func() {
			whole := run(c, b, nil, 0, 7)
			assert.Equal(t, []int{4, 3}, whole.Shape())
			assert.Equal(t, c.Net.Forward(shown(b)).Digest(), whole.Digest())
			for cut := 1; cut < 7; cut++ {
				first := run(c, b, nil, 0, cut)
				// The second part reads no pixels.
				second := run(c, &vision.Batch{Index: b.Index, Target: b.Target}, nn.Values{first}, cut, 7)
				assert.Equal(t, whole.Digest(), second.Digest(), "cut before stage %d", cut)
			}
			var x nn.Values
			for stage := range 7 {
				x = nn.Values{run(c, b, x, stage, stage+1)}
			}
			assert.Equal(t, whole.Digest(), x[0].Digest())
			assert.Equal(t, []int{4, 512}, run(c, b, nil, 0, 6).Shape(), "what is kept when all but the head is frozen")
			assert.Equal(t, []int{4, 512, 1, 1}, run(c, b, nil, 0, 5).Shape())
		})
	})
}

// Of torch.nn.functional.cross_entropy, PyTorch 2.11.0, for these logits; see the formula beside each.
func TestClassifierLoss(t *testing.T) {
	logits := []float32{2, -1, 0.5, 0.25, 1.5, -0.75}
	softmax := func(row []float32) (logs []float64) {
		sum := 0.0
		for _, x := range row {
			sum += math.Exp(float64(x))
		}
		for _, x := range row {
			logs = append(logs, float64(x)-math.Log(sum))
		}
		return logs
	}
	loss := func(b *vision.Batch, x torch.Tensor, smoothing float64) float64 {
		o := (&vision.Classifier{}).Objective().(objective.Classification)
		o.LabelSmoothing = smoothing
		return o.Loss(nn.Values{x}, b.Targets()).Item()
	}
	b := &vision.Batch{Index: []int{0, 1}, Target: objective.Targets{Classes: []int{2, 1}}}
	torchtest.Scoped(t, func() {
		x := torch.FromSlice(logits, 2, 3)
		expect := func(targets [][]float64, smoothing float64) float64 {
			loss := 0.0
			for k, row := range [][]float32{logits[:3], logits[3:]} {
				for i, l := range softmax(row) {
					loss -= ((1-smoothing)*targets[k][i] + smoothing/3) * l / 2
				}
			}
			return loss
		}
		hard := [][]float64{{0, 0, 1}, {0, 1, 0}}
		assert.InDelta(t, expect(hard, 0), loss(b, x, 0), 1e-6)
		assert.InDelta(t, expect(hard, 0.1), loss(b, x, 0.1), 1e-6)
		b.Mixed, b.Share = []float32{0, 0.3, 0.7, 0, 0.7, 0.3}, 0.7
		mixed := [][]float64{{0, 0.3, 0.7}, {0, 0.7, 0.3}}
		assert.InDelta(t, expect(mixed, 0), loss(b, x, 0), 1e-6)
		assert.InDelta(t, expect(mixed, 0.1), loss(b, x, 0.1), 1e-6)
		// cross_entropy(logits, [[0, .3, .7], [0, .7, .3]], label_smoothing=0.1)
		assert.InDelta(t, 1.6005752086639404, loss(b, x, 0.1), 1e-6)
		assert.Equal(t, loss(b, x, 0.1), loss(b.With(b.Tensors()), x, 0.1))
	})
}

func TestClassifierSavesAndOpens(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	c.Classes = []string{"<gut & schön>", "日本", " 3"}
	for _, b := range nn.Modules[*nn.BatchNorm](c) { // statistics that are not those of a new network
		torch.NoGrad(func() { torch.Scoped(func() { b.RunningMean.AddScalar_(0.25) }) })
	}
	folder := put(t, c)
	again, err := vision.OpenClassifier(folder, "")
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, c.Classes, again.Classes)
	assert.Equal(t, c.Input, again.Input)
	assert.Equal(t, digests(c.Net), digests(again.Net))
	assert.Equal(t, "resnet18", again.Net.Architecture)
	assert.Equal(t, filepath.Join(folder, "best.safetensors"), again.Source)
	assert.Empty(t, again.Report.Skipped)
	nn.SetTraining(c, false)
	nn.SetTraining(again, false)
	torchtest.Scoped(t, func() {
		torch.NoGrad(func() {
			b := some(2)
			assert.Equal(t, run(c, b, nil, 0, 7).Digest(), run(again, b, nil, 0, 7).Digest())
		})
	})
	second := put(t, again)
	for _, name := range []string{"config.json", "best.safetensors"} {
		want, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(second, name))
		require.NoError(t, err)
		assert.True(t, string(want) == string(got), "%s of what was saved again", name)
	}
}

func TestOpenClassifierOfWrongFolders(t *testing.T) {
	c := scratch(t, "resnet18", 3)
	good := put(t, c)
	data, err := os.ReadFile(filepath.Join(good, "config.json"))
	require.NoError(t, err)
	for name, x := range map[string]struct {
		change func(config map[string]any) string // or the whole file
		want   string
	}{
		"another model":   {func(m map[string]any) string { m["model_type"] = "vit"; return "" }, `it is no config of a network for pictures that Thaw has trained: model_type is "vit", thaw_architecture "resnet18"`},
		"transformers'":   {func(m map[string]any) string { delete(m, "thaw_architecture"); return "" }, `model_type is "resnet", thaw_architecture ""`},
		"no architecture": {func(m map[string]any) string { m["thaw_architecture"] = "resnet19"; return "" }, `no architecture is named "resnet19"; did you mean "resnet18"?`},
		"another":         {func(m map[string]any) string { m["thaw_architecture"] = "resnet34"; return "" }, "keys missing (layer1.2.conv1.weight, "},
		"no input":        {func(m map[string]any) string { delete(m, "thaw_input"); return "" }, "thaw_input: an input of 0 pixels cut out of 0"},
		"two classes":     {func(m map[string]any) string { m["id2label"] = map[string]string{"0": "a", "1": "b"}; return "" }, "has a head of 3 classes, and FOLDER/config.json names 2"},
		"classes by name": {func(m map[string]any) string {
			m["id2label"] = map[string]string{"0": "a", "1": "b", "3": "c"}
			return ""
		}, "id2label has 3 classes, and none is numbered 2"},
		"another problem":           {func(m map[string]any) string { m["problem_type"] = "ranking"; return "" }, `FOLDER/config.json: problem_type is "ranking"; there are `},
		"a number of three outputs": {func(m map[string]any) string { m["problem_type"] = "regression"; return "" }, `FOLDER/config.json: problem_type is "regression", and the head has 3 outputs`},
		"cut off":                   {func(map[string]any) string { return string(data[:len(data)/2]) }, "FOLDER/config.json: unexpected end of JSON input"},
		"no JSON":                   {func(map[string]any) string { return "classes: 3" }, "FOLDER/config.json: invalid character 'c'"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			require.NoError(t, os.Symlink(filepath.Join(good, "best.safetensors"), filepath.Join(folder, "best.safetensors")))
			var config map[string]any
			require.NoError(t, json.Unmarshal(data, &config))
			text := []byte(x.change(config))
			if len(text) == 0 {
				if text, err = json.Marshal(config); err != nil {
					t.Fatal(err)
				}
			}
			require.NoError(t, os.WriteFile(filepath.Join(folder, "config.json"), text, 0o644))
			_, err := vision.OpenClassifier(folder, "")
			require.Error(t, err)
			assert.Contains(t, without(err, folder), x.want)
			assert.Contains(t, err.Error(), folder, "it names the file")
		})
	}
	_, err = vision.OpenClassifier(t.TempDir(), "")
	assert.ErrorIs(t, err, os.ErrNotExist)
	bare := t.TempDir()
	require.NoError(t, c.SaveConfig(bare))
	_, err = vision.OpenClassifier(bare, "")
	assert.EqualError(t, err, bare+" has no weights: looked for best.safetensors, model.safetensors, model.safetensors.index.json, pytorch_model.bin")
	_, err = vision.OpenClassifier(bare, filepath.Join(bare, "x.safetensors"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	other, err := vision.OpenClassifier(bare, filepath.Join(good, "best.safetensors"))
	require.NoError(t, err)
	other.Close()
	assert.Error(t, c.SaveConfig(filepath.Join(bare, "none")))
}
