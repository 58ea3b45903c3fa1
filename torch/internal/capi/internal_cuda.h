// What the parts of capi_cuda.cpp share. Only narrow headers: ATen/cuda/CUDAContext.h and CUDAEvent.h would
// pull in the headers of cuBLAS, cuSPARSE and cuSOLVER, which the set cuda-headers does without.
#pragma once

#if !__has_include(<crt/host_config.h>)
#error "-tags cuda needs CUDA's headers, which libtorch here has not: `make deps-cuda` brings all for a machine with a GPU"
#endif

#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include "capi_cuda.h"
#include "internal.h"

namespace thaw {

// Starts CUDA in this process, once; throws, saying why, where no device answers.
void cuda_start();

// The index of a device that is there; -1 is the current one.
c10::DeviceIndex cuda_device(int32_t device);

inline c10::Device cuda(c10::DeviceIndex index) { return c10::Device(c10::DeviceType::CUDA, index); }

inline c10::cuda::CUDAStream cuda_stream(thaw_cuda_stream s) {
  return c10::cuda::CUDAStream::unpack3(s.id, cuda_device(static_cast<int32_t>(s.device)), c10::DeviceType::CUDA);
}

inline thaw_cuda_stream packed(c10::cuda::CUDAStream s) { return {s.id(), s.device_index()}; }

} // namespace thaw
