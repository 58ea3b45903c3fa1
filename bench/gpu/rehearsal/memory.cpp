#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "device.h"

namespace rehearsal {
namespace {

constexpr size_t total = size_t(80) << 30, grain = size_t(2) << 20; // an H100's, and what the driver deals in

// The device's memory is mapped twice: where its addresses point nothing may be read or written, as on a machine with a
// GPU; the other is for the copies.
struct Memory {
  char *device, *inside;
  int file;
  std::map<size_t, size_t> used; // offset -> bytes
  size_t in_use = 0;
  std::map<const char *, size_t> pinned;

  Memory() {
    file = memfd_create("rehearsal", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, total) != 0) abort();
    device = map(PROT_NONE);
    inside = map(PROT_READ | PROT_WRITE);
  }

  char *map(int protection) {
    void *p = mmap(nullptr, total, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
    if (p == MAP_FAILED) abort();
    return static_cast<char *>(p);
  }

  void *take(size_t bytes) {
    bytes = (bytes + grain - 1) / grain * grain;
    size_t at = 0;
    for (const auto &[offset, size] : used) { // the first gap that fits
      if (offset - at >= bytes) break;
      at = offset + size;
    }
    if (at + bytes > total) return nullptr;
    used[at] = bytes;
    in_use += bytes;
    return device + at;
  }

  bool give_back(void *p) {
    const auto found = used.find(static_cast<char *>(p) - device);
    if (found == used.end()) return false;
    fallocate_hole(found->first, found->second);
    in_use -= found->second;
    used.erase(found);
    return true;
  }

  void fallocate_hole(size_t offset, size_t bytes) { madvise(inside + offset, bytes, MADV_REMOVE); }
};

Memory &memory() {
  static auto *m = new Memory;
  return *m;
}

} // namespace

bool on_device(const void *p) {
  const auto *at = static_cast<const char *>(p);
  return at >= memory().device && at < memory().device + total;
}

void *reach(const void *p) {
  if (!on_device(p)) return const_cast<void *>(p);
  return memory().inside + (static_cast<const char *>(p) - memory().device);
}

bool is_pinned(const void *p) {
  const auto *at = static_cast<const char *>(p);
  auto next = memory().pinned.upper_bound(at);
  if (next == memory().pinned.begin()) return false;
  --next;
  return at < next->first + next->second;
}

} // namespace rehearsal

using namespace rehearsal;

PLAYED cudaError_t cudaMalloc(void **p, size_t bytes) {
  LOCKED;
  if (const cudaError_t e = forbidden("cudaMalloc")) return e;
  *p = memory().take(bytes);
  note("malloc", nullptr, "%zu", bytes);
  return *p == nullptr ? failed("cudaMalloc", cudaErrorMemoryAllocation, "the device is full") : cudaSuccess;
}

PLAYED cudaError_t cudaFree(void *p) {
  LOCKED;
  if (p == nullptr) return cudaSuccess;
  if (const cudaError_t e = forbidden("cudaFree")) return e;
  for (Stream *s : all_streams()) s->run(); // it waits for the device
  note("free", nullptr, "%s", "");
  return memory().give_back(p) ? cudaSuccess : failed("cudaFree", cudaErrorInvalidValue, "not of cudaMalloc");
}

PLAYED cudaError_t cudaMemGetInfo(size_t *free, size_t *all) {
  LOCKED;
  *all = total;
  *free = total - memory().in_use;
  return cudaSuccess;
}

PLAYED cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned) {
  LOCKED;
  if (const cudaError_t e = forbidden("cudaHostAlloc")) return e;
  if (posix_memalign(p, 4096, bytes) != 0) return failed("cudaHostAlloc", cudaErrorMemoryAllocation, "no memory");
  memory().pinned[static_cast<char *>(*p)] = bytes;
  note("host_alloc", nullptr, "%zu", bytes);
  return cudaSuccess;
}

