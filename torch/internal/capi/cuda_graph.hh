#include <ATen/core/CachingHostAllocator.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <ATen/cuda/CUDAGraph.h>

#include "internal_cuda.h"

using namespace thaw;
namespace caching = c10::cuda::CUDACachingAllocator;

namespace {

// libtorch's graph, and what it leaves undone when a capture fails: the generators would believe for good that they are
// captured, and the allocator would go on filling the graph's pool.
struct Graph final : at::cuda::CUDAGraph {
  c10::DeviceIndex device;
  c10::MempoolId_t memory; // of the allocator's pools, the graph's

  Graph(c10::DeviceIndex on, c10::MempoolId_t pool) : device(on), memory(pool) {}

  void begin() {
    // Of this thread only: other goroutines go on pinning memory and asking events while this one captures, which a
    // global capture forbids.
    try {
      capture_begin(memory, cudaStreamCaptureModeThreadLocal);
    } catch (...) {
      abandon(/*begun=*/false);
      throw;
    }
  }

  void end() {
    try {
      capture_end();
    } catch (...) {
      abandon(/*begun=*/true);
      throw;
    }
  }

  void abandon(bool begun) {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (cudaStreamIsCapturing(capture_stream_, &status) != cudaSuccess || status != cudaStreamCaptureStatusNone) {
      cudaGraph_t partial = nullptr;
      (void)cudaStreamEndCapture(capture_stream_, &partial);
      if (partial != nullptr) (void)cudaGraphDestroy(partial);
    }
    (void)cudaGetLastError(); // said already
    for (auto &captured : captured_generator_states_) {
      captured.first->capturing_ = false;
      captured.first->offset_intragraph_ = 0;
    }
    if (capture_ended_) { // it failed after the recording
      reset();
    } else {
      // The pool may be shared, so it is given back only where the capture got as far as taking it.
      auto *host = at::getHostAllocator(at::kCUDA);
      if (succeeds([&] { caching::endAllocateToPool(device, memory); }) || begun)
        succeeds([&] { caching::releasePool(device, memory); });
      if (succeeds([&] { host->end_allocate_to_pool(memory); }) || begun)
        succeeds([&] { host->release_pool(memory); });
    }
    memory = at::cuda::graph_pool_handle(); // the allocator takes no pool again that it has given up
  }

  // What is made from now on on the current stream lies in the graph's memory, until leave.
  void enter() {
    TORCH_CHECK(capture_ended_, "the graph is not captured");
    const auto stream = c10::cuda::getCurrentCUDAStream(device).stream();
    try {
      caching::beginAllocateToPool(device, memory, [stream](cudaStream_t s) { return s == stream; });
    } catch (...) { // the pool was taken once more before it was refused
      caching::releasePool(device, memory);
      throw;
    }
  }

  void leave() {
    caching::endAllocateToPool(device, memory);
    caching::releasePool(device, memory); // which entering took once more
  }

  template <typename F> static bool succeeds(F &&f) {
    char *message = guarded(f);
    free(message);
    return message == nullptr;
  }
};

Graph *graph(thaw_cuda_graph g) { return reinterpret_cast<Graph *>(g); }

} // namespace

extern "C" char *thaw_cuda_graph_new(int32_t device, thaw_cuda_graph pool_of, thaw_cuda_graph *out) {
  return guarded([&] {
    const auto index = cuda_device(device);
    TORCH_CHECK(pool_of == 0 || graph(pool_of)->device == index, "graphs on two devices (cuda:", int(index), ", cuda:",
                int(graph(pool_of)->device), ") cannot share memory");
    c10::DeviceGuard on(cuda(index));
    *out = reinterpret_cast<thaw_cuda_graph>(
        new Graph(index, pool_of == 0 ? at::cuda::graph_pool_handle() : graph(pool_of)->memory));
  });
}

// capture_begin registers the device's default generator, the one that operators draw from when given none.
extern "C" char *thaw_cuda_graph_begin(thaw_cuda_graph g) {
  return guarded([&] { graph(g)->begin(); });
}

extern "C" char *thaw_cuda_graph_end(thaw_cuda_graph g) {
  return guarded([&] { graph(g)->end(); });
}

extern "C" void thaw_cuda_graph_abandon(thaw_cuda_graph g) { graph(g)->abandon(/*begun=*/true); }

extern "C" char *thaw_cuda_graph_replay(thaw_cuda_graph g) {
  return guarded([&] { graph(g)->replay(); });
}

extern "C" char *thaw_cuda_graph_enter(thaw_cuda_graph g) {
  return guarded([&] { graph(g)->enter(); });
}

extern "C" char *thaw_cuda_graph_leave(thaw_cuda_graph g) {
  return guarded([&] { graph(g)->leave(); });
}

extern "C" void thaw_cuda_graph_free(thaw_cuda_graph g) {
  Graph::succeeds([&] { delete graph(g); });
}
