#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "internal.h"

using namespace thaw;

// libgomp keeps this number for each thread; at::set_num_threads would change MKL's for all of them.
extern "C" void omp_set_num_threads(int);

extern "C" int32_t thaw_swap_thread_limit(int32_t n) {
  int32_t before = at::get_num_threads(); // its first call on a thread sets the number
  omp_set_num_threads(n);
  return before;
}

extern "C" int32_t thaw_grad_mode(void) { return c10::GradMode::is_enabled(); }

extern "C" void thaw_grad_mode_set(int32_t on) { c10::GradMode::set_enabled(on != 0); }

extern "C" char *thaw_inference_enter(thaw_guard *g) {
  return guarded([&] { *g = reinterpret_cast<thaw_guard>(new c10::InferenceMode(true)); });
}

extern "C" void thaw_inference_exit(thaw_guard g) { delete reinterpret_cast<c10::InferenceMode *>(g); }

extern "C" char *thaw_autocast_enter(int32_t device_type, int32_t dtype, int32_t on, int64_t *prev) {
  return guarded([&] {
    auto device = static_cast<c10::DeviceType>(device_type);
    prev[0] = at::autocast::is_autocast_enabled(device);
    prev[1] = static_cast<int64_t>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_enabled(device, on != 0);
    at::autocast::set_autocast_dtype(device, static_cast<c10::ScalarType>(dtype));
    at::autocast::increment_nesting();
  });
}

extern "C" void thaw_autocast_exit(int32_t device_type, const int64_t *prev) {
  auto device = static_cast<c10::DeviceType>(device_type);
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device, prev[0] != 0);
  at::autocast::set_autocast_dtype(device, static_cast<c10::ScalarType>(prev[1]));
}
