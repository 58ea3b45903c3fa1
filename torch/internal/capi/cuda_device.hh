#include <ATen/Context.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <c10/util/env.h>

#include <atomic>

#include "internal_cuda.h"

// Of torch/csrc/cuda/nccl.h, which needs CUDAContext.h.
namespace torch::cuda::nccl {
std::uint64_t version();
}

using namespace thaw;

namespace {

// The driver's CUDA version, 0 where there is no driver.
int driver_version() {
  int v = 0;
  if (cudaDriverGetVersion(&v) != cudaSuccess) {
    (void)cudaGetLastError();
    return 0;
  }
  return v;
}

// The runtime's CUDA version. It does not tell without a driver; then it is that of its headers.
int runtime_version() {
  int v = 0;
  if (cudaRuntimeGetVersion(&v) != cudaSuccess) {
    (void)cudaGetLastError();
    return CUDART_VERSION;
  }
  return v;
}

// What ends an error of the driver's, behind a semicolon; empty where that is not known.
const char *mend(cudaError_t err) {
  switch (err) {
  case cudaErrorDevicesUnavailable: return "; other processes hold it (nvidia-smi tells which)";
  case cudaErrorSystemNotReady: return "; start nvidia-fabricmanager";
  case cudaErrorSystemDriverMismatch: // an update changed files of the driver that runs
  case cudaErrorInitializationError:
  case cudaErrorUnknown: return "; restart the machine, or load the driver's modules anew (nvidia, nvidia_uvm)";
  default: return "";
  }
}

void require_device() {
  int n = 0;
  const cudaError_t err = c10::cuda::GetDeviceCount(&n);
  if (err == cudaSuccess && n > 0) return;
  (void)cudaGetLastError(); // or the next call would report it again
  const int driver = driver_version();
  TORCH_CHECK(driver != 0, "no NVIDIA driver answers on this machine: a GPU's driver (nvidia-smi lists it) must be "
                           "installed and, in a container, passed through");
  const int runtime = runtime_version();
  TORCH_CHECK(err != cudaErrorInsufficientDriver, "the NVIDIA driver is too old: it supports CUDA up to ",
              driver / 1000, ".", driver % 1000 / 10, ", this program needs ", runtime / 1000, ".",
              runtime % 1000 / 10, "; install driver 580 or later"); // CUDA 13.0's release notes, table 2
  if (err == cudaSuccess || err == cudaErrorNoDevice) {
    const auto visible = c10::utils::get_env("CUDA_VISIBLE_DEVICES");
    TORCH_CHECK(!visible, "the driver shows this process no GPU, as CUDA_VISIBLE_DEVICES is \"", *visible, "\"");
    TORCH_CHECK(false, "the driver shows this process no GPU (nvidia-smi tells what it has)");
  }
  TORCH_CHECK(false, "no GPU answers: ", cudaGetErrorString(err), mend(err));
}

} // namespace

void thaw::cuda_start() {
  static std::atomic<bool> started{false};
  if (started.load(std::memory_order_acquire)) return;
  require_device();
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  started.store(true, std::memory_order_release);
}

c10::DeviceIndex thaw::cuda_device(int32_t device) {
  cuda_start();
  if (device < 0) return c10::cuda::current_device();
  const int n = c10::cuda::device_count();
  TORCH_CHECK(device < n, "there is no CUDA device ", device, ": this process sees ", n, ", numbered from 0");
  return static_cast<c10::DeviceIndex>(device);
}

extern "C" char *thaw_cuda_start(void) {
  return guarded([] { cuda_start(); });
}

extern "C" char *thaw_cuda_device_count(int32_t *n) {
  return guarded([&] {
    cuda_start();
    *n = c10::cuda::device_count();
  });
}

extern "C" char *thaw_cuda_device_properties(int32_t device, thaw_cuda_properties *p) {
  return guarded([&] {
    cudaDeviceProp prop;
    C10_CUDA_CHECK(cudaGetDeviceProperties(&prop, cuda_device(device)));
    static_assert(sizeof(prop.name) <= sizeof(p->name));
    memcpy(p->name, prop.name, sizeof(prop.name));
    p->total_memory = static_cast<int64_t>(prop.totalGlobalMem);
    p->major = prop.major;
    p->minor = prop.minor;
    p->multiprocessors = prop.multiProcessorCount;
  });
}

extern "C" char *thaw_cuda_versions(thaw_cuda_versions_info *v) {
  return guarded([&] {
    v->runtime = runtime_version();
    v->driver = driver_version();
    v->cudnn = at::Context::hasCuDNN() ? at::Context::versionRuntimeCuDNN() : 0;
    v->nccl = static_cast<int64_t>(torch::cuda::nccl::version());
  });
}

extern "C" char *thaw_cuda_synchronize(int32_t device) {
  return guarded([&] {
    c10::DeviceGuard on(cuda(cuda_device(device)));
    c10::cuda::device_synchronize();
  });
}

extern "C" char *thaw_cuda_device_swap(int32_t device, int32_t *before) {
  return guarded([&] { *before = c10::cuda::ExchangeDevice(cuda_device(device)); });
}

extern "C" char *thaw_cuda_generator(int32_t device, thaw_generator *out) {
  return guarded([&] {
    *out = reinterpret_cast<thaw_generator>(
        new at::Generator(at::cuda::detail::getDefaultCUDAGenerator(cuda_device(device))));
  });
}

extern "C" char *thaw_cuda_switches_get(thaw_cuda_switches *s) {
  return guarded([&] {
    cuda_start();
    auto &context = at::globalContext();
    s->tf32 = context.allowTF32CuBLAS();
    s->conv_tf32 = context.allowTF32CuDNN();
    s->cudnn_attention = context.userEnabledCuDNNSDP();
    s->benchmark = context.benchmarkCuDNN();
    s->deterministic = context.deterministicAlgorithms();
  });
}

extern "C" char *thaw_cuda_switches_set(const thaw_cuda_switches *s) {
  return guarded([&] {
    cuda_start();
    auto &context = at::globalContext();
    context.setAllowTF32CuBLAS(s->tf32 != 0);
    context.setAllowTF32CuDNN(s->conv_tf32 != 0);
    context.setSDPUseCuDNN(s->cudnn_attention != 0);
    context.setBenchmarkCuDNN(s->benchmark != 0);
    set_deterministic(s->deterministic != 0);
  });
}
