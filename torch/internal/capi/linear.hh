// Linear layers on the CPU through oneDNN, on processors with AVX-512 that are not Intel's. libtorch sends float32 products to
// MKL, whose AVX-512 kernels stay off there: on an EPYC oneDNN is 2.2 times as fast, forward and backward. On others both multiply
// as fast, and MKL reads transposed matrices as they are (docs/decisions/002-onednn-linear.md).
#include <atomic>

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include "packed.h"
#include "shadow.h"
#include "turned.hh"

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
    ctx->save_for_backward({weight.requires_grad() ? x : Tensor(), x.requires_grad() ? weight : Tensor()});
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
    if (ctx->needs_input_grad(0)) dx = product(dy, turned(weight), std::nullopt, false);
    if (ctx->needs_input_grad(1)) {
      Tensor inputs = x.reshape({-1, x.size(-1)}); // [M, K]
      dw = product(turned(rows), turned(inputs), std::nullopt, false);
    }
    if (ctx->saved_data["bias"].toBool()) db = rows.sum(0);
    return {dx, dw, db};
  }
};

bool any_requires_grad(at::TensorList tensors) {
  return std::any_of(tensors.begin(), tensors.end(), [](const Tensor &t) { return t.defined() && t.requires_grad(); });
}

// Parameters of layers one below the other, in dtype: a view where their copies in use lie so.
Tensor joined_shadows(at::TensorList parts, at::ScalarType dtype) {
  std::vector<Tensor> shadows;
  for (const Tensor &part : parts) {
    const Tensor shadow = shadow_value(part, dtype);
    shadows.push_back(shadow.defined() ? shadow : part.to(dtype));
  }
  if (shadows.size() == 1) return shadows[0];
  auto sizes = shadows[0].sizes().vec();
  bool adjacent = true;
  for (size_t i = 0; i < shadows.size(); i++) {
    adjacent = adjacent && shadows[i].is_contiguous() &&
               (i == 0 || (shadows[i].storage().is_alias_of(shadows[0].storage()) &&
                           shadows[i].storage_offset() == shadows[i - 1].storage_offset() + shadows[i - 1].numel()));
    if (i > 0) sizes[0] += shadows[i].size(0);
  }
  return adjacent ? at::as_strided(shadows[0], sizes, shadows[0].strides(), shadows[0].storage_offset()) : at::cat(shadows);
}

// Linear layers that read the same x, on a GPU under autocast: one product, the layers' one below the other. It is
// autocast's, but gradients of float32 parameters come out of the products as float32: autograd's own way rounds them to
// dtype and casts them back, a kernel and twelve bytes an element more.
struct AutocastLinear : torch::autograd::Function<AutocastLinear> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &x, at::TensorList weights, at::TensorList biases,
                        at::ScalarType dtype) {
    at::AutoDispatchBelowADInplaceOrView below;
    c10::impl::ExcludeDispatchKeyGuard no_autocast(at::autocast::get_autocast_dispatch_key_from_device_type(at::kCUDA));
    const Tensor inputs = x.to(dtype), half = joined_shadows(weights, dtype);
    ctx->save_for_backward({any_requires_grad(weights) ? inputs : Tensor(), x.requires_grad() ? half : Tensor()});
    ctx->saved_data["bias"] = any_requires_grad(biases);
    ctx->saved_data["biases"] = static_cast<int64_t>(biases.size());
    std::vector<int64_t> rows;
    for (const Tensor &weight : weights) rows.push_back(weight.size(0));
    ctx->saved_data["rows"] = rows;
    return at::linear(inputs, half, biases.empty() ? std::optional<Tensor>() : joined_shadows(biases, dtype));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1];
    TORCH_CHECK(!c10::GradMode::is_enabled(), "second derivatives of a linear layer: use torch.Linear for it");
    const Tensor rows = grads[0].reshape({-1, grads[0].size(-1)}); // [M, N]
    Tensor dx, dw, db;
    if (ctx->needs_input_grad(0)) {
      auto shape = grads[0].sizes().vec();
      shape.back() = weight.size(1);
      dx = rows.mm(weight).view(shape);
    }
    if (x.defined()) dw = at::mm(rows.t(), x.reshape({-1, x.size(-1)}), at::kFloat);
    if (ctx->saved_data["bias"].toBool()) db = rows.sum(0, false, at::kFloat);
    torch::autograd::variable_list out{dx};
    const auto layers = ctx->saved_data["rows"].toIntVector();
    const bool biased = ctx->saved_data["biases"].toInt() > 0;
    for (const Tensor &all : biased ? std::vector<Tensor>{dw, db} : std::vector<Tensor>{dw}) {
      int64_t at = 0;
      for (int64_t n : layers) {
        out.push_back(!all.defined() || layers.size() == 1 ? all : all.narrow(0, at, n));
        at += n;
      }
    }
    out.emplace_back(); // of dtype
    return out;
  }
};

