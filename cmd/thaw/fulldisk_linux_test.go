package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/finetune"
	"github.com/thaw-ml/thaw/torch"
)

// acting does something when its output holds a word for the nth time.
type acting struct {
	bytes.Buffer
	word  string
	times int
	act   func()
}

func (w *acting) Write(data []byte) (int, error) {
	if bytes.Contains(data, []byte(w.word)) {
		if w.times--; w.times == 0 {
			w.act()
		}
	}
	return w.Buffer.Write(data)
}

// A disk that is full while a run trains costs no checkpoint that was written: the run goes on as long as it needs no
// space, says what it could not write, and is the same run when there is space again.
func TestFullDisk(t *testing.T) {
	folder := workplace(t)
	settings := []string{"batch.size=4", "checkpoint={steps: 3, keep: 2}"}
	ok(t, "", append([]string{"train", "spec.yaml", "out=plain"}, settings...)...)
	disk := filepath.Join(folder, "disk")
	require.NoError(t, os.Mkdir(disk, 0o755))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("mounting a small file system, which root may: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(disk, 0)) })
	filler := filepath.Join(disk, "filler")
	fill := func() {
		f, err := os.Create(filler)
		require.NoError(t, err)
		_, err = io.Copy(f, zeros{})
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.NoError(t, f.Close())
	}

	// Until the run needs space for its weights.
	filled := &acting{word: `"msg":"checkpoint"`, times: 2, act: fill}
	errs := &bytes.Buffer{}
	args := append([]string{"train", "--log=json", "spec.yaml", "out=disk/run"}, settings...)
	assert.Equal(t, exitFailed, run(t.Context(), args, streams{nil, filled, errs, nil}))
	newest := filepath.Join(disk, "run", "checkpoints", "step-00000006.safetensors")
	assert.Equal(t, "thaw: write "+disk+"/run/weights/best.safetensors: no space left on device: "+newest+
		" is kept: make room there, and go on with thaw resume "+disk+"/run\n", errs.String())
	refused := "no checkpoint was written, the one before is kept: write " + disk + "/run/checkpoints/step-00000009.safetensors: no space left on device"
	assert.Contains(t, filled.String(), refused)
	left, err := filepath.Glob(filepath.Join(disk, "run", "checkpoints", "*"))
	require.NoError(t, err)
	assert.Equal(t, []string{"latest", "step-00000003.safetensors", "step-00000006.safetensors"}, bases(left))
	latest, err := os.ReadFile(filepath.Join(disk, "run", "checkpoints", "latest"))
	require.NoError(t, err)
	assert.Equal(t, "step-00000006.safetensors\n", string(latest))
	checkpoint, err := torch.OpenCheckpoint(newest)
	require.NoError(t, err)
	for _, name := range checkpoint.Names() {
		tensor, err := checkpoint.Tensor(name)
		require.NoError(t, err)
		tensor.Close()
	}
	require.NoError(t, checkpoint.Close())

	// As full as before, it comes to the same.
	got := invoke(t, "", "resume", "disk/run")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, newest+" is kept")

	require.NoError(t, os.Remove(filler))
	ok(t, "", "resume", "disk/run")
	assert.Equal(t, weights(t, "plain"), weights(t, "disk/run"))

	// Somebody makes room in time.
	freed := &acting{word: "no checkpoint was written", times: 1, act: func() { require.NoError(t, os.Remove(filler)) }}
	filled = &acting{word: `"msg":"checkpoint"`, times: 2, act: fill}
	args[3] = "out=disk/other"
	errs.Reset()
	assert.Equal(t, exitOK, run(t.Context(), args, streams{nil, io.MultiWriter(filled, freed), errs, nil}), errs.String())
	assert.Zero(t, freed.times)
	assert.Equal(t, weights(t, "plain"), weights(t, "disk/other"))
	assert.NoDirExists(t, "disk/other/checkpoints")
}

// A disk that is full under rank 0, which alone writes: checkpoints that find no room are told of, and the run goes on; weights that
// find none end it on all ranks, which say so. With room again it is the same run.
func TestFullDiskOfRanks(t *testing.T) {
	settings := faultPlace(t, 0.1)
	finish(t, ranks(t, 2, nil, trainArgs("plain", settings...)...))
	first := ranks(t, 2, nil, trainArgs("first", append(settings, "stop_after=1ns", "checkpoint={steps: 1}")...)...)
	for _, m := range first {
		require.Equal(t, exitStopped, m.wait(t, time.Minute), m.said.String())
	}
	newest, err := finetune.NewFolder("first").NewestCheckpoint()
	require.NoError(t, err)
	size := func(path string) int64 {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Size()
	}
	// Room for a checkpoint, but not for one beside the one before, nor for the weights.
	room := size(newest) + size("plain/weights/best.safetensors")*3/4
	smallDisk(t, "disk", room)
	args := trainArgs("disk/run", append(settings, "checkpoint={steps: 2}")...)
	all := ranks(t, 2, nil, append(args, "--log=json")...)
	for _, m := range all {
		require.Equal(t, exitFailed, m.wait(t, time.Minute), m.said.String())
		assert.Contains(t, m.said.String(), "/disk/run/weights/best.safetensors: no space left on device")
	}
	assert.Regexp(t, `^thaw: write `, all[0].said.String())
	assert.Regexp(t, `^thaw: ending an epoch: rank 0: write `, all[1].said.String())
	assert.Contains(t, all[0].out.String(), "no checkpoint was written, the one before is kept: write ")
	assert.True(t, readable(t, "disk/run"))
	require.NoError(t, syscall.Mount("", "disk", "", syscall.MS_REMOUNT, "size=64m"))
	finish(t, ranks(t, 2, nil, trainArgs("disk/run", settings...)...))
	assert.Equal(t, weights(t, "plain"), weights(t, "disk/run"))
}

// zeros are bytes without end.
type zeros struct{}

func (zeros) Read(data []byte) (int, error) {
	clear(data)
	return len(data), nil
}

// bases are the names of files, without their folders.
func bases(paths []string) (names []string) {
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}
