// A pretend GPU: what stands where CUDA's runtime and its libraries would, on a machine that has none. Nothing computes: a
// kernel is a line in the record. All else is played by CUDA's rules: device memory that the CPU cannot touch, streams
// that run as late as they may, events, captures and what may not be captured, copies, errors.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#define PLAYED extern "C" __attribute__((visibility("default")))

// The libraries beside CUDA's runtime call these too.
#pragma GCC visibility push(default)

namespace rehearsal {

// One lock for everything: a rehearsal is not about speed. Recursive, as host functions call back.
std::recursive_mutex &lock();
#define LOCKED std::lock_guard<std::recursive_mutex> locked(rehearsal::lock())

// ---- record ----

// note writes a line of the record, where REHEARSAL_RECORD names a file: the thread, what was called, its stream, more.
void note(const char *call, cudaStream_t stream, const char *format, ...) __attribute__((format(printf, 3, 4)));

// failed notes an error, and keeps it for cudaGetLastError.
cudaError_t failed(const char *call, cudaError_t error, const char *why);

// not_ready is an error that is none, but is kept too.
cudaError_t not_ready();

// missing ends the process: something was called that is not played.
[[noreturn]] void missing(const char *call);

// ---- streams and captures ----

struct Capture;

// A stream does what it was given only when somebody waits for it: what goes wrong on a GPU now and then, because a copy
// came late, goes wrong here always.
struct Stream {
  int id = 0;
  unsigned flags = 0;
  int priority = 0;
  std::deque<std::function<void()>> waiting;
  uint64_t given = 0, done = 0;
  std::shared_ptr<Capture> capture;
  std::vector<int> leaves; // of the capture: the nodes that the stream's next one comes behind

  void give(std::function<void()> work);
  void run_to(uint64_t n);
  void run() { run_to(given); }
};

struct Event {
  unsigned flags = 0;
  bool recorded = false;
  Stream *stream = nullptr;
  uint64_t at = 0;
  double time = 0; // seconds
  std::shared_ptr<Capture> capture;
  std::vector<int> nodes;
};

struct Node {
  std::string what;
  std::vector<int> behind;
  std::function<void()> work;
};

struct Capture {
  unsigned long long id;
  cudaStreamCaptureMode mode;
  unsigned long thread;
  Stream *origin;
  bool broken = false, ended = false;
  std::vector<Node> nodes;
};

Stream *stream_of(cudaStream_t s); // null where there is none
std::vector<Stream *> all_streams();
unsigned long this_thread();

// give hands work to a stream, or to the capture that the stream is in.
cudaError_t give(const char *call, cudaStream_t s, const std::string &what, std::function<void()> work);

// forbidden says whether this thread may not make a call that could depend on work which is being captured.
cudaError_t forbidden(const char *call);
bool captures_here();  // whether this thread captures
bool break_captures(); // those that a call which waits for the device spoils; says whether there is any

// ---- memory ----

bool on_device(const void *p);
bool is_pinned(const void *p);
void *reach(const void *p); // where the CPU may read and write what lies at p, on the device or not

} // namespace rehearsal

#pragma GCC visibility pop
