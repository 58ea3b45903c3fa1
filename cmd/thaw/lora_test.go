package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Adapters are trained, merged for whoever opens the run, and exported alone.
func TestLoRA(t *testing.T) {
	workplace(t)
	out := ok(t, "", "train", "spec.yaml", "out=run", "head.pooling=cls", "phases=[{train: lora, epochs: 2, lr: 1e-2}]", "lora={rank: 2, layers: top 1}")
	assert.Contains(t, out, "adapters  LoRA of rank 2 in 2 layers (query, value), 256 parameters\n")
	assert.Regexp(t, `embeddings \.\.\. layer\.0 +frozen .* run once, kept`, out)
	assert.Regexp(t, `layer\.1 +trained +256 +of 7\.2k, lr 0\.01`, out)
	assert.Contains(t, ok(t, "", "eval", "run"), "accuracy")

	assert.Equal(t, "whole\n", ok(t, "", "export", "run", "whole"))
	assert.Equal(t, "alone\n", ok(t, "", "export", "--adapter", "run", "alone"))
	entries, err := os.ReadDir("alone")
	require.NoError(t, err)
	require.Len(t, entries, 2)
	assert.Equal(t, "adapter_config.json", entries[0].Name())
	assert.Equal(t, "adapter_model.safetensors", entries[1].Name())
	assert.Equal(t, ok(t, "", "predict", "run", "--json", "the film"), ok(t, "", "predict", "--model=whole", "--json", "the film"))

	for _, c := range []struct{ run, folder, want string }{
		{"run", "alone", "thaw: export: alone exists; nothing is overwritten\n"},
		{"none", "x", "thaw: export: \"none\" is no run folder\n"},
	} {
		assert.Equal(t, outcome{exitUsage, "", c.want}, invoke(t, "", "export", "--adapter", c.run, c.folder))
	}
	require.NoError(t, os.RemoveAll("run/weights/adapter"))
	assert.Equal(t, outcome{exitUsage, "", "thaw: export: run has trained no adapters: it has no weights/adapter\n"},
		invoke(t, "", "export", "--adapter", "run", "x"))
	assert.NoDirExists(t, "x")
}
