package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBenchLists(t *testing.T) {
	all := strings.Fields(ok(t, "", "bench", "--list"))
	assert.Len(t, all, 15)
	assert.Contains(t, all, "bert-base-full-len128-bs16")
	assert.Equal(t, "resnet50-head-bs32\nresnet50-head-bs256\n", ok(t, "", "bench", "--list", "resnet.*head"))
}

func TestWrongBench(t *testing.T) {
	folder := workplace(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"bench", "gpt"}, "thaw: bench: no case matches \"gpt\"; thaw bench --list tells what there is\n"},
		{[]string{"bench", "("}, "thaw: bench: error parsing regexp: missing closing ): `(`\n"},
		{[]string{"bench", "--seconds", "0"}, "thaw: bench: --seconds must be above 0, and --rounds 1 or more\n"},
		{[]string{"bench", "--rounds", "0"}, "thaw: bench: --seconds must be above 0, and --rounds 1 or more\n"},
		{[]string{"bench", "--device", "cuda"}, "thaw: bench: --device: cuda:0: this program has no CUDA: build it with -tags cuda after make deps-cuda\n"},
		{[]string{"bench", "--json", "none/x.json"}, "thaw: bench: --json: there is no folder FOLDER/none\n"},
	} {
		c.want = strings.ReplaceAll(c.want, "FOLDER", folder)
		assert.Equal(t, outcome{exitUsage, "", c.want}, thaw(t, "", c.args...), "thaw %q", c.args)
	}
	got := thaw(t, "", "bench", "--device=cpu", "--mode=graph", "resnet50-head-bs32")
	assert.Equal(t, exitUsage, got.code)
	assert.Equal(t, "thaw: bench: --mode graph: none of these cases runs so on cpu\n", got.err)
}
