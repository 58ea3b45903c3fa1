// cuBLASLt, as cublas.cpp.
#include <cstring>

#include "device.h"

PLAYED size_t cublasLtGetVersion(void) { return 130100; }

// What describes a product is a block of memory that nobody looks into.
#define DESCRIPTION(create, destroy, set, ...)            \
  PLAYED int create(void **made, ##__VA_ARGS__) {         \
    *made = new char[256]();                              \
    return 0;                                             \
  }                                                       \
  PLAYED int destroy(void *made) {                        \
    delete[] static_cast<char *>(made);                   \
    return 0;                                             \
  }                                                       \
  PLAYED int set(void *, int, const void *, size_t) { return 0; }

DESCRIPTION(cublasLtMatmulDescCreate, cublasLtMatmulDescDestroy, cublasLtMatmulDescSetAttribute, int, int)
DESCRIPTION(cublasLtMatrixLayoutCreate, cublasLtMatrixLayoutDestroy, cublasLtMatrixLayoutSetAttribute, int, uint64_t,
            uint64_t, int64_t)
DESCRIPTION(cublasLtMatmulPreferenceCreate, cublasLtMatmulPreferenceDestroy, cublasLtMatmulPreferenceSetAttribute)

namespace {

struct Heuristic { // cublasLtMatmulHeuristicResult_t
  uint64_t algorithm[8];
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

} // namespace

PLAYED int cublasLtMatmulAlgoGetHeuristic(void *, void *, void *, void *, void *, void *, void *, int wanted,
                                          Heuristic *results, int *found) {
  *found = wanted > 0 ? 1 : 0;
  if (wanted > 0) memset(results, 0, sizeof *results);
  return 0;
}

PLAYED int cublasLtMatmul(void *, void *, const void *, const void *, void *, const void *, void *, const void *,
                          const void *, void *, void *, void *, const void *, void *, size_t, cudaStream_t s) {
  return rehearsal::give("cublasLtMatmul", s, "kernel cublasLtMatmul", [] {}) == cudaSuccess ? 0 : 13;
}
