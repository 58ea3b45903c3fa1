package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch"
	"github.com/thaw-ml/thaw/torch/torchtest"
)

func TestMain(m *testing.M) {
	// No model of this machine's caches is known to the tests.
	for _, name := range []string{"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TORCH_HOME"} {
		os.Setenv(name, "/nonexistent")
	}
	if os.Getenv("THAW_TEST_MAIN") != "" { // for tests of what a process decides once
		actOnSignals()
		main()
	}
	torchtest.Main(m)
}

const sampleSpec = `model: model
head: {classes: [bad, good], pooling: mean}
data:
  train: rows.tsv
  columns: {text: t, label: l}
  test: every 5
  max_length: 16
phases:
  - {train: all, epochs: 4, lr: 5e-3, head_lr: 5e-3}
`

// workplace makes a folder with a spec, 60 rows and the tiny model of package text, and goes there.
func workplace(t testing.TB) string {
	t.Helper()
	tiny, err := filepath.Abs("../../text/testdata/tiny")
	require.NoError(t, err)
	folder := t.TempDir()
	switch t := t.(type) {
	case *testing.T:
		t.Chdir(folder)
	case *testing.F:
		t.Chdir(folder)
	}
	require.NoError(t, os.Mkdir("model", 0o755))
	for to, from := range map[string]string{"config.json": "config.json", "vocab.txt": "vocab.txt", "model.safetensors": "bare.safetensors"} {
		data, err := os.ReadFile(filepath.Join(tiny, from))
		require.NoError(t, err)
		write(t, "model/"+to, string(data))
	}
	var rows strings.Builder
	rows.WriteString("t\tl\n")
	for i := range 60 {
		label := []string{"bad", "good"}[i%2]
		fmt.Fprintf(&rows, "the film %d was %s\t%s\n", i, []string{"dull", "great"}[i%2], label)
	}
	write(t, "rows.tsv", rows.String())
	write(t, "spec.yaml", sampleSpec)
	return folder
}

func write(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
}

// listing is every path below the working folder, with its size and time.
func listing(t testing.TB) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		out = append(out, fmt.Sprint(path, " ", info.Size(), " ", info.ModTime().UnixNano()))
		return err
	}))
	return out
}

// outcome is what a run of the program came to.
type outcome struct {
	code     int
	out, err string
}

func thawIn(ctx context.Context, in io.Reader, args ...string) outcome {
	var out, err bytes.Buffer
	code := run(ctx, args, streams{in, &out, &err, nil})
	return outcome{code, out.String(), err.String()}
}

// invoke runs the program and fails when it leaves tensors behind.
func invoke(t testing.TB, in string, args ...string) outcome {
	t.Helper()
	before := torch.Stats()
	got := thawIn(t.Context(), strings.NewReader(in), args...)
	after := torch.Stats()
	assert.Equal(t, [2]int64{before.Tensors, before.Collected}, [2]int64{after.Tensors, after.Collected}, "live tensors, collected ones")
	return got
}

// ok is invoke for what must work and say nothing on the standard error.
func ok(t testing.TB, in string, args ...string) string {
	t.Helper()
	got := invoke(t, in, args...)
	require.Equal(t, outcome{0, got.out, ""}, got, "thaw %s", strings.Join(args, " "))
	return got.out
}

func TestHelp(t *testing.T) {
	for _, c := range []struct {
		args string
		says []string
	}{
		{"", []string{"train", "eval", "predict", "tokenize", "doctor", "version"}},
		{"--help", []string{"Usage: thaw <command>", "Fine-tune a model as a spec says."}},
		{"train --help", []string{"thaw train <spec> [<key=value> ...]", "runs/NAME-1", "phases[0].lr=1e-4", "go doc github.com/thaw-ml/thaw/recipe.Spec", "those in key=value to the working folder"}},
		{"eval --help", []string{"thaw eval <run>", "--data=PATH", "--columns=NAME=COLUMN,...", "--json"}},
		{"predict --help", []string{"thaw predict [<run> [<inputs> ...]]", "--model=MODEL", "--weights=FILE", "--json", "input, label, class, score, top (the five best)", "--batch=64", "(64)", "--jsonl"}},
		{"tokenize --help", []string{"thaw tokenize --model=PATH", "--max-length=N", "standard input"}},
		{"cache --help", []string{"thaw cache <command>", "$THAW_CACHE", "$THAW_CACHE_LIMIT"}},
		{"cache clear --help", []string{"thaw cache clear [<key>]", "as thaw cache ls prints it"}},
		{"doctor --help", []string{"thaw doctor", "--json"}},
		{"version --help", []string{"thaw version"}},
	} {
		got := ok(t, "", strings.Fields(c.args)...)
		for _, want := range c.says {
			assert.Contains(t, strings.Join(strings.Fields(got), " "), want, "thaw %s", c.args)
		}
		for line := range strings.Lines(got) {
			assert.LessOrEqual(t, len(line), 121, "thaw %s: %s", c.args, line)
		}
	}
}

func TestVersion(t *testing.T) {
	assert.Regexp(t, `^thaw \d+\.\d+\.\d+ · libtorch 2\.11\.0\S* · go1\.\S+\n$`, ok(t, "", "version"))
	assert.Equal(t, ok(t, "", "version"), ok(t, "", "--version"))
}

