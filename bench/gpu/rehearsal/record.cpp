#include <cxxabi.h>
#include <execinfo.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device.h"

namespace rehearsal {

std::recursive_mutex &lock() {
  static auto *mutex = new std::recursive_mutex; // never freed: destructors of other libraries still call
  return *mutex;
}

unsigned long this_thread() {
  static thread_local const unsigned long id = syscall(SYS_gettid);
  return id;
}

namespace {

FILE *record() {
  static FILE *file = [] {
    const char *path = getenv("REHEARSAL_RECORD");
    if (path == nullptr || *path == 0) return static_cast<FILE *>(nullptr);
    const std::string name = std::string(path) + "." + std::to_string(getpid());
    FILE *made = fopen(name.c_str(), "w");
    if (made != nullptr) setlinebuf(made); // a Go program ends without a word to C
    else fprintf(stderr, "rehearsal: cannot write %s\n", name.c_str());
    return made;
  }();
  return file;
}

thread_local cudaError_t last = cudaSuccess;

} // namespace

void note(const char *call, cudaStream_t stream, const char *format, ...) {
  LOCKED;
  FILE *file = record();
  if (file == nullptr) return;
  const Stream *s = stream_of(stream);
  fprintf(file, "%lu\t%s\t%d\t", this_thread(), call, s == nullptr ? -1 : s->id);
  va_list more;
  va_start(more, format);
  vfprintf(file, format, more);
  va_end(more);
  fputc('\n', file);
}

cudaError_t failed(const char *call, cudaError_t error, const char *why) {
  LOCKED;
  last = error;
  note("error", nullptr, "%s: %d %s", call, error, why);
  return error;
}

cudaError_t not_ready() { return last = cudaErrorNotReady; }

void missing(const char *call) {
  note("missing", nullptr, "%s", call);
  if (FILE *file = record()) fflush(file);
  fprintf(stderr, "rehearsal: %s is not played: see bench/gpu/rehearsal\n", call);
  void *frames[40];
  backtrace_symbols_fd(frames, backtrace(frames, 40), 2);
  _exit(86);
}

} // namespace rehearsal

using namespace rehearsal;

namespace {

struct Named {
  cudaError_t error;
  const char *name, *text;
};

// The texts are CUDA's: Thaw and PyTorch read them.
const Named names[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorSystemDriverMismatch, "cudaErrorSystemDriverMismatch", "system has unsupported display driver / cuda driver combination"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureMerge, "cudaErrorStreamCaptureMerge", "operation would result in a merge of separate capture sequences"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "capture was not ended in the same stream as it began"},
    {cudaErrorStreamCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {cudaErrorStreamCaptureIsolation, "cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit", "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorCapturedEvent, "cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread", "attempt to terminate a thread-local capture sequence from another thread"},
};

const Named &named(cudaError_t error) {
  for (const Named &n : names)
    if (n.error == error) return n;
  static const Named other{cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
  return other;
}

} // namespace

PLAYED const char *cudaGetErrorName(cudaError_t error) { return named(error).name; }
PLAYED const char *cudaGetErrorString(cudaError_t error) { return named(error).text; }

PLAYED cudaError_t cudaGetLastError(void) {
  const cudaError_t error = last;
  last = cudaSuccess;
  return error;
}

PLAYED cudaError_t cudaPeekAtLastError(void) { return last; }
