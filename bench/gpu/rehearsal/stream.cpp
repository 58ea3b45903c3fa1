#include <time.h>

#include "device.h"

namespace rehearsal {
namespace {

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

struct Streams {
  std::set<Stream *> made;
  Stream legacy;
  int next = 1;
};

Streams &streams() {
  static auto *s = new Streams;
  return *s;
}

} // namespace

void Stream::give(std::function<void()> work) {
  waiting.push_back(std::move(work));
  given++;
}

void Stream::run_to(uint64_t n) {
  while (done < n && !waiting.empty()) {
    const auto work = std::move(waiting.front());
    waiting.pop_front();
    work();
    done++;
  }
}

Stream *stream_of(cudaStream_t s) {
  if (s == nullptr || s == cudaStreamLegacy || s == cudaStreamPerThread) return &streams().legacy;
  auto *stream = reinterpret_cast<Stream *>(s);
  return streams().made.contains(stream) ? stream : nullptr;
}

std::vector<Stream *> all_streams() {
  std::vector<Stream *> all{&streams().legacy};
  all.insert(all.end(), streams().made.begin(), streams().made.end());
  return all;
}

cudaError_t give(const char *call, cudaStream_t s, const std::string &what, std::function<void()> work) {
  LOCKED;
  Stream *stream = stream_of(s);
  if (stream == nullptr) return failed(call, cudaErrorInvalidResourceHandle, "no such stream");
  if (stream->capture) {
    Capture &c = *stream->capture;
    if (c.broken) return failed(call, cudaErrorStreamCaptureInvalidated, "the capture is broken");
    c.nodes.push_back({what, stream->leaves, std::move(work)});
    stream->leaves = {static_cast<int>(c.nodes.size()) - 1};
    note("node", s, "%s", what.c_str());
    return cudaSuccess;
  }
  if (s == nullptr) // a stream that blocks would have to wait for the legacy one
    for (Stream *other : all_streams())
      if (other->capture && !(other->flags & cudaStreamNonBlocking)) {
        other->capture->broken = true;
        return failed(call, cudaErrorStreamCaptureImplicit, "on the legacy stream");
      }
  if (captures_here()) // allowed, and hardly ever meant: it is done now and at no replay
    note("stray", s, "%s: %s", call, what.c_str());
  note("work", s, "%s", what.c_str());
  stream->give(std::move(work));
  return cudaSuccess;
}

} // namespace rehearsal

using namespace rehearsal;

// ---- streams ----

PLAYED cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) {
  LOCKED;
  auto *made = new Stream;
  made->id = streams().next++;
  made->flags = flags;
  made->priority = priority;
  streams().made.insert(made);
  *s = reinterpret_cast<cudaStream_t>(made);
  return cudaSuccess;
}

PLAYED cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithPriority(s, cudaStreamDefault, 0); }

PLAYED cudaError_t cudaStreamDestroy(cudaStream_t s) {
  LOCKED;
  Stream *stream = stream_of(s);
  if (stream == nullptr || stream == &streams().legacy)
    return failed("cudaStreamDestroy", cudaErrorInvalidResourceHandle, "no such stream");
  stream->run();
  streams().made.erase(stream); // not deleted: events may name it
  return cudaSuccess;
}

PLAYED cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority) {
  LOCKED;
  *priority = stream_of(s)->priority;
  return cudaSuccess;
}

namespace {

cudaError_t wait_for(const char *call, cudaStream_t s) {
  Stream *stream = stream_of(s);
  if (stream == nullptr) return failed(call, cudaErrorInvalidResourceHandle, "no such stream");
  if (stream->capture) {
    stream->capture->broken = true;
    return failed(call, cudaErrorStreamCaptureUnsupported, "the stream is capturing");
  }
  if (const cudaError_t e = forbidden(call)) return e;
  stream->run();
  return cudaSuccess;
}

} // namespace

PLAYED cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  LOCKED;
  note("stream_synchronize", s, "%s", "");
  return wait_for("cudaStreamSynchronize", s);
}

PLAYED cudaError_t cudaStreamQuery(cudaStream_t s) {
  LOCKED;
  note("stream_query", s, "%s", "");
  Stream *stream = stream_of(s);
  if (stream != nullptr && !stream->capture && !stream->waiting.empty()) {
    if (const cudaError_t e = forbidden("cudaStreamQuery")) return e;
    stream->run_to(stream->done + 1); // who asks again and again is told in the end
    if (!stream->waiting.empty()) return not_ready();
  }
  return wait_for("cudaStreamQuery", s);
}

