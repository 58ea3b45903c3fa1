package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thaw-ml/thaw/torch/cuda"
)

func TestDoctor(t *testing.T) {
	got := ok(t, "", "doctor")
	assert.Regexp(t, `(?s)^thaw      \S+ \(go.*\nlibtorch  2\.11\.0.*, /.*\ncpu       .* threads? on \d+ cores?\nproducts  float32 \d+ GFLOPS, bfloat16 \d+ GFLOPS .* is the faster here\n(limits .*\n)?(shm .*\n)?jpeg      \S.*\n`, got)
	assert.Contains(t, got, "\nall works: a matrix product, a convolution and a small JPEG on the CPU")
	var fields map[string]any
	require.NoError(t, json.Unmarshal([]byte(ok(t, "", "doctor", "--json")), &fields))
	assert.Empty(t, fields["problems"])
	assert.NotNil(t, fields["problems"])
	help := ok(t, "", "doctor", "--help")
	for name := range fields {
		assert.Contains(t, help, name)
	}
}

// What decodes JPEGs is looked for once in a process.
func TestDoctorOfJPEGs(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	for _, c := range []struct {
		library string
		code    int
		want    string
	}{
		{"/nope", exitFailed, `(?s)\njpeg      no decoder: pictures cannot be read\n.*\nproblem   jpeg: THAW_TURBOJPEG=/nope: .*; name a libturbojpeg\.so\.0, or set it to off\n$`},
		{"off", exitOK, `(?s)\njpeg      Go's image/jpeg: slower; THAW_TURBOJPEG=off asks for it\n.*\nall works: `},
	} {
		var out bytes.Buffer
		doctor := exec.CommandContext(t.Context(), self, "doctor")
		doctor.Env = append(os.Environ(), "THAW_TEST_MAIN=1", "THAW_TURBOJPEG="+c.library)
		doctor.Stdout = &out
		err := doctor.Run()
		if c.code != exitOK {
			assert.Error(t, err, c.library)
		}
		assert.Equal(t, c.code, doctor.ProcessState.ExitCode(), c.library)
		assert.Regexp(t, c.want, out.String())
	}
}

// What the doctor says of GPUs, on a machine without one.
func TestDoctorOfGPUs(t *testing.T) {
	h200 := cuda.Properties{Index: 0, Name: "NVIDIA H200", TotalMemory: 150e9, ComputeCapability: cuda.Version{Major: 9}, Multiprocessors: 132}
	d := diagnosis{CUDA: &cudaFound{Driver: "13.0", Devices: []gpuFound{found(h200)}}}
	data, err := json.Marshal(d.CUDA.Devices)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"index": 0, "name": "NVIDIA H200", "memory_bytes": 150000000000, "compute_capability": "9.0", "multiprocessors": 132}]`, string(data))
	var out bytes.Buffer
	d.print(streams{out: &out})
	assert.Contains(t, out.String(), "\ncuda:0    NVIDIA H200, 150 GB, compute capability 9.0\n")
	assert.Contains(t, out.String(), "\nall works: a matrix product, a convolution and a small JPEG on the CPU; "+
		"on the GPU the first two, attention, a recorded graph, and a product of bfloat16 where it has that\n")

	d.try("cuda", &cuda.Error{Op: "devices", Msg: "no driver answers"})
	d.try("cuda:0", errors.New("a convolution differs"))
	assert.Equal(t, []string{"cuda: devices: no driver answers", "cuda:0: a convolution differs"}, d.Problems)
}

func TestDoctorOfSharedCPUs(t *testing.T) {
	d := diagnosis{Cores: 4, Threads: 2, Taken: 0.1}
	assert.Empty(t, d.cpuHints())
	d.CPULimit, d.Taken = 1.5, 0.93
	hints := d.cpuHints()
	require.Len(t, hints, 2)
	assert.Contains(t, hints[0], "the control group allows 1.5 of 4 CPUs: 2 threads compute")
	assert.Contains(t, hints[1], "other programs take 0.9 of 4 CPUs")
	d.CPULimit, d.Taken = 4, 0
	assert.Empty(t, d.cpuHints())
}
