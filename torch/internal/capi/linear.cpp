// Linear layers on the CPU through oneDNN. libtorch sends float32 products to MKL, whose AVX-512 kernels stay off on
// other makers' processors: on an EPYC oneDNN is 2.2 times as fast, forward and backward, and elsewhere about equal
// (docs/decisions/002-onednn-linear.md).
#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "internal.h"

using namespace thaw;

namespace {

using at::Tensor;
using Pointwise = Tensor(const Tensor &, const Tensor &, const std::optional<Tensor> &, std::string_view,
                         c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);

// x [.., K] times weight [N, K] transposed, plus bias [N], and GELU (by erf) over it where asked.
Tensor product(const Tensor &x, const Tensor &weight, const std::optional<Tensor> &bias, bool gelu) {
  static auto op = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Pointwise>();
  return op.call(x, weight, bias, gelu ? "gelu" : "none", c10::List<std::optional<at::Scalar>>(), gelu ? "none" : "");
}

struct LinearFunction : torch::autograd::Function<LinearFunction> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &x, const Tensor &weight,
                        const std::optional<Tensor> &bias) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({x, weight});
    ctx->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    return product(x, weight, bias, false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    TORCH_CHECK(!c10::GradMode::is_enabled(), "second derivatives of a linear layer: use torch.Linear for it");
    Tensor dy = grads[0].contiguous(), dx, dw, db;
    Tensor rows = dy.view({-1, dy.size(-1)}); // [M, N]
    if (ctx->needs_input_grad(0)) dx = product(dy, weight.t(), std::nullopt, false);
    if (ctx->needs_input_grad(1)) {
      Tensor inputs = x.reshape({-1, x.size(-1)}); // [M, K]
      dw = product(rows.t(), inputs.t(), std::nullopt, false);
    }
    if (ctx->saved_data["bias"].toBool()) db = rows.sum(0);
    return {dx, dw, db};
  }
};

// Whether oneDNN takes the product: float32 on the CPU, and large enough that its overhead (1 to 2 us) is nothing.
bool suits(const Tensor &x, const Tensor &weight) {
  constexpr int64_t smallest = 1 << 20; // multiply-adds
  return x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && x.device().is_cpu() &&
         weight.device().is_cpu() && x.layout() == c10::kStrided && weight.dim() == 2 && x.dim() >= 2 &&
         x.size(-1) == weight.size(1) && x.numel() * weight.size(0) >= smallest &&
         at::globalContext().userEnabledMkldnn() && !at::autocast::is_autocast_enabled(at::kCPU);
}

bool recording(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  return c10::GradMode::is_enabled() &&
         (x.requires_grad() || weight.requires_grad() || (bias.defined() && bias.requires_grad()));
}

} // namespace

extern "C" char *thaw_linear(thaw_tensor x_, thaw_tensor weight_, thaw_tensor bias_, int32_t gelu, thaw_tensor *out,
                             int32_t *scope) {
  return guarded([&] {
    Tensor x = borrow(x_), weight = borrow(weight_), bias = borrow(bias_);
    std::optional<Tensor> maybe_bias = bias.defined() ? std::optional<Tensor>(bias) : std::nullopt;
    Tensor y;
    if (!suits(x, weight)) {
      y = at::linear(x, weight, maybe_bias);
      if (gelu) y = at::gelu(y);
    } else if (recording(x, weight, bias)) {
      y = LinearFunction::apply(x, weight, maybe_bias);
      if (gelu) y = at::gelu(y);
    } else {
      y = product(x, weight, maybe_bias, gelu != 0);
    }
    *out = release(std::move(y));
    *scope = current_scope;
  });
}