PLAYED cudaError_t cudaFreeHost(void *p) {
  LOCKED;
  if (p == nullptr) return cudaSuccess;
  if (const cudaError_t e = forbidden("cudaFreeHost")) return e;
  for (Stream *s : all_streams()) s->run();
  if (memory().pinned.erase(static_cast<char *>(p)) == 0)
    return failed("cudaFreeHost", cudaErrorInvalidValue, "not of cudaHostAlloc");
  free(p);
  return cudaSuccess;
}

PLAYED cudaError_t cudaHostRegister(void *p, size_t bytes, unsigned) {
  LOCKED;
  memory().pinned[static_cast<char *>(p)] = bytes;
  return cudaSuccess;
}

PLAYED cudaError_t cudaHostUnregister(void *p) {
  LOCKED;
  memory().pinned.erase(static_cast<char *>(p));
  return cudaSuccess;
}

PLAYED cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  LOCKED;
  memset(a, 0, sizeof *a);
  cudaGetDevice(&a->device);
  if (on_device(p)) {
    a->type = cudaMemoryTypeDevice;
    a->devicePointer = const_cast<void *>(p);
  } else if (is_pinned(p)) {
    a->type = cudaMemoryTypeHost;
    a->devicePointer = a->hostPointer = const_cast<void *>(p);
  } else {
    a->type = cudaMemoryTypeUnregistered;
    a->device = -2;
    a->hostPointer = const_cast<void *>(p);
  }
  return cudaSuccess;
}

namespace {

const char *direction(const void *to, const void *from) {
  if (on_device(to)) return on_device(from) ? "DtoD" : is_pinned(from) ? "HtoD" : "HtoD pageable";
  return on_device(from) ? is_pinned(to) ? "DtoH" : "DtoH pageable" : "HtoH";
}

cudaError_t copy(const char *call, void *to, const void *from, size_t bytes, cudaStream_t s) {
  LOCKED;
  const std::string what = std::string("copy ") + direction(to, from) + " " + std::to_string(bytes);
  if (!on_device(from) && !is_pinned(from)) { // it is read before the call returns
    auto staged = std::make_shared<std::vector<char>>(static_cast<const char *>(from), static_cast<const char *>(from) + bytes);
    return give(call, s, what, [=] { memcpy(reach(to), staged->data(), bytes); });
  }
  if (const cudaError_t e = give(call, s, what, [=] { memmove(reach(to), reach(from), bytes); })) return e;
  if (!on_device(to) && !is_pinned(to)) { // it returns when all has arrived
    Stream *stream = stream_of(s);
    if (!stream->capture) stream->run();
  }
  return cudaSuccess;
}

} // namespace

PLAYED cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind, cudaStream_t s) {
  return copy("cudaMemcpyAsync", to, from, bytes, s);
}

PLAYED cudaError_t cudaMemcpyPeerAsync(void *to, int, const void *from, int, size_t bytes, cudaStream_t s) {
  return copy("cudaMemcpyPeerAsync", to, from, bytes, s);
}

PLAYED cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind) {
  LOCKED;
  if (const cudaError_t e = forbidden("cudaMemcpy")) return e;
  if (const cudaError_t e = copy("cudaMemcpy", to, from, bytes, nullptr)) return e;
  stream_of(nullptr)->run();
  return cudaSuccess;
}

PLAYED cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                                     size_t height, enum cudaMemcpyKind, cudaStream_t s) {
  for (size_t row = 0; row < height; row++)
    if (const cudaError_t e = copy("cudaMemcpy2DAsync", static_cast<char *>(to) + row * to_pitch,
                                   static_cast<const char *>(from) + row * from_pitch, width, s))
      return e;
  return cudaSuccess;
}

PLAYED cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s) {
  LOCKED;
  return give("cudaMemsetAsync", s, "set " + std::to_string(bytes), [=] { memset(reach(to), value, bytes); });
}

PLAYED cudaError_t cudaMemset(void *to, int value, size_t bytes) {
  LOCKED;
  if (const cudaError_t e = forbidden("cudaMemset")) return e;
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
