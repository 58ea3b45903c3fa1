#include <unordered_map>

#include "device.h"

using namespace rehearsal;

namespace {

std::unordered_map<const void *, std::string> &kernels() { // by the address of their stub on the CPU
  static auto *k = new std::unordered_map<const void *, std::string>;
  return *k;
}

struct Variable {
  size_t bytes;
  void *device;
};

std::unordered_map<const void *, Variable> &variables() {
  static auto *v = new std::unordered_map<const void *, Variable>;
  return *v;
}

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};

thread_local std::vector<Configuration> configured;

cudaError_t launch(const void *f, dim3 grid, dim3 block, size_t, cudaStream_t s) {
  LOCKED;
  const auto found = kernels().find(f);
  const std::string name = found == kernels().end() ? "unknown" : found->second;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || block.x * block.y * block.z > 1024)
    return failed("cudaLaunchKernel", cudaErrorInvalidConfiguration, name.c_str());
  return give("cudaLaunchKernel", s,
              "kernel " + name + " " + std::to_string(size_t(grid.x) * grid.y * grid.z) + "x" +
                  std::to_string(block.x * block.y * block.z),
              [] {});
}

} // namespace

PLAYED void **__cudaRegisterFatBinary(void *) {
  static void *handle;
  return &handle;
}
PLAYED void __cudaRegisterFatBinaryEnd(void **) {}
PLAYED void __cudaUnregisterFatBinary(void **) {}
PLAYED char __cudaInitModule(void **) { return 1; }

PLAYED void __cudaRegisterFunction(void **, const char *host, char *, const char *name, int, uint3 *, uint3 *, dim3 *,
                                   dim3 *, int *) {
  LOCKED;
  kernels()[host] = name;
}

PLAYED void __cudaRegisterVar(void **, char *host, char *, const char *, int, size_t bytes, int, int) {
  LOCKED;
  variables()[host] = {bytes, nullptr};
}

PLAYED cudaError_t cudaGetSymbolAddress(void **p, const void *symbol) {
  LOCKED;
  auto &v = variables()[symbol];
  if (v.device == nullptr)
    if (const cudaError_t e = cudaMalloc(&v.device, v.bytes)) return e;
  *p = v.device;
  return cudaSuccess;
}

PLAYED cudaError_t cudaMemcpyToSymbol(const void *symbol, const void *from, size_t bytes, size_t offset,
                                      enum cudaMemcpyKind kind) {
  void *p = nullptr;
  if (const cudaError_t e = cudaGetSymbolAddress(&p, symbol)) return e;
  return cudaMemcpy(static_cast<char *>(p) + offset, from, bytes, kind);
}

PLAYED unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
  configured.push_back({grid, block, shared, stream});
  return 0;
}

PLAYED cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  const Configuration c = configured.back();
  configured.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *static_cast<cudaStream_t *>(stream) = c.stream;
  return cudaSuccess;
}

PLAYED cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void *>(host));
  return cudaSuccess;
}

PLAYED cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t s) {
  return launch(reinterpret_cast<const void *>(kernel), grid, block, shared, s);
}

PLAYED cudaError_t cudaLaunchKernel(const void *f, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t s) {
  return launch(f, grid, block, shared, s);
}

PLAYED cudaError_t cudaLaunchCooperativeKernel(const void *f, dim3 grid, dim3 block, void **, size_t shared, cudaStream_t s) {
  return launch(f, grid, block, shared, s);
}

PLAYED cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **) {
  return launch(f, c->gridDim, c->blockDim, c->dynamicSmemBytes, c->stream);
}

PLAYED cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *) {
  *a = {};
  a->maxThreadsPerBlock = 1024;
  a->numRegs = 32;
  a->binaryVersion = a->ptxVersion = 90;
  a->maxDynamicSharedSizeBytes = 227 << 10;
  return cudaSuccess;
}

PLAYED cudaError_t cudaFuncSetAttribute(const void *, enum cudaFuncAttribute, int) { return cudaSuccess; }

PLAYED cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *, int block, size_t, unsigned) {
  *n = block <= 0 ? 1 : std::max(1, std::min(32, 2048 / block));
  return cudaSuccess;
}

PLAYED cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *n, const void *f, int block, size_t shared) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(n, f, block, shared, 0);
}
