// Copies of float32 parameters in the dtype of autocast, made by one kernel for all of them, where autocast makes each by a
// kernel of its own.
#include "shadow.h"

#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/GradMode.h>

#include <unordered_map>

using namespace thaw;

namespace {

using at::Tensor;

struct ShadowParams {
  at::ScalarType dtype;
  std::vector<Tensor> of, values;                            // parameters, and their copies
  std::vector<Tensor> leaves;                                // the copies' memory again, to take part in autograd
  std::unordered_map<const c10::TensorImpl *, size_t> index; // of each parameter

  // Copies lie one behind the other, those of layers that are joined as one matrix.
  ShadowParams(std::vector<Tensor> parameters, at::ScalarType type) : dtype(type), of(std::move(parameters)) {
    if (of.empty()) return;
    c10::NoGradGuard no_grad;
    constexpr int64_t align = 128; // elements: 256 bytes, more than which no kernel asks for
    int64_t total = 0;
    for (const Tensor &t : of) {
      TORCH_CHECK(t.scalar_type() == at::kFloat && t.is_non_overlapping_and_dense() && t.device() == of[0].device(),
                  "copies are made of dense float32 tensors on one device");
      total += (t.numel() + align - 1) / align * align;
    }
    const Tensor room = at::empty({total}, of[0].options().dtype(dtype).requires_grad(false));
    int64_t at = 0;
    for (size_t i = 0; i < of.size(); i++) {
      values.push_back(at::as_strided(room, of[i].sizes(), of[i].strides(), at));
      leaves.push_back(values[i].detach().requires_grad_(of[i].requires_grad()));
      index[of[i].unsafeGetTensorImpl()] = i;
      at += (of[i].numel() + align - 1) / align * align;
    }
    refresh();
  }

  void refresh() {
    if (of.empty()) return;
    c10::NoGradGuard no_grad;
    for (const Tensor &leaf : leaves) leaf.mutable_grad() = Tensor(); // of a pass that broke off
    at::_foreach_copy_(values, of);
  }

  // Gradients that copies took become the parameters'.
  void collect() {
    c10::NoGradGuard no_grad;
    std::vector<Tensor> half, whole;
    for (size_t i = 0; i < leaves.size(); i++) {
      if (!leaves[i].mutable_grad().defined()) continue;
      TORCH_CHECK(!of[i].mutable_grad().defined(), "a parameter has a gradient of another pass");
      half.push_back(leaves[i].mutable_grad());
      whole.push_back(at::empty_like(of[i]));
      of[i].mutable_grad() = whole.back();
      leaves[i].mutable_grad() = Tensor();
    }
    if (!half.empty()) at::_foreach_copy_(whole, half);
  }
};

thread_local std::vector<ShadowParams *> shadows_in_use;

Tensor find(const Tensor &t, at::ScalarType type, const std::vector<Tensor> ShadowParams::*which) {
  for (const ShadowParams *h : shadows_in_use) {
    const auto found = h->index.find(t.unsafeGetTensorImpl());
    if (h->dtype == type && found != h->index.end()) return (h->*which)[found->second];
  }
  return Tensor();
}

ShadowParams *shadow(thaw_shadow h) { return reinterpret_cast<ShadowParams *>(h); }

} // namespace

Tensor thaw::shadow_value(const Tensor &t, at::ScalarType type) { return find(t, type, &ShadowParams::values); }
Tensor thaw::shadow_leaf(const Tensor &t, at::ScalarType type) { return find(t, type, &ShadowParams::leaves); }

extern "C" char *thaw_shadow_new(const thaw_tensor *of, int64_t n, int32_t dtype, thaw_shadow *out) {
  return guarded([&] {
    *out = reinterpret_cast<thaw_shadow>(new ShadowParams(borrow_all(of, n), static_cast<at::ScalarType>(dtype)));
  });
}

extern "C" void thaw_shadow_enter(thaw_shadow h) { shadows_in_use.push_back(shadow(h)); }

extern "C" void thaw_shadow_exit(void) { shadows_in_use.pop_back(); }

extern "C" char *thaw_shadow_refresh(thaw_shadow h) {
  return guarded([&] { shadow(h)->refresh(); });
}

extern "C" char *thaw_shadow_collect(thaw_shadow h) {
  return guarded([&] { shadow(h)->collect(); });
}

extern "C" void thaw_shadow_free(thaw_shadow h) { delete shadow(h); }