// ForkFunction gives x and x in the dtype of autocast, for a residual and the layer beside it. Backward adds both gradients
// up in one kernel, where autograd would cast first.
struct ForkFunction : torch::autograd::Function<ForkFunction> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext *, const Tensor &x, at::ScalarType dtype) {
    at::AutoDispatchBelowADInplaceOrView below;
    return {x, x.to(dtype)};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *, torch::autograd::variable_list grads) {
    if (!grads[0].defined()) return {grads[1], Tensor()};
    return {grads[1].defined() ? grads[0].add(grads[1]) : grads[0], Tensor()};
  }
};

bool autocasts(const Tensor &x) { return x.is_cuda() && at::autocast::is_autocast_enabled(at::kCUDA); }

// Whether x [.., K], weight [N, K] and bias [N] are a layer's, which the ways below know; others are for at::linear.
bool plain(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  return weight.dim() == 2 && x.dim() >= 1 && x.size(-1) == weight.size(1) &&
         (!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)));
}

bool autocast_layer(const Tensor &x, const Tensor &weight) {
  const auto type = x.scalar_type();
  return autocasts(x) && weight.scalar_type() == at::kFloat && (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf);
}

// Whether oneDNN takes the product: float32 on the CPU, large enough that its overhead (1 to 2 us) is nothing, and not as
// narrow as those of adapters and heads, where it takes up to six times as long as MKL.
bool suits(const Tensor &x, const Tensor &weight) {
  constexpr int64_t smallest = 1 << 20; // multiply-adds
  constexpr int64_t narrowest = 64;
  if (std::min(weight.size(0), weight.size(1)) < narrowest) return false;
  return x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat && x.device().is_cpu() &&
         weight.device().is_cpu() && x.layout() == c10::kStrided && x.dim() >= 2 && x.numel() * weight.size(0) >= smallest &&
         at::globalContext().userEnabledMkldnn() && !at::autocast::is_autocast_enabled(at::kCPU);
}

bool intel() {
#ifdef __x86_64__
  return __builtin_cpu_is("intel");
#else
  return false;
#endif
}

// Whether layers that train go through oneDNN on every processor.
std::atomic<bool> always_onednn{false};

// Whether MKL multiplies as fast as oneDNN: on Intel's processors, and on those that have no AVX-512, which MKL would not use there.
bool mkl_is_fast() {
#ifdef __x86_64__
  static const bool equal = intel() || !__builtin_cpu_supports("avx512f");
#else
  static const bool equal = false;
#endif
  static const bool fast = equal && at::globalContext().hasMKL();
  return fast;
}

bool recording(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  return c10::GradMode::is_enabled() &&
         (x.requires_grad() || weight.requires_grad() || (bias.defined() && bias.requires_grad()));
}

// The copy of a parameter that is in use, as a leaf, or the parameter.
Tensor leaf_of(const Tensor &t, const Tensor &x) {
  const auto device = x.device().type();
  if (!t.defined() || !at::autocast::is_autocast_enabled(device)) return t;
  const Tensor half = shadow_leaf(t, at::autocast::get_autocast_dtype(device));
  return half.defined() ? half : t;
}

