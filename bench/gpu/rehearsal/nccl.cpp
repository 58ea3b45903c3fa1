// NCCL between processes of this machine, whose GPUs are pretended: what is sent goes over sockets to rank 0 and back. A
// collective is done when it is called, as the CPU of the other process need not wait for its own stream: one that waited for a
// message of the CPU meanwhile would never come. Of a process that ends the others learn as of NCCL's: by the asynchronous error.
#define __CUDA_FP16_H__ // their headers want more of CUDA's than Thaw brings, and nothing of them is used
#define __CUDA_BF16_H__
#define __CUDA_FP8_H__
#include <arpa/inet.h>
#include <nccl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "device.h"

using namespace rehearsal;

struct ncclComm {
  int rank, size, device;
  std::vector<int> peers; // of rank 0: sockets by rank; of the others: that to rank 0
  std::atomic<bool> broken{false};
};

namespace {

std::map<int, int> &listening() { // sockets by port
  static auto *all = new std::map<int, int>;
  return *all;
}

bool transfer(ncclComm *c, int peer, void *data, size_t n, bool sends) {
  char *at = static_cast<char *>(data);
  while (n > 0 && !c->broken) {
    const ssize_t done = sends ? send(peer, at, n, MSG_NOSIGNAL) : recv(peer, at, n, 0);
    if (done <= 0) c->broken = true;
    else at += done, n -= done;
  }
  return !c->broken;
}

size_t size_of(ncclDataType_t type) {
  switch (type) {
  case ncclInt8: case ncclUint8: return 1;
  case ncclFloat16: case ncclBfloat16: return 2;
  case ncclInt32: case ncclUint32: case ncclFloat32: return 4;
  case ncclInt64: case ncclUint64: case ncclFloat64: return 8;
  default: missing("an NCCL collective of this type");
  }
}

template <typename T> void reduce(T *into, const T *more, size_t n, ncclRedOp_t op) {
  for (size_t i = 0; i < n; i++)
    into[i] = op == ncclMax ? std::max(into[i], more[i]) : op == ncclMin ? std::min(into[i], more[i]) : into[i] + more[i];
}

void reduce(void *into, const void *more, size_t n, ncclDataType_t type, ncclRedOp_t op) {
  if (op != ncclSum && op != ncclMax && op != ncclMin) missing("an NCCL reduction of this kind");
  switch (type) {
  case ncclUint8: return reduce(static_cast<uint8_t *>(into), static_cast<const uint8_t *>(more), n, op);
  case ncclInt32: return reduce(static_cast<int32_t *>(into), static_cast<const int32_t *>(more), n, op);
  case ncclInt64: return reduce(static_cast<int64_t *>(into), static_cast<const int64_t *>(more), n, op);
  case ncclFloat32: return reduce(static_cast<float *>(into), static_cast<const float *>(more), n, op);
  case ncclFloat64: return reduce(static_cast<double *>(into), static_cast<const double *>(more), n, op);
  default: missing("an NCCL reduction of this type");
  }
}

// begin runs what the stream was given before, and says where the data lies.
ncclResult_t begin(const char *call, ncclComm_t c, cudaStream_t s, const void *from, const void *to, char **in, char **out) {
  Stream *stream = stream_of(s);
  if (stream == nullptr || c == nullptr) return ncclInvalidArgument;
  if (stream->capture) missing("an NCCL collective in a capture");
  int device = -1;
  cudaGetDevice(&device);
  if (device != c->device || !on_device(from) || !on_device(to)) return ncclInvalidArgument;
  note(call, s, "rank %d of %d", c->rank, c->size);
  stream->run();
  *in = static_cast<char *>(reach(from));
  *out = static_cast<char *>(reach(to));
  return ncclSuccess;
}

} // namespace

PLAYED ncclResult_t ncclGetVersion(int *version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

PLAYED const char *ncclGetErrorString(ncclResult_t r) {
  return r == ncclSuccess ? "no error" : r == ncclRemoteError ? "remote process exited or there was a network error" : "rehearsal: NCCL failed";
}

PLAYED const char *ncclGetLastError(ncclComm_t) { return ""; }

PLAYED ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  LOCKED;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t n = sizeof address;
  if (s < 0 || bind(s, reinterpret_cast<sockaddr *>(&address), n) || listen(s, 64) || getsockname(s, reinterpret_cast<sockaddr *>(&address), &n))
    return ncclSystemError;
  memset(id, 0, sizeof *id);
  const int port = ntohs(address.sin_port);
  memcpy(id->internal, &port, sizeof port);
  listening()[port] = s;
  return ncclSuccess;
}

