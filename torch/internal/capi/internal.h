// What the parts of capi.cpp share: handles and the one place where exceptions end.
#pragma once

#if !__has_include(<ATen/core/Tensor.h>)
#error "libtorch is not beside this module: `make deps` brings it (or third_party/fetch.sh of the module that is built)"
#endif

#include <ATen/core/Tensor.h>
#include <c10/core/TensorImpl.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "capi.h"

namespace thaw {

// Makes operators choose deterministic kernels, for the whole process; where one has none it fails.
void set_deterministic(bool on);

using TensorPtr = c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>;

// Another reference to the tensor behind a handle; 0 is the undefined tensor.
inline at::Tensor borrow(thaw_tensor t) {
  if (t == 0) return at::Tensor();
  return at::Tensor(TensorPtr::reclaim_copy(reinterpret_cast<c10::TensorImpl *>(t)));
}

inline c10::TensorImpl *impl(thaw_tensor t) { return reinterpret_cast<c10::TensorImpl *>(t); }

// Hands the reference over to the caller; the undefined tensor becomes 0.
inline thaw_tensor release(at::Tensor &&t) {
  if (!t.defined()) return 0;
  return reinterpret_cast<thaw_tensor>(t.unsafeReleaseTensorImpl());
}

inline std::vector<at::Tensor> borrow_all(const thaw_tensor *t, int64_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (int64_t i = 0; i < n; i++) out.push_back(borrow(t[i]));
  return out;
}

inline char *copy_string(const std::string &s) {
  char *out = static_cast<char *>(malloc(s.size() + 1));
  if (out != nullptr) memcpy(out, s.c_str(), s.size() + 1);
  return out;
}

inline char *fail(char kind, const std::string &message) {
  char *out = copy_string(std::string(1, kind) + message);
  if (out == nullptr) std::abort(); // not even memory for a message is left
  return out;
}

// Runs f and turns whatever it throws into a message.
template <typename F> char *guarded(F &&f) {
  try {
    f();
    return nullptr;
  } catch (const c10::OutOfMemoryError &e) {
    return fail(THAW_ERR_MEMORY, e.what_without_backtrace());
  } catch (const c10::IndexError &e) {
    return fail(THAW_ERR_INDEX, e.what_without_backtrace());
  } catch (const c10::NotImplementedError &e) {
    return fail(THAW_ERR_UNIMPLEMENTED, e.what_without_backtrace());
  } catch (const c10::Error &e) {
    return fail(THAW_ERR_OTHER, e.what_without_backtrace());
  } catch (const std::bad_alloc &) {
    return fail(THAW_ERR_MEMORY, "out of memory");
  } catch (const std::exception &e) {
    return fail(THAW_ERR_OTHER, e.what());
  } catch (...) {
    return fail(THAW_ERR_OTHER, "an exception that is not a std::exception");
  }
}

extern thread_local int32_t current_scope;

} // namespace thaw
