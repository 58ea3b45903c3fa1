#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include "internal.h"

using namespace thaw;

extern "C" char *thaw_backward(const thaw_tensor *roots, const thaw_tensor *grads, int64_t n,
                               const thaw_tensor *inputs, int64_t ninputs, int32_t retain_graph,
                               int32_t create_graph) {
  return guarded([&] {
    torch::autograd::backward(borrow_all(roots, n), borrow_all(grads, n), retain_graph != 0, create_graph != 0,
                              borrow_all(inputs, ninputs));
  });
}

extern "C" char *thaw_grad(const thaw_tensor *roots, const thaw_tensor *grads, int64_t n, const thaw_tensor *inputs,
                           int64_t ninputs, int32_t retain_graph, int32_t create_graph, int32_t allow_unused,
                           thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    auto result = torch::autograd::grad(borrow_all(roots, n), borrow_all(inputs, ninputs), borrow_all(grads, n),
                                        retain_graph != 0, create_graph != 0, allow_unused != 0);
    for (int64_t i = 0; i < ninputs; i++) out[i] = release(std::move(result[i]));
    *scope = current_scope;
  });
}

extern "C" char *thaw_tensor_grad(thaw_tensor t, thaw_tensor *grad, int32_t *scope) {
  return guarded([&] {
    at::Tensor tensor = borrow(t);
    *grad = release(at::Tensor(tensor.grad()));
    *scope = current_scope;
  });
}

extern "C" char *thaw_tensor_set_grad(thaw_tensor t, thaw_tensor grad) {
  return guarded([&] { borrow(t).mutable_grad() = borrow(grad); });
}

extern "C" char *thaw_tensor_set_requires_grad(thaw_tensor t, int32_t on, uintptr_t *accumulator) {
  return guarded([&] {
    at::Tensor tensor = borrow(t);
    tensor.requires_grad_(on != 0);
    // Kept alive, the node need not be made anew in each forward pass. On a GPU it must be: it keeps the stream that it
    // is made on, and makes a capture on any other stream fail.
    if (on && tensor.is_leaf() && tensor.is_cpu())
      *accumulator = reinterpret_cast<uintptr_t>(
          new std::shared_ptr<torch::autograd::Node>(torch::autograd::impl::grad_accumulator(tensor)));
  });
}

extern "C" void thaw_accumulator_free(uintptr_t accumulator) {
  delete reinterpret_cast<std::shared_ptr<torch::autograd::Node> *>(accumulator);
}

extern "C" char *thaw_tensor_retain_grad(thaw_tensor t) {
  return guarded([&] { borrow(t).retain_grad(); });
}

extern "C" char *thaw_tensor_grad_fn(thaw_tensor t, char **name) {
  return guarded([&] {
    at::Tensor tensor = borrow(t);
    auto fn = tensor.grad_fn();
    *name = fn ? copy_string(fn->name()) : nullptr;
  });
}

extern "C" char *thaw_tensor_set_data(thaw_tensor t, thaw_tensor src) {
  return guarded([&] { borrow(t).set_data(borrow(src)); });
}
