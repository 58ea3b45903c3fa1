// Copies of weights in the layout that oneDNN's kernels read, kept for products that come again and again. Without them
// oneDNN brings the weight into that layout in each product, which for up to a hundred rows takes longer than to multiply
// (docs/decisions/015-packed-weights.md).
#include "packed.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <unordered_map>

using namespace thaw;

namespace {

using at::Tensor;
using Reorder = Tensor(const Tensor &, std::optional<c10::SymInt>);

// For any number of rows. g++ 12 takes an empty std::optional<c10::SymInt> for one that is read.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
Tensor reorder(const Tensor &weight) {
  static auto op = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_reorder_linear_weight", "").typed<Reorder>();
  return op.call(weight, std::nullopt);
}

struct PackedWeights {
  struct Packed {
    c10::weak_intrusive_ptr<c10::TensorImpl> of; // keeps the address, by which it is found, from another tensor
    const void *data;                            // with version: what the weight was when it was packed
    uint32_t version;
    Tensor value;
  };
  std::unordered_map<const c10::TensorImpl *, Packed> kept;

  Tensor of(const Tensor &weight) {
    const auto found = kept.find(weight.unsafeGetTensorImpl());
    if (found != kept.end() && found->second.data == weight.const_data_ptr() && found->second.version == weight._version())
      return found->second.value;
    if (found != kept.end()) kept.erase(found); // frees it before another is made
    Packed p{c10::weak_intrusive_ptr<c10::TensorImpl>(weight.getIntrusivePtr()), weight.const_data_ptr(),
             static_cast<uint32_t>(weight._version()), reorder(weight)};
    return kept.emplace(weight.unsafeGetTensorImpl(), std::move(p)).first->second.value;
  }
};

thread_local PackedWeights *packed_in_use = nullptr;

PackedWeights *packed(thaw_packed h) { return reinterpret_cast<PackedWeights *>(h); }

} // namespace

Tensor thaw::packed_value(const Tensor &weight) {
  if (packed_in_use == nullptr || weight.is_inference() || !weight.is_contiguous()) return Tensor();
  c10::NoGradGuard no_grad;
  return packed_in_use->of(weight);
}

extern "C" char *thaw_packed_new(thaw_packed *out) {
  return guarded([&] { *out = reinterpret_cast<thaw_packed>(new PackedWeights); });
}

extern "C" thaw_packed thaw_packed_swap(thaw_packed h) {
  const auto before = reinterpret_cast<thaw_packed>(packed_in_use);
  packed_in_use = packed(h);
  return before;
}

extern "C" void thaw_packed_free(thaw_packed h) { delete packed(h); }
