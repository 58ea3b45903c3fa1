#include <c10/core/AllocatorConfig.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <mutex>

#include "internal_cuda.h"

// Of ATen/cuda/CUDAContextLight.h, which needs the headers of cuBLAS.
namespace at::cuda {
TORCH_CUDA_CPP_API void clearCublasWorkspaces();
}

using namespace thaw;
namespace caching = c10::cuda::CUDACachingAllocator;

extern "C" char *thaw_cuda_memory_stats(int32_t device, thaw_cuda_memory *m) {
  return guarded([&] {
    const auto index = cuda_device(device);
    const auto stats = caching::getDeviceStats(index);
    constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    m->allocated = stats.allocated_bytes[all].current;
    m->allocated_peak = stats.allocated_bytes[all].peak;
    m->reserved = stats.reserved_bytes[all].current;
    m->reserved_peak = stats.reserved_bytes[all].peak;
    m->allocations = stats.allocation[all].current;
    m->retries = stats.num_alloc_retries;
    m->device_allocations = stats.num_device_alloc;
    const auto [free, total] = caching::get()->getMemoryInfo(index);
    m->free = static_cast<int64_t>(free);
    m->total = static_cast<int64_t>(total);
  });
}

extern "C" char *thaw_cuda_memory_reset_peak(int32_t device) {
  return guarded([&] { caching::resetPeakStats(cuda_device(device)); });
}

extern "C" char *thaw_cuda_memory_empty_cache(void) {
  return guarded([] {
    cuda_start();
    caching::emptyCache();
  });
}

extern "C" char *thaw_cuda_memory_drop_workspaces(void) {
  return guarded([] {
    cuda_start();
    at::cuda::clearCublasWorkspaces();
  });
}

extern "C" char *thaw_cuda_memory_set_fraction(int32_t device, double fraction) {
  return guarded([&] { caching::setMemoryFraction(fraction, cuda_device(device)); });
}

extern "C" char *thaw_cuda_memory_configure(const char *settings) {
  return guarded([&] {
    cuda_start();
    // libtorch forgets some of what a call does not name, also where the call fails: so each call names all, and of what is
    // named twice the last counts.
    static std::mutex lock;
    static std::string kept = c10::CachingAllocator::getAllocatorSettings(); // the environment's
    const std::lock_guard<std::mutex> locked(lock);
    std::string all = kept.empty() ? settings : kept + "," + settings;
    try {
      c10::CachingAllocator::setAllocatorSettings(all);
    } catch (...) {
      c10::CachingAllocator::setAllocatorSettings(kept);
      throw;
    }
    kept = std::move(all);
  });
}
