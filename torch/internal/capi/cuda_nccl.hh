// NCCL's part in processes that train together, each with a GPU.
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "dist.h"

using namespace thaw;

extern "C" char *thaw_group_new_nccl(thaw_store s, int32_t rank, int32_t size, int32_t device, int64_t timeout_ms, thaw_group *out) {
  return guarded([&] {
    auto o = c10d::ProcessGroupNCCL::Options::create();
    o->timeout = std::chrono::milliseconds(timeout_ms);
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(store_of(s)->store, rank, size, o);
    nccl->setBoundDeviceId(c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(device)));
    *out = new_group(store_of(s)->store, rank, size, c10::kCUDA, c10d::ProcessGroup::BackendType::NCCL, nccl);
  });
}

extern "C" char *thaw_group_abort_nccl(thaw_group g) {
  return guarded([&] { group_of(g)->backend->abort(); });
}
