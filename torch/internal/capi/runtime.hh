#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/ivalue.h>
#include <ATen/cpu/Utils.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/Generator.h>
#include <torch/headeronly/version.h>

#include <mutex>

#include "internal.h"

using namespace thaw;

namespace {

at::Generator &generator(thaw_generator g) { return *reinterpret_cast<at::Generator *>(g); }

} // namespace

extern "C" char *thaw_generator_new(uint64_t seed, thaw_generator *out) {
  return guarded([&] {
    *out = reinterpret_cast<thaw_generator>(new at::Generator(at::make_generator<at::CPUGeneratorImpl>(seed)));
  });
}

extern "C" char *thaw_generator_default(thaw_generator *out) {
  return guarded(
      [&] { *out = reinterpret_cast<thaw_generator>(new at::Generator(at::detail::getDefaultCPUGenerator())); });
}

extern "C" char *thaw_generator_seed(thaw_generator g, uint64_t seed) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator(g).mutex());
    generator(g).set_current_seed(seed);
  });
}

extern "C" char *thaw_generator_state(thaw_generator g, thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator(g).mutex());
    *out = release(generator(g).get_state());
    *scope = current_scope;
  });
}

extern "C" char *thaw_generator_set_state(thaw_generator g, thaw_tensor state) {
  return guarded([&] {
    std::lock_guard<std::mutex> lock(generator(g).mutex());
    generator(g).set_state(borrow(state));
  });
}

extern "C" void thaw_generator_free(thaw_generator g) { delete reinterpret_cast<at::Generator *>(g); }

extern "C" const char *thaw_version(void) { return TORCH_VERSION; }

extern "C" char *thaw_show_config(char **out) {
  return guarded([&] { *out = copy_string(at::show_config()); });
}

extern "C" const char *thaw_cpu_capability(void) {
  static const std::string name = at::get_cpu_capability();
  return name.c_str();
}

extern "C" int32_t thaw_cpu_bfloat16(void) {
  static const bool does = [] {
    const auto can = at::cpu::get_cpu_capabilities();
    for (const char *name : {"amx_bf16", "avx512_bf16"}) {
      if (const auto it = can.find(name); it != can.end() && it->second.isBool() && it->second.toBool()) return true;
    }
    return false;
  }();
  return does;
}

extern "C" int32_t thaw_has_cuda(void) { return at::hasCUDA(); }

extern "C" int32_t thaw_num_threads(void) { return at::get_num_threads(); }

extern "C" char *thaw_set_num_threads(int32_t n) {
  return guarded([&] { at::set_num_threads(n); });
}

void thaw::set_deterministic(bool on) {
  auto &context = at::globalContext();
  context.setDeterministicAlgorithms(on, false);
  context.setDeterministicCuDNN(on);
  // A help to find memory that is read before it is written, which results do not depend on: a kernel for each new tensor.
  context.setDeterministicFillUninitializedMemory(false);
}

extern "C" void thaw_set_deterministic(int32_t on) { set_deterministic(on != 0); }