std::optional<Tensor> maybe(const Tensor &t) { return t.defined() ? std::optional<Tensor>(t) : std::nullopt; }

} // namespace

extern "C" int32_t thaw_always_onednn(int32_t always) { return always_onednn.exchange(always != 0); }

extern "C" char *thaw_linear(thaw_tensor x_, thaw_tensor weight_, thaw_tensor bias_, int32_t gelu, thaw_tensor *out,
                             int32_t *scope) {
  return guarded([&] {
    Tensor x = borrow(x_), weight = borrow(weight_), bias = borrow(bias_);
    std::optional<Tensor> maybe_bias = maybe(bias);
    Tensor y;
    const bool layer = plain(x, weight, bias);
    if (layer && autocast_layer(x, weight) && recording(x, weight, bias)) {
      const auto biases = bias.defined() ? at::TensorList(bias) : at::TensorList();
      y = AutocastLinear::apply(x, at::TensorList(weight), biases, at::autocast::get_autocast_dtype(at::kCUDA));
      if (gelu) y = at::gelu(y);
    } else if (!layer || !suits(x, weight) || (mkl_is_fast() && !always_onednn.load(std::memory_order_relaxed) && recording(x, weight, bias))) {
      y = at::linear(x, leaf_of(weight, x), maybe(leaf_of(bias, x)));
      if (gelu) y = at::gelu(y);
    } else if (recording(x, weight, bias)) {
      y = LinearFunction::apply(x, weight, maybe_bias);
      if (gelu) y = at::gelu(y);
    } else {
      const Tensor packed = packed_value(weight);
      y = product(x, packed.defined() ? packed : weight, maybe_bias, gelu != 0);
    }
    *out = release(std::move(y));
    *scope = current_scope;
  });
}

extern "C" char *thaw_linear_joined(thaw_tensor x_, const thaw_tensor *weights_, const thaw_tensor *biases_, int64_t n,
                                    thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    const Tensor x = borrow(x_);
    const auto weights = borrow_all(weights_, n), biases = borrow_all(biases_, n);
    bool layers = true, records = false;
    for (int64_t i = 0; i < n; i++) {
      layers = layers && plain(x, weights[i], biases[i]) && autocast_layer(x, weights[i]);
      records = records || recording(x, weights[i], biases[i]);
    }
    Tensor y;
    if (layers && records) {
      y = AutocastLinear::apply(x, at::TensorList(weights), at::TensorList(biases), at::autocast::get_autocast_dtype(at::kCUDA));
    } else if (layers) {
      const auto dtype = at::autocast::get_autocast_dtype(at::kCUDA);
      c10::impl::ExcludeDispatchKeyGuard no_autocast(at::autocast::get_autocast_dispatch_key_from_device_type(at::kCUDA));
      y = at::linear(x.to(dtype), joined_shadows(weights, dtype), joined_shadows(biases, dtype));
    } else {
      const auto joined = [&](std::vector<Tensor> parts) {
        for (Tensor &part : parts) part = leaf_of(part, x);
        return at::cat(parts);
      };
      y = at::linear(x, joined(weights), joined(biases));
    }
    *out = release(std::move(y));
    *scope = current_scope;
  });
}

extern "C" char *thaw_autocast_fork(thaw_tensor x_, thaw_tensor *residual, thaw_tensor *input, int32_t *scope) {
  return guarded([&] {
    const Tensor x = borrow(x_);
    if (autocasts(x) && x.scalar_type() == at::kFloat) {
      auto both = ForkFunction::apply(x, at::autocast::get_autocast_dtype(at::kCUDA));
      *residual = release(std::move(both[0]));
      *input = release(std::move(both[1]));
    } else {
      *residual = release(Tensor(x));
      *input = release(Tensor(x));
    }
    *scope = current_scope;
  });
}
