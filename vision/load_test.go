package vision_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/hub"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/vision"
)

// body are the digests of all but the head.
func body(r *vision.ResNet) map[string]uint64 {
	out := digests(r)
	delete(out, "fc.weight")
	delete(out, "fc.bias")
	return out
}

// Whatever holds the weights, the body is theirs and the head is new, by the seed.
func TestLoadClassifier(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	own := scratch(t, "resnet18", 5)
	run := put(t, own)
	torchvisions := filepath.Join(t.TempDir(), "weights.safetensors")
	require.NoError(t, own.Net.Save(torchvisions, vision.Torchvision))
	foreign := t.TempDir()
	require.NoError(t, own.Net.Save(filepath.Join(foreign, "model.safetensors"), vision.Transformers))
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "config.json"), []byte(`{"model_type":"resnet","hidden_act":"relu","id2label":{"0":"x","1":"y","2":"z","3":"u","4":"v"}}`), 0o644))
	exported := t.TempDir()
	require.NoError(t, own.SaveTransformers(exported))
	usual := vision.Input{Resize: 256, Crop: 224, Mean: tiny.Mean, Std: tiny.Std}
	for _, c := range []struct {
		name, model, weights string
		source               string
		input                vision.Input
	}{
		{"torchvision's zip", "testdata/resnet18_zip.pth", "", "testdata/resnet18_zip.pth", usual},
		{"torchvision's old one", "testdata/resnet18_legacy.pth", "", "testdata/resnet18_legacy.pth", usual},
		{"by architecture", "resnet18", "testdata/resnet18_zip.pth", "testdata/resnet18_zip.pth", usual},
		{"safetensors", torchvisions, "", torchvisions, usual},
		{"transformers' file", foreign + "/model.safetensors", "", foreign + "/model.safetensors", usual},
		{"transformers' folder", foreign, "", foreign + "/model.safetensors", usual},
		{"exported for transformers", exported, "", exported + "/model.safetensors", usual},
		{"a run's folder", run, "", run + "/best.safetensors", tiny},
		{"a run's file", run + "/best.safetensors", "", run + "/best.safetensors", tiny},
		{"a run's folder with other weights", run, torchvisions, torchvisions, tiny},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func(seed uint64) *vision.Classifier {
				got, err := vision.LoadClassifier(c.model, c.weights, vision.Head{Classes: []string{"a", "b", "c"}, Seed: seed})
				require.NoError(t, err)
				t.Cleanup(got.Close)
				return got
			}
			got, same, other := open(7), open(7), open(8)
			if !strings.HasPrefix(c.name, "exported") {
				assert.Equal(t, c.input, got.Input)
			}
			assert.Equal(t, c.source, got.Source)
			assert.Equal(t, []string{"a", "b", "c"}, got.Classes)
			assert.Equal(t, 3, got.Net.Classes())
			assert.Equal(t, []string{"fc.weight", "fc.bias"}, got.Report.Skipped)
			assert.Equal(t, digests(got.Net), digests(same.Net))
			assert.Equal(t, body(got.Net), body(other.Net))
			assert.NotEqual(t, got.Net.FC.Weight.Digest(), other.Net.FC.Weight.Digest())
			if strings.HasSuffix(c.source, "safetensors") {
				assert.Equal(t, body(own.Net), body(got.Net))
			} else {
				torch.Scoped(func() { assert.Equal(t, 0.0, got.Net.Conv1.Weight.Max().Item(), "the golden's first tensor is zeros") })
			}
			// The same with the head that the weights have.
			whole, err := vision.OpenPretrained(c.model, c.weights)
			require.NoError(t, err)
			defer whole.Close()
			assert.Equal(t, body(got.Net), body(whole.Net))
			assert.Len(t, whole.Classes, whole.Net.Classes())
			assert.Equal(t, got.Input, whole.Input)
		})
	}
	random, err := vision.LoadClassifier("resnet18", "none", vision.Head{Classes: []string{"a", "b"}, Seed: 3})
	require.NoError(t, err)
	defer random.Close()
	assert.Equal(t, []string{"random", "ResNet-18"}, []string{random.Source, random.Name()})
	again, err := vision.LoadClassifier("resnet18", "none", vision.Head{Classes: []string{"a", "b"}, Seed: 3})
	require.NoError(t, err)
	defer again.Close()
	assert.Equal(t, digests(random.Net), digests(again.Net))
}

