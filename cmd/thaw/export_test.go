package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The demo's head pools by the mean, for which transformers has no class: the error names what to do, and that works.
func TestExport(t *testing.T) {
	workplace(t)
	ok(t, "", "train", "spec.yaml", "out=run")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "x"}, "transformers has no class for a classifier with pooling: mean, only for one with pooling: cls: " +
			"--to onnx holds it, or train with head.pooling: cls"},
		{[]string{"run", "x", "--to=torchvision"}, "torchvision has no network for texts: there are --to transformers and --to onnx"},
		{[]string{"run", "x", "--to=ONNX"}, `there is no format "ONNX"; did you mean "onnx"?; there are transformers, torchvision, onnx`},
		{[]string{"run", "run", "--to=onnx"}, "run exists; nothing is overwritten"},
		{[]string{"run", "x", "--to=onnx", "--adapter"}, "--adapter writes what PEFT reads: leave out --to"},
		{[]string{"none", "x", "--to=onnx"}, `there is no run folder "none"`},
		{[]string{"model", "x", "--to=onnx"}, `"model" is no run folder: it has no weights/config.json`},
		{[]string{"run", "a/b/c", "--to=onnx"}, "there is no folder a/b to make c in"},
	} {
		assert.Equal(t, outcome{exitUsage, "", "thaw: export: " + c.want + "\n"}, invoke(t, "", append([]string{"export"}, c.args...)...))
		assert.NoDirExists(t, "x")
	}
	assert.Equal(t, "out/\n", ok(t, "", "export", "run", "out/", "--to=onnx"))
	entries, err := os.ReadDir("out")
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	assert.Equal(t, []string{"README.md", "config.json", "model.onnx", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"}, names)
}
