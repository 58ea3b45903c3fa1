// A convolution with the batch norm behind it, where nothing is recorded for autograd: the norm's numbers go into the weights and
// a bias, and ReLU and a shortcut into oneDNN's convolution, so that the output is written once and read by no other pass
// (docs/decisions/026-folded-norms.md).
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <atomic>

using namespace thaw;

namespace folded {

using at::Tensor;
using Scalars = c10::List<std::optional<at::Scalar>>;
using Unary = Tensor(const Tensor &, const Tensor &, const std::optional<Tensor> &, at::IntArrayRef, at::IntArrayRef, at::IntArrayRef,
                     int64_t, std::string_view, Scalars, std::optional<std::string_view>);
using Binary = Tensor(const Tensor &, const Tensor &, const Tensor &, const std::optional<Tensor> &, at::IntArrayRef, at::IntArrayRef,
                      at::IntArrayRef, int64_t, std::string_view, std::optional<at::Scalar>, std::optional<std::string_view>, Scalars,
                      std::optional<std::string_view>);

struct Window {
  at::IntArrayRef stride, padding, dilation;
  int64_t groups;
};

// oneDNN's convolution of x with weight, plus bias and, where there is one, a shortcut, and ReLU over it where asked.
Tensor direct(const Tensor &x, const Tensor &weight, const Tensor &bias, const Tensor &shortcut, bool relu, const Window &w) {
  static auto unary = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise", "").typed<Unary>();
  static auto binary = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_convolution_pointwise", "binary").typed<Binary>();
  const Scalars none;
  // What libtorch does not fuse with a shortcut, nor can do in bfloat16.
  const bool apart = w.groups > 1 || x.suggest_memory_format() != at::MemoryFormat::ChannelsLast;
  if (!shortcut.defined() || apart) {
    const bool then = shortcut.defined();
    Tensor y = unary.call(x, weight, bias, w.padding, w.stride, w.dilation, w.groups, relu && !then ? "relu" : "none", none, "");
    if (then) y.add_(shortcut);
    return relu && then ? y.relu_() : y;
  }
  const std::optional<std::string_view> after = relu ? std::optional<std::string_view>("relu") : std::nullopt;
  return binary.call(x, shortcut, weight, bias, w.padding, w.stride, w.dilation, w.groups, "add", at::Scalar(1.0), after, none, "");
}

std::atomic<bool> on{true};

// Whether oneDNN convolves bfloat16 on this processor; elsewhere libtorch's convolutions have kernels of their own.
bool convolves_bfloat16() {
#ifdef __x86_64__
  static const bool does = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return does;
#else
  return false;
#endif
}

// Whether it may be: for float32 on the CPU, which autocast may round to bfloat16.
bool possible(at::TensorList tensors) {
  if (!on.load(std::memory_order_relaxed) || !at::globalContext().userEnabledMkldnn()) return false;
  const bool cast = at::autocast::is_autocast_enabled(at::kCPU);
  if (cast && (at::autocast::get_autocast_dtype(at::kCPU) != at::kBFloat16 || !convolves_bfloat16())) return false;
  for (const Tensor &t : tensors) {
    if (!t.defined()) continue;
    if (!t.device().is_cpu() || t.layout() != c10::kStrided) return false;
    if (t.scalar_type() != at::kFloat && !(cast && t.scalar_type() == at::kBFloat16)) return false;
    if (c10::GradMode::is_enabled() && t.requires_grad()) return false;
  }
  return true;
}

// From how many places of the output on multiplying the weights takes less than the passes over the output that it spares.
bool enough(const Tensor &x, const Tensor &weight, const Window &w) {
  constexpr int64_t least = 1024;
  int64_t places = x.size(0);
  for (int d = 0; d < 2; d++) {
    const int64_t window = w.dilation[d] * (weight.size(2 + d) - 1) + 1;
    places *= std::max<int64_t>(0, (x.size(2 + d) + 2 * w.padding[d] - window) / w.stride[d] + 1);
  }
  return places >= least;
}

} // namespace folded

extern "C" int32_t thaw_fold(int32_t on) { return on < 0 ? folded::on.load() : folded::on.exchange(on != 0); }

extern "C" char *thaw_conv_norm(thaw_tensor x_, thaw_tensor weight_, thaw_tensor bias_, const thaw_tensor *norm, double eps,
                                thaw_tensor shortcut_, int32_t relu, const int64_t *stride, const int64_t *padding,
                                const int64_t *dilation, int64_t groups, thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    *out = 0;
    *scope = current_scope;
    at::Tensor x = borrow(x_), weight = borrow(weight_), shortcut = borrow(shortcut_);
    const at::Tensor bias = borrow(bias_);
    const std::vector<at::Tensor> n = borrow_all(norm, 4); // weight, bias, mean, variance
    const folded::Window window{{stride, 2}, {padding, 2}, {dilation, 2}, groups};
    if (!folded::possible({x, weight, bias, n[0], n[1], n[2], n[3], shortcut}) || x.dim() != 4 || weight.dim() != 4) return;
    if (x.size(1) != weight.size(1) * groups || !folded::enough(x, weight, window)) return; // of wrong shapes the layers tell
    c10::NoGradGuard no_grad;
    const bool cast = at::autocast::is_autocast_enabled(at::kCPU);
    c10::impl::ExcludeDispatchKeyGuard no_autocast(at::autocast::get_autocast_dispatch_key_from_device_type(at::kCPU));
    const at::Tensor scale = n[0] * (n[3] + eps).rsqrt();
    at::Tensor plus = n[1] - n[2] * scale;
    if (bias.defined()) plus = plus + bias * scale;
    weight = weight * scale.view({-1, 1, 1, 1});
    at::Tensor y;
#ifdef __x86_64__
    if (!cast && winograd::suits(x, weight, plus, stride, padding, dilation, groups)) {
      y = winograd::convolve(x, winograd::weight_matrices(weight, false), plus);
      if (shortcut.defined()) y.add_(shortcut);
      if (relu) y.relu_();
    }
#endif
    if (!y.defined()) {
      if (cast) {
        x = x.to(at::kBFloat16);
        weight = weight.to(at::kBFloat16);
        plus = plus.to(at::kBFloat16);
        if (shortcut.defined()) shortcut = shortcut.to(at::kBFloat16);
      }
      y = folded::direct(x, weight, plus, shortcut, relu != 0, window);
    }
    *out = release(std::move(y));
  });
}
