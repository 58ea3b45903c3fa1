// cuBLAS: every product is a kernel of theirs, and nothing else. Their headers are not among what Thaw
// brings to compile against, so the types are those of the calling convention only.
#include <cstring>

#include "device.h"

namespace {

using Handle = struct {
  cudaStream_t stream;
  int math, pointers;
};

int product(const char *name, Handle *h) {
  return rehearsal::give(name, h->stream, std::string("kernel ") + name, [] {}) == cudaSuccess ? 0 : 13; // execution failed
}

} // namespace

PLAYED int cublasCreate_v2(Handle **h) {
  rehearsal::note("cublas_create", nullptr, "%s", "");
  if (rehearsal::forbidden("cublasCreate")) return 1; // it takes memory
  *h = new Handle{};
  return 0;
}

PLAYED int cublasDestroy_v2(Handle *h) {
  delete h;
  return 0;
}

PLAYED int cublasSetStream_v2(Handle *h, cudaStream_t s) {
  h->stream = s;
  return 0;
}

PLAYED int cublasSetWorkspace_v2(Handle *, void *, size_t bytes) {
  rehearsal::note("cublas_workspace", nullptr, "%zu", bytes);
  return 0;
}

PLAYED int cublasSetMathMode(Handle *h, int mode) {
  h->math = mode;
  return 0;
}

PLAYED int cublasGetMathMode(Handle *h, int *mode) {
  *mode = h->math;
  return 0;
}

PLAYED int cublasSetPointerMode_v2(Handle *h, int mode) {
  h->pointers = mode;
  return 0;
}

PLAYED int cublasGetPointerMode_v2(Handle *h, int *mode) {
  *mode = h->pointers;
  return 0;
}

#define PRODUCT(name) \
  PLAYED int name(Handle *h) { return product(#name, h); }

PRODUCT(cublasGemmEx)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasSgemmEx)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasSgemv_v2)
PRODUCT(cublasSdot_v2)
PRODUCT(cublasDotEx)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasDgemv_v2)
PRODUCT(cublasDdot_v2)