PLAYED cudaError_t cudaDeviceSynchronize(void) {
  LOCKED;
  note("device_synchronize", nullptr, "%s", "");
  if (break_captures())
    return failed("cudaDeviceSynchronize", cudaErrorStreamCaptureUnsupported, "something captures");
  for (Stream *s : all_streams()) s->run();
  return cudaSuccess;
}

PLAYED cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void *data) {
  LOCKED;
  return give("cudaLaunchHostFunc", s, "host function", [=] { f(data); });
}

PLAYED cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void *data, unsigned) {
  LOCKED;
  return give("cudaStreamAddCallback", s, "host function", [=] { f(s, cudaSuccess, data); });
}

// ---- events ----

PLAYED cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) {
  LOCKED;
  auto *made = new Event;
  made->flags = flags;
  *e = reinterpret_cast<cudaEvent_t>(made);
  return cudaSuccess;
}

PLAYED cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, cudaEventDefault); }

PLAYED cudaError_t cudaEventDestroy(cudaEvent_t e) {
  LOCKED;
  delete reinterpret_cast<Event *>(e);
  return cudaSuccess;
}

PLAYED cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t s, unsigned) {
  LOCKED;
  auto *e = reinterpret_cast<Event *>(handle);
  Stream *stream = stream_of(s);
  if (stream == nullptr) return failed("cudaEventRecord", cudaErrorInvalidResourceHandle, "no such stream");
  note("event_record", s, "%p", static_cast<void *>(e));
  if (stream->capture) {
    if (stream->capture->broken)
      return failed("cudaEventRecord", cudaErrorStreamCaptureInvalidated, "the capture is broken");
    e->capture = stream->capture;
    e->nodes = stream->leaves;
    return cudaSuccess;
  }
  e->capture.reset();
  e->recorded = true;
  e->stream = stream;
  stream->give([] {});
  e->at = stream->given;
  e->time = now();
  return cudaSuccess;
}

PLAYED cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) { return cudaEventRecordWithFlags(e, s, 0); }

PLAYED cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t handle, unsigned) {
  LOCKED;
  auto *e = reinterpret_cast<Event *>(handle);
  Stream *stream = stream_of(s);
  if (stream == nullptr) return failed("cudaStreamWaitEvent", cudaErrorInvalidResourceHandle, "no such stream");
  note("stream_wait", s, "%p", static_cast<void *>(e));
  if (e->capture) {
    if (e->capture->ended) return failed("cudaStreamWaitEvent", cudaErrorCapturedEvent, "its capture has ended");
    if (stream->capture && stream->capture != e->capture)
      return failed("cudaStreamWaitEvent", cudaErrorStreamCaptureMerge, "of another capture");
    stream->capture = e->capture;
    for (int node : e->nodes) stream->leaves.push_back(node);
    return cudaSuccess;
  }
  if (stream->capture) {
    if (!e->recorded) return cudaSuccess;
    stream->capture->broken = true;
    return failed("cudaStreamWaitEvent", cudaErrorStreamCaptureIsolation, "recorded outside of the capture");
  }
  if (e->recorded) stream->give([other = e->stream, at = e->at] { other->run_to(at); });
  return cudaSuccess;
}

PLAYED cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  LOCKED;
  auto *e = reinterpret_cast<Event *>(handle);
  note("event_synchronize", nullptr, "%p", static_cast<void *>(e));
  if (e->capture) return failed("cudaEventSynchronize", cudaErrorCapturedEvent, "recorded in a capture");
  if (const cudaError_t error = forbidden("cudaEventSynchronize")) return error;
  if (e->recorded) e->stream->run_to(e->at);
  return cudaSuccess;
}

PLAYED cudaError_t cudaEventQuery(cudaEvent_t handle) {
  LOCKED;
  auto *e = reinterpret_cast<Event *>(handle);
  note("event_query", nullptr, "%p", static_cast<void *>(e));
  if (e->capture) return failed("cudaEventQuery", cudaErrorCapturedEvent, "recorded in a capture");
  if (const cudaError_t error = forbidden("cudaEventQuery")) return error;
  if (!e->recorded || e->stream->done >= e->at) return cudaSuccess;
  e->stream->run_to(e->stream->done + 1);
  return e->stream->done >= e->at ? cudaSuccess : not_ready();
}

PLAYED cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
  LOCKED;
  auto *a = reinterpret_cast<Event *>(start), *b = reinterpret_cast<Event *>(end);
  if (!a->recorded || !b->recorded || (a->flags & cudaEventDisableTiming) || (b->flags & cudaEventDisableTiming))
    return failed("cudaEventElapsedTime", cudaErrorInvalidResourceHandle, "not recorded, or without times");
  if (b->stream->done < b->at || a->stream->done < a->at) return not_ready();
  *milliseconds = static_cast<float>((b->time - a->time) * 1e3);
  return cudaSuccess;
}
