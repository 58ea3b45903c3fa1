package recipe

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/finetune/train/metric"
	"github.com/thaw-ml/thaw/text"
	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/nn"
	"github.com/thaw-ml/thaw/vision"
)

// card reads an export's model card: its front matter, and the rest.
func card(t *testing.T, folder string) (matter map[string]any, rest string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "README.md"))
	require.NoError(t, err)
	parts := strings.SplitN(string(data), "---\n", 3)
	require.Len(t, parts, 3)
	require.NoError(t, yaml.Unmarshal([]byte(parts[1]), &matter))
	assert.NotContains(t, string(data), here(t), "paths of the machine")
	return matter, parts[2]
}

// The card says what the run has measured, and no more.
func TestExportCard(t *testing.T) {
	for _, c := range []struct {
		name, head, rows string
		to               Format
		want             []string
	}{
		{"classes", classesHead, sampleRows(40), ONNX, []string{"one of several classes", "| 0 | bad |\n| 1 | good |", "| class | precision |"}},
		{"labels", labelsHead, genreRows(40), ONNX, []string{"any number of labels", "| 0 | action |", "sigmoid"}},
		{"number", regressionHead, starRows(40), Transformers, []string{"gives texts a number", `function_to_apply="none"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			unchanged(t)
			result, run := trainedAs(t, c.head, c.rows, "data.test=0.25")
			require.NoError(t, run.Export("out", c.to))
			matter, rest := card(t, "out")
			assert.Equal(t, "text-classification", matter["pipeline_tag"])
			assert.Equal(t, []any{"thaw", "text-classification"}, matter["tags"])
			assert.NotContains(t, matter, "license")
			index := matter["model-index"].([]any)[0].(map[string]any)
			assert.Equal(t, "out", index["name"])
			measured := index["results"].([]any)[0].(map[string]any)
			assert.Equal(t, map[string]any{"name": "rows.tsv", "type": "rows.tsv"}, measured["dataset"])
			values := map[string]float64{}
			for _, m := range measured["metrics"].([]any) {
				value, err := strconv.ParseFloat(fmt.Sprint(m.(map[string]any)["value"]), 64)
				require.NoError(t, err)
				values[m.(map[string]any)["type"].(string)] = value
			}
			for _, v := range result.Best.Values {
				assert.InDelta(t, v.Value, values[v.Name], 1e-12, v.Name)
				assert.Contains(t, rest, fmt.Sprintf("| %s | %.4f | %.4f |", cell(v.Name), result.Before.Value(v.Name), v.Value))
			}
			assert.Len(t, values, len(result.Best.Values))
			for _, want := range append(c.want, "fine-tuned from `model`", result.TrainData, result.TestData, "| training | rows.tsv | ",
				"| test | 0.25 of rows.tsv | ", fmt.Sprintf("Seed %d, 4 epochs", result.Seed), "  train: rows.tsv\n") {
				assert.Contains(t, rest, want)
			}
		})
	}
}

// A run of a Go program has no spec, and class names may be anything.
func TestExportOfAGoProgram(t *testing.T) {
	unchanged(t)
	workplace(t)
	names := []string{"a \"b\" | `c`\n# d", "é: [x]"}
	program(t, "run", text.NewHead(names...), reviewItems(0, 32), reviewItems(32, 40))
	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()
	for _, to := range []Format{Transformers, ONNX} {
		require.NoError(t, run.Export("out-"+string(to)+"/", to))
		matter, rest := card(t, "out-"+string(to))
		assert.Equal(t, string(to), matter["library_name"])
		assert.NotContains(t, matter, "base_model")
		assert.Contains(t, rest, "| 0 | a \"b\" \\| \\`c\\` ⏎ \\# d |\n| 1 | é: \\[x\\] |\n")
		assert.NotContains(t, rest, "The spec")
		assert.Regexp(t, `\| training \|  \| 32 texts, sha256 [0-9a-f]{16}, tokens [0-9a-f]{16} \|\n\| test \|  \| 8 texts, sha256 [0-9a-f]{16}, tokens [0-9a-f]{16} \|`, rest)
		opened, err := OpenModel("out-"+string(to), "")
		if to == ONNX {
			require.EqualError(t, err, "out-onnx was exported for ONNX, which Thaw writes and does not read: name the run")
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, names, opened.Labels())
		opened.Close()
	}
}

// What a format has no form for is told before anything is written, with one that has.
func TestExportRefuses(t *testing.T) {
	unchanged(t)
	workplace(t)
	program(t, "run", text.Head{Classes: []string{"bad", "good"}, Pooling: text.Mean}, reviewItems(0, 32), reviewItems(32, 40))
	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()
	require.NoError(t, os.WriteFile("file", nil, 0o666))
	for want, err := range map[string]error{
		"transformers has no class for a classifier with pooling: mean, only for one with pooling: cls: --to onnx holds it, or train with head.pooling: cls": run.Export("x", Transformers),
		"torchvision has no network for texts: there are --to transformers and --to onnx":                                                                    run.Export("x", Torchvision),
		"run exists; nothing is overwritten":                                                        run.Export("run", ONNX),
		"there is no folder none to make x in":                                                      run.Export("none/x", ONNX),
		"exporting to file/x: not a directory":                                                      run.Export("file/x", ONNX),
		`there is no format "onx"; did you mean "onnx"?; there are transformers, torchvision, onnx`: formatError("onx"),
	} {
		assert.EqualError(t, err, want)
	}
	entries, err := filepath.Glob(".thaw-*")
	require.NoError(t, err)
	assert.Empty(t, entries)
	assert.NoDirExists(t, "x")
}

func formatError(name string) error {
	_, err := ParseFormat(name)
	return err
}

// A disk that is full leaves nothing, and the error names the file as it would have been called. The test runs itself as
// another process, whose files the kernel refuses to let grow as it does on a full disk.
func TestExportOnFullDisk(t *testing.T) {
	const marker = "THAW_TEST_FULL_DISK"
	if os.Getenv(marker) == "" {
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestExportOnFullDisk$")
		c.Env = append(os.Environ(), marker+"=1")
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}
	unchanged(t)
	workplace(t)
	program(t, "run", text.NewHead("bad", "good"), reviewItems(0, 32), reviewItems(32, 40))
	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	limit.Cur = 8 << 10
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
	assert.EqualError(t, run.Export("out", Transformers), "exporting to out: write out/model.safetensors: file too large")
	assert.EqualError(t, run.Export("out", ONNX), "exporting to out: write out/model.onnx: file too large")
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	for _, e := range entries {
		assert.NotRegexp(t, `^(out|\.thaw)`, e.Name())
	}
}

// A run that has not ended has no summary: its best weights so far are exported, and the card says so.
func TestExportOfRunThatHasNotEnded(t *testing.T) {
	unchanged(t)
	workplace(t)
	program(t, "run", text.NewHead("bad", "good"), reviewItems(0, 32), reviewItems(32, 40))
	require.NoError(t, os.Remove("run/summary.json"))
	require.NoError(t, filepath.WalkDir("run", func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		mode := os.FileMode(0o444)
		if d.IsDir() {
			mode = 0o555
		}
		return os.Chmod(path, mode)
	}))
	t.Cleanup(func() { _ = os.Chmod("run", 0o755); _ = os.Chmod("run/weights", 0o755) })
	run, err := OpenRun("run")
	require.NoError(t, err)
	defer run.Close()
	require.NoError(t, run.Export("out", Transformers))
	_, rest := card(t, "out")
	assert.Contains(t, rest, "The run had not ended when this was exported")
	require.NoError(t, os.Chmod("run", 0o755))
	require.NoError(t, os.WriteFile("run/summary.json", []byte("{"), 0o666))
	assert.ErrorContains(t, run.Export("other", Transformers), "exporting to other: run/summary.json: ")
	assert.NoDirExists(t, "other")
}

func TestExportOfImages(t *testing.T) {
	unchanged(t)
	t.Chdir(t.TempDir())
	for _, architecture := range []string{"resnet18", "resnext50_32x4d"} {
		c, err := vision.NewClassifier(architecture, 2, 1)
		require.NoError(t, err)
		defer c.Close()
		c.Classes = []string{"cat", "dog"}
		weights := filepath.Join(architecture, finetune.WeightsDir)
		require.NoError(t, os.MkdirAll(weights, 0o777))
		require.NoError(t, c.SaveConfig(weights))
		require.NoError(t, torch.SaveCheckpoint(filepath.Join(weights, "best.safetensors"), nn.State(c), nil))
		run, err := OpenRun(architecture)
		require.NoError(t, err)
		defer run.Close()
		for _, to := range Formats() {
			out := architecture + "-" + string(to)
			err := run.Export(out, to)
			if architecture != "resnet18" && to == Transformers {
				assert.EqualError(t, err, "transformers has no class for a resnext50_32x4d: --to torchvision and --to onnx have one")
				continue
			}
			require.NoError(t, err)
			matter, rest := card(t, out)
			assert.Equal(t, "image-classification", matter["pipeline_tag"])
			assert.Contains(t, rest, "| 0 | cat |\n| 1 | dog |\n")
			if to != ONNX {
				again, err := OpenModel(out, "")
				require.NoError(t, err)
				assert.Equal(t, c.Classes, again.Labels())
				again.Close()
			}
		}
	}
}

func TestCardOfModelInTheCache(t *testing.T) {
	for model, want := range map[string][2]string{
		"bert-base-uncased": {"bert-base-uncased", ""}, "hf:microsoft/resnet-50@abc": {"microsoft/resnet-50", "abc"},
		"/home/me/.cache/huggingface/hub/models--sentence-transformers--all-MiniLM-L6-v2/snapshots/c9745ed1d9f207416be6d2e6f8de32d1f16199bf": {
			"sentence-transformers/all-MiniLM-L6-v2", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"},
		"/home/me/resnet50-11ad3fa6.pth": {"resnet50-11ad3fa6.pth", ""},
	} {
		name, revision := baseModel(&Spec{Model: model})
		assert.Equal(t, want, [2]string{name, revision}, model)
	}
}

func TestCardOrigin(t *testing.T) {
	assert.Equal(t, "fine-tuned", origin(nil))
	for want, s := range map[string]Spec{
		"trained from random weights (`resnet18`)":            {Model: "resnet18", Weights: "none"},
		"fine-tuned from the weights `own.pth` (`resnet18`)":  {Model: "resnet18", Weights: "/home/me/own.pth"},
		"fine-tuned from `model`":                             {Model: "/home/me/model"},
		"fine-tuned from `org/name` at revision `0123456789`": {Model: "/x/models--org--name/snapshots/0123456789"},
	} {
		assert.Equal(t, want, origin(&s))
	}
}

// A run that was stopped, and one without test data, say so.
func TestCardResults(t *testing.T) {
	var b bytes.Buffer
	cardResults(&b, &finetune.Result{Best: metric.Score{Loss: 0.5, Rows: 1234}, BestEpoch: 2, Epochs: make([]finetune.Epoch, 3), Stopped: true})
	assert.Contains(t, b.String(), "On the 1,234 test samples, after epoch 2 of 3")
	assert.Contains(t, b.String(), "the run was stopped before all of its epochs were done")
	b.Reset()
	cardResults(&b, &finetune.Result{})
	assert.Contains(t, b.String(), "Nothing was measured")
}

var paths = regexp.MustCompile(`(^|[\s"'=])/[\w.-]+/`)

// The spec in a card has no folders of the machine.
func TestPublicSpec(t *testing.T) {
	path := filepath.Join(t.TempDir(), "spec.yaml")
	write(t, path, `kind: texts
model: /cache/models--a--b/snapshots/0123456789ab
weights: "/home/me/own.safetensors"
data:
  train: /secret/place/rows.tsv
  test: /secret/place/test.tsv
head: {classes: [a, "b/c", 'd: e']}
out: /home/me/runs/x
seed: 1
`)
	got, err := publicSpec(path)
	require.NoError(t, err)
	assert.Equal(t, `kind: texts
model: a/b@0123456789ab
weights: "own.safetensors"
data:
  train: rows.tsv
  test: test.tsv
head: {classes: [a, "b/c", 'd: e']}
seed: 1
`, string(got))
	assert.False(t, paths.Match(got))
}
