package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thaw-ml/thaw/torch"
)

// A program with CUDA whose GPU does not answer says that it is on the CPU, and why, where the device was left to it.
func TestOnTheCPUForWantOfAGPU(t *testing.T) {
	trained(t)
	without := func(reason error, args ...string) outcome {
		var out, errs bytes.Buffer
		code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs, func() error { return reason }})
		return outcome{code, out.String(), errs.String()}
	}
	tooOld := &torch.Error{Op: "cuda:0", Msg: "the NVIDIA driver is too old: install driver 580 or later"}
	const warning = "thaw: warning: on the CPU: the NVIDIA driver is too old: install driver 580 or later\n"
	for _, args := range [][]string{{"eval", "run"}, {"eval", "run", "--json"}, {"predict", "run", "good"}, {"predict", "run", "--json", "good"}} {
		want := invoke(t, "", args...)
		assert.Equal(t, outcome{exitOK, want.out, warning}, without(tooOld, args...), args)
		assert.Equal(t, want, without(tooOld, append(args, "--device=cpu")...), "asked for: %q", args)
		assert.Equal(t, want, without(nil, args...), "the GPU answers: %q", args)
	}
	got := without(errors.New("cuda:0: GeForce GTX 1080 is too old"), "bench", "--mode=graph", "resnet50-head-bs32")
	assert.Equal(t, "thaw: warning: on the CPU: cuda:0: GeForce GTX 1080 is too old\n"+
		"thaw: bench: --mode graph: none of these cases runs so on cpu\n", got.err)

	const noted = "(2 threads)\n\nwarning   on the CPU: the NVIDIA driver is too old: install driver 580 or later\nmodel "
	train := []string{"train", "spec.yaml", "phases[0].epochs=1", "threads=2"}
	assert.Contains(t, without(tooOld, train...).out, noted)
	assert.NotContains(t, without(tooOld, append(train, "device=cpu")...).out, "warning")
	assert.NotContains(t, without(nil, train...).out, "warning")
}
