package capi

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What libtorch 2.11 says, word for word (c10/cuda/CUDAException.cpp).
func TestPlain(t *testing.T) {
	const everybody = "\nSearch for `cudaErrorStreamCaptureUnsupported' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information." +
		"\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect." +
		"\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
	for said, want := range map[string]string{
		"CUDA error: operation not permitted when stream is capturing" + everybody:  "CUDA error: operation not permitted when stream is capturing",
		"no\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n": "no",
		"mat1 and mat2 shapes cannot be multiplied\n":                               "mat1 and mat2 shapes cannot be multiplied",
	} {
		assert.Equal(t, want, plain(said))
	}
}
