// The devices there are, REHEARSAL_GPUS of them: H100s, as their properties go; or, by REHEARSAL_MACHINE, none that does. A process uses
// one of them: they have one memory.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "device.h"

using namespace rehearsal;

namespace {

// Whether REHEARSAL_MACHINE says that the machine is of this kind.
bool is(const char *kind) {
  const char *machine = getenv("REHEARSAL_MACHINE");
  return machine != nullptr && strcmp(machine, kind) == 0;
}

// What CUDA answers on such machines.
cudaError_t answer() {
  if (is("no-driver") || is("old-driver")) return cudaErrorInsufficientDriver;
  if (is("no-gpu")) return cudaErrorNoDevice;
  if (is("updated-driver")) return cudaErrorSystemDriverMismatch;
  return cudaSuccess;
}

int number_of_devices() {
  static const int n = [] {
    const char *said = getenv("REHEARSAL_GPUS");
    return said == nullptr ? 1 : std::max(1, atoi(said));
  }();
  return n;
}

thread_local int current = 0;

bool exists(int device) { return 0 <= device && device < number_of_devices(); }

} // namespace

PLAYED cudaError_t cudaGetDeviceCount(int *n) {
  static const bool ready = [] { // libtorch asks this before anything else
    const char *compute = getenv("REHEARSAL_COMPUTE");
    if (compute == nullptr || *compute == 0 || dlopen(compute, RTLD_NOW | RTLD_GLOBAL) != nullptr) return true;
    fprintf(stderr, "rehearsal: %s\n", dlerror());
    exit(86);
  }();
  (void)ready;
  const cudaError_t error = answer();
  *n = error == cudaSuccess ? number_of_devices() : 0;
  return error == cudaSuccess ? error : failed("cudaGetDeviceCount", error, "REHEARSAL_MACHINE");
}

PLAYED cudaError_t cudaGetDevice(int *device) {
  *device = current;
  return cudaSuccess;
}

PLAYED cudaError_t cudaSetDevice(int device) {
  if (!exists(device)) return failed("cudaSetDevice", cudaErrorInvalidDevice, "there is no such device");
  current = device;
  return cudaSuccess;
}

PLAYED cudaError_t cudaDriverGetVersion(int *v) {
  *v = is("no-driver") ? 0 : is("old-driver") ? 12080 : 13000;
  return cudaSuccess;
}

PLAYED cudaError_t cudaRuntimeGetVersion(int *v) {
  *v = CUDART_VERSION;
  return cudaSuccess;
}

PLAYED cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
  if (!exists(device)) return failed("cudaGetDeviceProperties", cudaErrorInvalidDevice, "there is no such device");
  memset(p, 0, sizeof *p);
  snprintf(p->name, sizeof p->name, "rehearsal (no GPU)");
  size_t free = 0;
  cudaMemGetInfo(&free, &p->totalGlobalMem);
  p->sharedMemPerBlock = 48 << 10;
  p->sharedMemPerBlockOptin = 227 << 10;
  p->sharedMemPerMultiprocessor = 228 << 10;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxBlocksPerMultiProcessor = 32;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->major = is("old-gpu") ? 6 : 9;
  p->minor = is("old-gpu");
  p->multiProcessorCount = 132;
  p->l2CacheSize = 50 << 20;
  p->memoryBusWidth = 5120;
  p->textureAlignment = 512;
  p->concurrentKernels = p->unifiedAddressing = p->canMapHostMemory = p->managedMemory = p->concurrentManagedAccess = 1;
  p->streamPrioritiesSupported = p->cooperativeLaunch = p->asyncEngineCount = 1;
  return cudaSuccess;
}

PLAYED cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr a, int) {
  switch (a) {
  case cudaDevAttrMultiProcessorCount: *value = 132; break;
  case cudaDevAttrComputeCapabilityMajor: *value = is("old-gpu") ? 6 : 9; break;
  case cudaDevAttrComputeCapabilityMinor: *value = is("old-gpu"); break;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 227 << 10; break;
  case cudaDevAttrMaxSharedMemoryPerBlock: *value = 48 << 10; break;
  case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *value = 228 << 10; break;
  case cudaDevAttrMaxThreadsPerBlock: *value = 1024; break;
  case cudaDevAttrWarpSize: *value = 32; break;
  case cudaDevAttrMaxRegistersPerBlock: *value = 65536; break;
  case cudaDevAttrL2CacheSize: *value = 50 << 20; break;
  case cudaDevAttrMaxThreadsPerMultiProcessor: *value = 2048; break;
  case cudaDevAttrMaxGridDimX: *value = 2147483647; break;
  default: missing(("cudaDeviceGetAttribute of " + std::to_string(a)).c_str());
  }
  return cudaSuccess;
}

PLAYED cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

PLAYED cudaError_t cudaDeviceCanAccessPeer(int *can, int, int) {
  *can = 0;
  return cudaSuccess;
}

PLAYED cudaError_t cudaDeviceGetPCIBusId(char *id, int n, int) {
  snprintf(id, n, "0000:00:00.0");
  return cudaSuccess;
}

PLAYED cudaError_t cudaGetDriverEntryPointByVersion(const char *, void **f, unsigned, unsigned long long,
                                                    enum cudaDriverEntryPointQueryResult *result) {
  *f = nullptr;
  if (result != nullptr) *result = cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}

PLAYED cudaError_t cudaProfilerStart(void) { return cudaSuccess; }
PLAYED cudaError_t cudaProfilerStop(void) { return cudaSuccess; }