// Classes are called as the weights' folder calls them, as ImageNet does where there are 1000, and else by number.
func TestOpenPretrainedNamesClasses(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	three := scratch(t, "resnet18", 3)
	three.Classes = []string{"cat", "dog", "cow"}
	exported := t.TempDir()
	require.NoError(t, three.SaveTransformers(exported))
	foreign := t.TempDir()
	require.NoError(t, three.Net.Save(filepath.Join(foreign, "model.safetensors"), vision.Transformers))
	require.NoError(t, os.WriteFile(filepath.Join(foreign, "config.json"), []byte(`{"model_type":"resnet","id2label":{"0":"cat","1":"dog","2":"cow"},"label2id":{"cat":"0"}}`), 0o644))
	bare := filepath.Join(t.TempDir(), "three.safetensors")
	require.NoError(t, three.Net.Save(bare, vision.Torchvision))
	thousand := scratch(t, "resnet18", 1000)
	imagenet := filepath.Join(t.TempDir(), "thousand.safetensors")
	require.NoError(t, thousand.Net.Save(imagenet, vision.Torchvision))
	for path, want := range map[string][]string{
		put(t, three): three.Classes, exported: three.Classes, foreign: three.Classes, bare: {"0", "1", "2"}, imagenet: hub.Categories("imagenet"),
	} {
		c, err := vision.OpenPretrained(path, "")
		require.NoError(t, err)
		assert.Equal(t, want, c.Classes, path)
		c.Close()
	}
	assert.Equal(t, "tench", hub.Categories("imagenet")[0])
}

func TestLoadClassifierOfWrongSources(t *testing.T) {
	t.Setenv("TORCH_HOME", t.TempDir())
	folder := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644))
	}
	whole, err := os.ReadFile("testdata/resnet18_zip.pth")
	require.NoError(t, err)
	write("half.pth", string(whole[:len(whole)/2]))
	write("text.pth", "I am no checkpoint")
	write("empty.pth", "")
	write("none/readme.txt", "nothing")
	write("cut/config.json", `{"model_type": "resnet", "thaw_architecture": "resnet18", "thaw_input": `)
	write("cut/best.safetensors", "")
	bert := filepath.Join(folder, "bert.safetensors")
	require.NoError(t, torch.Try(func() {
		torch.Scoped(func() {
			err = torch.SaveCheckpoint(bert, []torch.Named{{Name: "embeddings.word_embeddings.weight", Tensor: torch.Zeros(torch.Float32, torch.CPU, 2, 2)}}, nil)
		})
	}))
	require.NoError(t, err)
	for _, c := range []struct {
		name, model, weights, want string
	}{
		{"no file", "FOLDER/x.pth", "", "stat FOLDER/x.pth: no such file or directory"},
		{"an architecture without weights", "resnet18", "", "resnet18 is an architecture: name a file of weights too, or none for random ones"},
		{"no architecture", "resnet5", "none", `no architecture is named "resnet5"`},
		{"a file without weights", "FOLDER/half.pth", "none", `no architecture is named "FOLDER/half.pth"`},
		{"no architecture, but weights", "resnet51", "FOLDER/half.pth", `no file, folder or architecture is named resnet51; did you mean "resnet50"?`},
		{"no weights", "resnet18", "FOLDER/x.pth", "stat FOLDER/x.pth: no such file or directory"},
		{"another architecture", "resnet34", "testdata/resnet18_zip.pth", "keys missing (layer1.2.conv1.weight, "},
		{"half a file", "FOLDER/half.pth", "", "FOLDER/half.pth: "},
		{"a text", "FOLDER/text.pth", "", "FOLDER/text.pth: "},
		{"nothing", "FOLDER/empty.pth", "", "FOLDER/empty.pth: "},
		{"a folder without weights", "FOLDER/none", "", "FOLDER/none has no weights: looked for best.safetensors, model.safetensors, model.safetensors.index.json, pytorch_model.bin"},
		{"half a config", "FOLDER/cut", "", "FOLDER/cut/config.json: unexpected end of JSON input"},
		{"another network", "FOLDER/bert.safetensors", "", "FOLDER/bert.safetensors is no ResNet of torchvision's, timm's or transformers': it has no conv1.weight; its 1 key is \"embeddings.word_embeddings.weight\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			model, weights := strings.ReplaceAll(c.model, "FOLDER", folder), strings.ReplaceAll(c.weights, "FOLDER", folder)
			_, err := vision.LoadClassifier(model, weights, twoClasses)
			require.Error(t, err)
			assert.Contains(t, without(err, folder), c.want)
		})
	}
	_, err = vision.LoadClassifier("testdata/resnet18_zip.pth", "", vision.NewHead("a"))
	assert.EqualError(t, err, "a head with 1 classes: give two or more")
	_, err = vision.OpenPretrained("resnet18", "none")
	assert.EqualError(t, err, "random weights predict nothing: name a file of weights")
	_, err = vision.OpenPretrained("resnet18", "")
	assert.ErrorContains(t, err, "there is no file or folder resnet18, and resnet18 is not here: thaw download resnet18 brings it")
	_, err = vision.OpenPretrained("resnet5", "")
	assert.ErrorContains(t, err, `no model is named "resnet5"; did you mean "resnet50"?`)
}
