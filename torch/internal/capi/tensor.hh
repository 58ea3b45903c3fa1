#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include "internal.h"

using namespace thaw;

extern "C" char *thaw_tensor_describe(thaw_tensor handle, thaw_tensor_info *info) {
  return guarded([&] {
    at::Tensor t = borrow(handle);
    memset(info, 0, offsetof(thaw_tensor_info, sizes));
    info->ndim = t.dim();
    info->numel = t.numel();
    info->itemsize = static_cast<int64_t>(t.element_size());
    info->dtype = static_cast<int64_t>(t.scalar_type());
    info->device_type = static_cast<int64_t>(t.device().type());
    info->device_index = t.device().index();
    info->requires_grad = t.requires_grad();
    info->is_leaf = t.is_leaf();
    info->layout = static_cast<int64_t>(t.layout());
    if (!t.is_inference()) info->version = t.unsafeGetTensorImpl()->version_counter().current_version();
    if (t.layout() == c10::kStrided) {
      info->contiguous = t.is_contiguous();
      info->data = t.numel() == 0 ? nullptr : t.unsafeGetTensorImpl()->mutable_data();
      info->storage_bytes = static_cast<int64_t>(t.storage().nbytes());
      for (int64_t i = 0; i < info->ndim; i++) {
        info->sizes[i] = t.size(i);
        info->strides[i] = t.stride(i);
      }
    }
  });
}

extern "C" int64_t thaw_tensor_ndim(thaw_tensor t) { return impl(t)->dim(); }

extern "C" void thaw_tensor_sizes(thaw_tensor t, int64_t *sizes) {
  auto s = impl(t)->sizes();
  std::copy(s.begin(), s.end(), sizes);
}

extern "C" char *thaw_tensor_from_bytes(const void *data, int64_t nbytes, int64_t dtype, const int64_t *sizes,
                                        int64_t ndim, thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    at::Tensor t = at::empty(c10::IntArrayRef(sizes, ndim), static_cast<c10::ScalarType>(dtype));
    TORCH_CHECK(static_cast<int64_t>(t.nbytes()) == nbytes, "a tensor of this shape and dtype has ", t.nbytes(),
                " bytes, the data ", nbytes);
    if (nbytes > 0) memcpy(t.mutable_data_ptr(), data, nbytes);
    *out = release(std::move(t));
    *scope = current_scope;
  });
}

extern "C" char *thaw_tensor_from_blob(void *data, int64_t dtype, const int64_t *sizes, int64_t ndim,
                                       thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    *out = release(at::from_blob(data, c10::IntArrayRef(sizes, ndim), static_cast<c10::ScalarType>(dtype)));
    *scope = current_scope;
  });
}

namespace {
// The tensor's elements in row-major order in the CPU's memory.
at::Tensor row_major(thaw_tensor handle) {
  return borrow(handle).detach().to(c10::kCPU).contiguous().resolve_conj().resolve_neg();
}
} // namespace

extern "C" char *thaw_tensor_memory(thaw_tensor handle, void **data, int64_t *nbytes) {
  return guarded([&] {
    const at::Tensor &t = borrow(handle);
    TORCH_CHECK(t.is_cpu() && t.is_contiguous(), "only the memory of a contiguous tensor on the CPU can be shared");
    *data = t.mutable_data_ptr();
    *nbytes = static_cast<int64_t>(t.nbytes());
  });
}

extern "C" char *thaw_tensor_to_bytes(thaw_tensor handle, void *dst, int64_t nbytes) {
  return guarded([&] {
    at::Tensor t = row_major(handle);
    TORCH_CHECK(static_cast<int64_t>(t.nbytes()) == nbytes, "the tensor has ", t.nbytes(), " bytes, the slice ",
                nbytes);
    if (nbytes > 0) memcpy(dst, t.const_data_ptr(), nbytes);
  });
}

extern "C" thaw_tensor thaw_tensor_share(thaw_tensor t) { return release(borrow(t)); }

extern "C" char *thaw_tensor_digest(thaw_tensor handle, uint64_t *digest) {
  return guarded([&] {
    at::Tensor t = row_major(handle);
    const auto *p = static_cast<const unsigned char *>(t.const_data_ptr());
    const size_t n = t.nbytes();
    // Four lanes of FNV-1a over 8-byte words, each folded with a rotation so that high bits spread too.
    constexpr uint64_t prime = 0x100000001b3, basis = 0xcbf29ce484222325;
    uint64_t lane[4] = {basis, basis ^ 1, basis ^ 2, basis ^ 3};
    auto mix = [&](int l, uint64_t word) {
      lane[l] = (lane[l] ^ word) * prime;
      lane[l] ^= lane[l] >> 29;
    };
    size_t i = 0;
    for (; i + 32 <= n; i += 32)
      for (int l = 0; l < 4; l++) {
        uint64_t word;
        memcpy(&word, p + i + 8 * l, 8);
        mix(l, word);
      }
    for (; i < n; i++) mix(static_cast<int>(i & 3), p[i] + 1);
    uint64_t h = n;
    for (uint64_t l : lane) h = (h ^ l) * prime, h ^= h >> 31;
    *digest = h;
  });
}

extern "C" void thaw_tensors_free(const thaw_tensor *t, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (t[i] != 0) TensorPtr::reclaim(impl(t[i]));
}
