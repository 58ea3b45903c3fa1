package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBenchHeader(t *testing.T) {
	r := benchReport{Thaw: "1", Libtorch: "2", Device: "cuda:0", GPU: "NVIDIA H200", Precision: "bfloat16"}
	assert.Equal(t, "thaw 1 · libtorch 2 · cuda:0 NVIDIA H200 · bfloat16", r.header())
}

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
		{[]string{"bench", "--device=cpu", "--json", "model"}, "thaw: bench: --json: FOLDER/model is a folder; expected a file\n"},
		{[]string{"bench", "--device=cpu", "--json", "/proc/x.json"}, "thaw: bench: --json: nothing can be written to the folder /proc: no such file or directory\n"},
	} {
		c.want = strings.ReplaceAll(c.want, "FOLDER", folder)
		assert.Equal(t, outcome{exitUsage, "", c.want}, invoke(t, "", c.args...), "thaw %q", c.args)
	}
	before := listing(t)
	got := invoke(t, "", "bench", "--device=cpu", "--mode=graph", "--json=x.json", "resnet50-head-bs32")
	assert.Equal(t, before[1:], listing(t)[1:], "nothing is left of what was tried")
	assert.Equal(t, exitUsage, got.code)
	assert.Regexp(t, `^thaw \S+ · libtorch \S+ · cpu · float32\n$`, got.out)
	assert.Equal(t, "thaw: bench: --mode graph: none of these cases runs so on cpu\n", got.err)
}