PLAYED ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank, ncclConfig_t *) {
  LOCKED;
  int port = 0;
  memcpy(&port, id.internal, sizeof port);
  auto *c = new ncclComm;
  c->rank = rank, c->size = size;
  cudaGetDevice(&c->device);
  note("nccl_init", nullptr, "rank %d of %d on device %d", rank, size, c->device);
  // NCCL refuses a GPU that two ranks have; ranks here are of one machine.
  if (rank == 0) {
    c->peers.assign(size, -1);
    std::set<int> devices{c->device};
    for (int i = 1; i < size; i++) {
      const int s = accept(listening()[port], nullptr, nullptr);
      int said[2];
      if (s < 0 || !transfer(c, s, said, sizeof said, false)) return ncclSystemError;
      c->peers[said[0]] = s;
      devices.insert(said[1]);
    }
    int fine = static_cast<int>(devices.size()) == size;
    for (int i = 1; i < size; i++) transfer(c, c->peers[i], &fine, sizeof fine, true);
    close(listening()[port]);
    listening().erase(port);
    if (!fine) return ncclInvalidUsage;
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->peers = {s};
    int said[2] = {rank, c->device}, fine = 0;
    if (s < 0 || connect(s, reinterpret_cast<sockaddr *>(&address), sizeof address) || !transfer(c, s, said, sizeof said, true) ||
        !transfer(c, s, &fine, sizeof fine, false))
      return ncclSystemError;
    if (!fine) return ncclInvalidUsage;
  }
  *comm = c;
  return ncclSuccess;
}

PLAYED ncclResult_t ncclCommCount(ncclComm_t c, int *n) { return *n = c->size, ncclSuccess; }
PLAYED ncclResult_t ncclCommUserRank(ncclComm_t c, int *r) { return *r = c->rank, ncclSuccess; }

PLAYED ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *error) {
  *error = c->broken ? ncclRemoteError : ncclSuccess;
  return ncclSuccess;
}

// Without the lock: one that waits has it.
PLAYED ncclResult_t ncclCommAbort(ncclComm_t c) {
  c->broken = true;
  for (int s : c->peers)
    if (s >= 0) shutdown(s, SHUT_RDWR);
  return ncclSuccess; // not deleted: another thread may be in it
}

PLAYED ncclResult_t ncclCommFinalize(ncclComm_t) { return ncclSuccess; }
PLAYED ncclResult_t ncclCommDestroy(ncclComm_t c) { return ncclCommAbort(c); }

PLAYED ncclResult_t ncclGroupStart() { return ncclSuccess; }
PLAYED ncclResult_t ncclGroupEnd() { return ncclSuccess; }

PLAYED ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op, ncclComm_t c, cudaStream_t s) {
  LOCKED;
  char *in, *out;
  if (const ncclResult_t e = begin("nccl_all_reduce", c, s, from, to, &in, &out)) return e;
  const size_t n = count * size_of(type);
  if (in != out) memmove(out, in, n);
  if (c->rank == 0) {
    std::vector<char> more(n);
    for (int i = 1; i < c->size; i++)
      if (transfer(c, c->peers[i], more.data(), n, false)) reduce(out, more.data(), count, type, op);
    for (int i = 1; i < c->size; i++) transfer(c, c->peers[i], out, n, true);
  } else if (transfer(c, c->peers[0], out, n, true)) {
    transfer(c, c->peers[0], out, n, false);
  }
  return ncclSuccess;
}

PLAYED ncclResult_t ncclBroadcast(const void *from, void *to, size_t count, ncclDataType_t type, int root, ncclComm_t c, cudaStream_t s) {
  LOCKED;
  char *in, *out;
  if (const ncclResult_t e = begin("nccl_broadcast", c, s, from, to, &in, &out)) return e;
  const size_t n = count * size_of(type);
  if (c->rank == root && in != out) memmove(out, in, n);
  if (c->rank == 0) {
    if (root != 0) transfer(c, c->peers[root], out, n, false);
    for (int i = 1; i < c->size; i++)
      if (i != root) transfer(c, c->peers[i], out, n, true);
  } else {
    transfer(c, c->peers[0], out, n, c->rank == root);
  }
  return ncclSuccess;
}

PLAYED ncclResult_t ncclBcast(void *data, size_t count, ncclDataType_t type, int root, ncclComm_t c, cudaStream_t s) {
  return ncclBroadcast(data, data, count, type, root, c, s);
}

PLAYED ncclResult_t ncclAllGather(const void *from, void *to, size_t count, ncclDataType_t type, ncclComm_t c, cudaStream_t s) {
  LOCKED;
  char *in, *out;
  if (const ncclResult_t e = begin("nccl_all_gather", c, s, from, to, &in, &out)) return e;
  const size_t n = count * size_of(type);
  if (out + c->rank * n != in) memmove(out + c->rank * n, in, n);
  if (c->rank == 0) {
    for (int i = 1; i < c->size; i++) transfer(c, c->peers[i], out + i * n, n, false);
    for (int i = 1; i < c->size; i++) transfer(c, c->peers[i], out, n * c->size, true);
  } else if (transfer(c, c->peers[0], out + c->rank * n, n, true)) {
    transfer(c, c->peers[0], out, n * c->size, false);
  }
  return ncclSuccess;
}