func TestWrongCommandLines(t *testing.T) {
	folder := workplace(t)
	require.NoError(t, os.MkdirAll("run/weights", 0o755))
	write(t, "run/weights/config.json", "{}")
	for _, c := range []struct {
		args []string
		want string // on the standard error
	}{
		{[]string{"trian"}, "thaw: unexpected argument trian, did you mean \"train\"? (thaw --help tells what there is)\n"},
		{[]string{"--verbose"}, "thaw: unknown flag --verbose (thaw --help tells what there is)\n"},
		{[]string{"train"}, "thaw: expected \"<spec>\" (thaw train --help tells what there is)\n"},
		{[]string{"train", "spec.yaml", "--seed=2"}, "thaw: unknown flag --seed; keys of the spec are set without dashes, as in seed=2 (thaw train --help tells what there is)\n"},
		{[]string{"train", "none.yaml"}, "thaw: train: there is no file none.yaml\n"},
		{[]string{"train", "model"}, "thaw: train: model is a folder; expected a spec, a YAML file\n"},
		{[]string{"train", "spec.yaml", "seed"}, "command line: seed: expected key=value, such as seed=2\n"},
		{[]string{"train", "spec.yaml", "phases[1].lr=1"}, "command line: phases[1].lr=1: there is no phases[1]; the last of phases is phases[0]\n"},
		{[]string{"eval"}, "thaw: expected \"<run>\" (thaw eval --help tells what there is)\n"},
		{[]string{"eval", "none"}, "thaw: eval: there is no run folder \"none\"\n"},
		{[]string{"eval", "model"}, "thaw: eval: \"model\" is no run folder: it has no weights/config.json\n"},
		{[]string{"train", "rows.tsv/spec.yaml"}, "thaw: train: rows.tsv/spec.yaml: not a directory\n"},
		{[]string{"eval", "run", "--data", "none.tsv"}, "thaw: eval: --data: there is no file or folder FOLDER/none.tsv\n"},
		{[]string{"predict"}, "thaw: predict: give a run folder, or --model MODEL\n"},
		{[]string{"predict", "a good film"}, "thaw: predict: there is no run folder \"a good film\"\n"},
		{[]string{"predict", ""}, "thaw: predict: there is no run folder \"\"\n"},
		{[]string{"predict", "model", "a good film"}, "thaw: predict: \"model\" is no run folder: it has no weights/config.json\n"},
		{[]string{"predict", "--model", "none"}, "thaw: predict: --model: there is no file or folder none, and no model is named \"none\" (thaw models lists them; a Hugging Face repository is named like org/name or org/name@revision)\n"},
		{[]string{"predict", "--model", "run"}, "thaw: predict: --model run is a run folder: thaw predict run\n"},
		{[]string{"predict", "--model", "model", "--weights", "none"}, "thaw: predict: --weights: there is no file FOLDER/none\n"},
		{[]string{"predict", "--model", "model", "--weights", "model"}, "thaw: predict: --weights: FOLDER/model is a folder; expected a file\n"},
		{[]string{"predict", "run", "--weights", "rows.tsv"}, "thaw: predict: --weights goes with --model\n"},
		{[]string{"predict", "run", "--batch", "0"}, "thaw: predict: --batch 0: give 1 or more\n"},
		{[]string{"predict", "run", "--batch", "many"}, "thaw: --batch: expected a valid 64 bit int but got \"many\" (thaw predict --help tells what there is)\n"},
		{[]string{"predict", "run", "-1 of 10"}, "thaw: unknown flag -1, did you mean \"-h\"? (thaw predict --help tells what there is)\n"},
		{[]string{"tokenize"}, "thaw: missing flags: --model=PATH (thaw tokenize --help tells what there is)\n"},
		{[]string{"tokenize", "--model", "none"}, "thaw: tokenize: --model: there is no file or folder none\n"},
		{[]string{"tokenize", "--model", "model", "--max-length=-1"}, "thaw: tokenize: --max-length -1: give 0 for no limit, or more\n"},
		{[]string{"doctor", "now"}, "thaw: unexpected argument now (thaw doctor --help tells what there is)\n"},
	} {
		before := listing(t)
		got := invoke(t, "", c.args...)
		got.err = strings.ReplaceAll(got.err, folder, "FOLDER")
		assert.Equal(t, outcome{exitUsage, "", c.want}, got, "thaw %q", c.args)
		assert.Equal(t, before, listing(t), "thaw %q", c.args)
	}
}

// Whatever stands on the command line, the program ends with a code of its own.
func TestOddCommandLines(t *testing.T) {
	workplace(t)
	odd := []string{"", "-", "--", "---", "=", "--=", "--json=maybe", "\x00", "\xff", "--model", "--model=", "--batch=99999999999999999999",
		"-h", "train", "predict", "model", "spec.yaml", "seed=", "=1", "phases[999999].lr=1", "phases[-1]=2", "out=", "data=[", "@spec.yaml", strings.Repeat("x", 5000)}
	for _, first := range []string{"train", "eval", "predict", "tokenize", "doctor", ""} {
		for _, second := range odd {
			for _, third := range []string{"", "model", "--json", "out=\x00"} {
				if first == "train" && (second == "spec.yaml" || third == "") {
					continue // trains
				}
				got := invoke(t, "", first, second, third)
				assert.Contains(t, []int{0, 1, 2}, got.code, "thaw %q %q %q", first, second, third)
				if got.code != 0 {
					assert.NotEmpty(t, got.err, "thaw %q %q %q", first, second, third)
				}
			}
		}
	}
}
