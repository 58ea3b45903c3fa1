#include "internal_cuda.h"

using namespace thaw;

// ---- stream ----

extern "C" char *thaw_cuda_stream_new(int32_t device, int32_t high_priority, thaw_cuda_stream *out) {
  return guarded([&] { *out = packed(c10::cuda::getStreamFromPool(high_priority != 0, cuda_device(device))); });
}

extern "C" char *thaw_cuda_stream_current(int32_t device, thaw_cuda_stream *out) {
  return guarded([&] { *out = packed(c10::cuda::getCurrentCUDAStream(cuda_device(device))); });
}

extern "C" char *thaw_cuda_stream_enter(thaw_cuda_stream s, int32_t *device_before, thaw_cuda_stream *before) {
  return guarded([&] {
    const auto stream = cuda_stream(s);
    *before = packed(c10::cuda::getCurrentCUDAStream(stream.device_index()));
    *device_before = c10::cuda::ExchangeDevice(stream.device_index());
    c10::cuda::setCurrentCUDAStream(stream);
  });
}

extern "C" char *thaw_cuda_stream_exit(int32_t device_before, thaw_cuda_stream before) {
  return guarded([&] {
    c10::cuda::setCurrentCUDAStream(cuda_stream(before));
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(device_before));
  });
}

extern "C" char *thaw_cuda_stream_synchronize(thaw_cuda_stream s) {
  return guarded([&] { cuda_stream(s).synchronize(); });
}

extern "C" char *thaw_cuda_stream_query(thaw_cuda_stream s, int32_t *done) {
  return guarded([&] { *done = cuda_stream(s).query(); });
}

// ---- event ----

namespace {

struct Event {
  cudaEvent_t event = nullptr;
  c10::DeviceIndex device;
};

Event *event(thaw_cuda_event e) { return reinterpret_cast<Event *>(e); }

} // namespace

extern "C" char *thaw_cuda_event_new(int32_t device, int32_t timing, thaw_cuda_event *out) {
  return guarded([&] {
    Event made{nullptr, cuda_device(device)};
    c10::DeviceGuard on(cuda(made.device));
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&made.event, timing ? cudaEventDefault : cudaEventDisableTiming));
    *out = reinterpret_cast<thaw_cuda_event>(new Event(made));
  });
}

extern "C" char *thaw_cuda_event_record(thaw_cuda_event e, thaw_cuda_stream s) {
  return guarded([&] {
    const auto stream = cuda_stream(s);
    TORCH_CHECK(stream.device_index() == event(e)->device, "an event of cuda:", int(event(e)->device),
                " cannot be recorded on a stream of cuda:", int(stream.device_index()));
    c10::DeviceGuard on(cuda(event(e)->device));
    C10_CUDA_CHECK(cudaEventRecord(event(e)->event, stream));
  });
}

extern "C" char *thaw_cuda_event_block(thaw_cuda_event e, thaw_cuda_stream s) {
  return guarded([&] {
    const auto stream = cuda_stream(s);
    c10::DeviceGuard on(stream.device());
    C10_CUDA_CHECK(cudaStreamWaitEvent(stream, event(e)->event, 0));
  });
}

extern "C" char *thaw_cuda_event_synchronize(thaw_cuda_event e) {
  return guarded([&] { C10_CUDA_CHECK(cudaEventSynchronize(event(e)->event)); });
}

extern "C" char *thaw_cuda_event_query(thaw_cuda_event e, int32_t *done) {
  return guarded([&] {
    const cudaError_t err = cudaEventQuery(event(e)->event);
    *done = err == cudaSuccess;
    if (err == cudaErrorNotReady)
      (void)cudaGetLastError(); // no error, but it would be reported as one later
    else
      C10_CUDA_CHECK(err);
  });
}

extern "C" char *thaw_cuda_event_elapsed(thaw_cuda_event start, thaw_cuda_event end, float *milliseconds) {
  return guarded([&] {
    C10_CUDA_CHECK(cudaEventSynchronize(event(end)->event));
    C10_CUDA_CHECK(cudaEventElapsedTime(milliseconds, event(start)->event, event(end)->event));
  });
}

extern "C" void thaw_cuda_event_free(thaw_cuda_event e) {
  // A failure here is one of a device that is lost: whatever comes next reports it.
  if (cudaEventDestroy(event(e)->event) != cudaSuccess) (void)cudaGetLastError();
  delete event(e);
}
