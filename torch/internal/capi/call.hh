#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include "internal.h"

namespace thaw {

thread_local int32_t current_scope = 0;

namespace {

// The commonest signatures are called unboxed, which saves their arguments the way through IValues.
enum class Shape { other, tensor, tensor_tensor, tensor_tensor_scalar, tensor_scalar };

struct Op {
  c10::OperatorHandle handle;
  const c10::FunctionSchema *schema;
  size_t arguments;
  Shape shape;
};

Shape shape_of(const c10::FunctionSchema &schema) {
  std::string kinds;
  for (const auto &a : schema.arguments()) {
    if (a.alias_info() != nullptr) return Shape::other;
    if (a.type()->kind() == c10::TypeKind::TensorType) kinds += 't';
    else if (a.type()->kind() == c10::TypeKind::NumberType) kinds += 's';
    else return Shape::other;
  }
  if (schema.returns().size() != 1 || schema.returns()[0].alias_info() != nullptr ||
      schema.returns()[0].type()->kind() != c10::TypeKind::TensorType)
    return Shape::other;
  return kinds == "t" ? Shape::tensor : kinds == "tt" ? Shape::tensor_tensor : kinds == "tts"
      ? Shape::tensor_tensor_scalar : kinds == "ts" ? Shape::tensor_scalar : Shape::other;
}

inline size_t offset_of(int64_t bits) { return static_cast<size_t>(static_cast<uint64_t>(bits) >> 32); }
inline size_t length_of(int64_t bits) { return static_cast<size_t>(bits & 0xffffffff); }

double as_double(int64_t bits) {
  double d;
  memcpy(&d, &bits, sizeof d);
  return d;
}

int64_t as_bits(double d) {
  int64_t bits;
  memcpy(&bits, &d, sizeof bits);
  return bits;
}

c10::IValue list_value(const thaw_value &v, const int64_t *lists) {
  const int64_t *at = lists + offset_of(v.bits);
  const size_t n = length_of(v.bits);
  switch (v.tag) {
  case THAW_STRING:
    return c10::IValue(std::string(reinterpret_cast<const char *>(at), n));
  case THAW_INTS:
    return c10::IValue(c10::IntArrayRef(at, n));
  case THAW_DOUBLES: {
    c10::List<double> l;
    l.reserve(n);
    for (size_t i = 0; i < n; i++) l.push_back(as_double(at[i]));
    return c10::IValue(std::move(l));
  }
  case THAW_BOOLS: {
    c10::List<bool> l;
    l.reserve(n);
    for (size_t i = 0; i < n; i++) l.push_back(at[i] != 0);
    return c10::IValue(std::move(l));
  }
  case THAW_TENSORS: {
    c10::List<at::Tensor> l;
    l.reserve(n);
    for (size_t i = 0; i < n; i++) l.push_back(borrow(static_cast<thaw_tensor>(at[i])));
    return c10::IValue(std::move(l));
  }
  case THAW_OPT_TENSORS: {
    c10::List<std::optional<at::Tensor>> l;
    l.reserve(n);
    for (size_t i = 0; i < n; i++) {
      if (at[i] == 0) l.push_back(std::nullopt);
      else l.push_back(borrow(static_cast<thaw_tensor>(at[i])));
    }
    return c10::IValue(std::move(l));
  }
  case THAW_SCALARS: {
    c10::List<at::Scalar> l;
    l.reserve(n);
    for (size_t i = 0; i < n; i++) l.push_back(at::Scalar(as_double(at[i])));
    return c10::IValue(std::move(l));
  }
  default:
    TORCH_CHECK(false, "thaw: unknown argument tag ", v.tag);
  }
}

void push(torch::jit::Stack &stack, const thaw_value &v, const int64_t *lists, const Op &op, size_t position) {
  switch (v.tag) {
  case THAW_NONE:
    stack.emplace_back();
    return;
  case THAW_TENSOR:
    stack.emplace_back(borrow(static_cast<thaw_tensor>(v.bits)));
    return;
  case THAW_INT:
    stack.emplace_back(v.bits);
    return;
  case THAW_DOUBLE:
    stack.emplace_back(as_double(v.bits));
    return;
  case THAW_BOOL:
    stack.emplace_back(v.bits != 0);
    return;
  case THAW_DEVICE:
    stack.emplace_back(c10::Device(static_cast<c10::DeviceType>(v.bits >> 8), static_cast<int8_t>(v.bits & 0xff)));
    return;
  case THAW_GENERATOR:
    stack.emplace_back(*reinterpret_cast<at::Generator *>(v.bits));
    return;
  case THAW_DEFAULT: {
    const auto &value = op.schema->arguments()[position].default_value();
    TORCH_CHECK(value.has_value(), "thaw: argument ", op.schema->arguments()[position].name(), " of ",
                op.schema->name(), " has no default");
    stack.emplace_back(*value);
    return;
  }
  default:
    stack.emplace_back(list_value(v, lists));
  }
}

int64_t *new_list(size_t n) {
  auto *list = static_cast<int64_t *>(malloc((n + 1) * sizeof(int64_t)));
  if (list == nullptr) throw std::bad_alloc();
  list[0] = static_cast<int64_t>(n);
  return list;
}

// A handle as the Tensor that it points to, without taking a reference: a Tensor is one pointer to its TensorImpl.
const at::Tensor &view(const int64_t &handle) {
  static_assert(sizeof(at::Tensor) == sizeof(int64_t));
  return *reinterpret_cast<const at::Tensor *>(&handle);
}

// The i-th argument, or the schema's default where it was not given.
at::Scalar scalar(const Op &op, const thaw_value *io, int64_t nin, size_t i) {
  if (static_cast<int64_t>(i) >= nin || io[i].tag == THAW_DEFAULT) return op.schema->arguments()[i].default_value()->toScalar();
  switch (io[i].tag) {
  case THAW_DOUBLE:
    return at::Scalar(as_double(io[i].bits));
  case THAW_BOOL:
    return at::Scalar(io[i].bits != 0);
  default:
    return at::Scalar(io[i].bits);
  }
}

// Calls an operator of one of the shapes; false where the arguments are none that it can take so.
bool call_unboxed(const Op &op, thaw_value *io, int64_t nin) {
  const auto &t = op.handle;
  const bool two = op.shape == Shape::tensor_tensor || op.shape == Shape::tensor_tensor_scalar;
  if (nin < (two ? 2 : 1) || io[0].tag != THAW_TENSOR || (two && io[1].tag != THAW_TENSOR)) return false;
  const at::Tensor &a = view(io[0].bits);
  at::Tensor out;
  switch (op.shape) {
  case Shape::tensor:
    out = t.typed<at::Tensor(const at::Tensor &)>().call(a);
    break;
  case Shape::tensor_tensor:
    out = t.typed<at::Tensor(const at::Tensor &, const at::Tensor &)>().call(a, view(io[1].bits));
    break;
  case Shape::tensor_tensor_scalar:
    out = t.typed<at::Tensor(const at::Tensor &, const at::Tensor &, const at::Scalar &)>().call(
        a, view(io[1].bits), scalar(op, io, nin, 2));
    break;
  case Shape::tensor_scalar:
    out = t.typed<at::Tensor(const at::Tensor &, const at::Scalar &)>().call(a, scalar(op, io, nin, 1));
    break;
  default:
    return false;
  }
  io[0] = {THAW_TENSOR, static_cast<int64_t>(release(std::move(out)))};
  return true;
}

thaw_value result(c10::IValue &&v) {
  if (v.isTensor()) return {THAW_TENSOR, static_cast<int64_t>(release(std::move(v).toTensor()))};
  if (v.isNone()) return {THAW_NONE, 0};
  if (v.isBool()) return {THAW_BOOL, v.toBool() ? 1 : 0};
  if (v.isInt()) return {THAW_INT, v.toInt()};
  if (v.isDouble()) return {THAW_DOUBLE, as_bits(v.toDouble())};
  if (v.isTensorList()) {
    auto tensors = std::move(v).toTensorVector();
    int64_t *list = new_list(tensors.size());
    for (size_t i = 0; i < tensors.size(); i++) list[i + 1] = static_cast<int64_t>(release(std::move(tensors[i])));
    return {THAW_TENSORS, reinterpret_cast<int64_t>(list)};
  }
  if (v.isIntList()) {
    auto ints = v.toIntVector();
    int64_t *list = new_list(ints.size());
    std::copy(ints.begin(), ints.end(), list + 1);
    return {THAW_INTS, reinterpret_cast<int64_t>(list)};
  }
  TORCH_CHECK(false, "thaw: results of type ", v.tagKind(), " are not bound");
}

// The argument stack of this thread, kept between calls so that a call allocates nothing here.
thread_local torch::jit::Stack spare_stack;

} // namespace
} // namespace thaw

using namespace thaw;

extern "C" char *thaw_op_find(const char *name, const char *overload, thaw_op *op) {
  return guarded([&] {
    auto handle = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
    const auto *schema = &handle.schema();
    *op = reinterpret_cast<thaw_op>(new Op{handle, schema, schema->arguments().size(), shape_of(*schema)});
  });
}

extern "C" char *thaw_op_schema(thaw_op op, char **schema) {
  return guarded([&] { *schema = copy_string(toString(*reinterpret_cast<Op *>(op)->schema)); });
}

extern "C" char *thaw_op_overloads(const char *name, char **overloads) {
  return guarded([&] {
    std::string out;
    for (const auto &op : c10::Dispatcher::singleton().getAllOpNames())
      if (op.name == name) out += "." + op.overload_name + "\n";
    *overloads = copy_string(out);
  });
}

extern "C" char *thaw_call(thaw_op op_, thaw_value *io, int64_t nin, int64_t nout_max, const int64_t *lists,
                           int32_t *nout, int32_t *scope) {
  const Op &op = *reinterpret_cast<Op *>(op_);
  if (op.shape != Shape::other && nout_max == 1) {
    bool done = false;
    char *error = guarded([&] { done = call_unboxed(op, io, nin); });
    *nout = 1;
    *scope = current_scope;
    if (done || error != nullptr) return error;
  }
  // A hook may call another operator while this one runs: the stack is taken, not shared.
  torch::jit::Stack stack = std::move(spare_stack);
  stack.clear();
  char *error = guarded([&] {
    for (int64_t i = 0; i < nin; i++) push(stack, io[i], lists, op, i);
    for (size_t i = nin; i < op.arguments; i++) push(stack, {THAW_DEFAULT, 0}, lists, op, i);
    op.handle.callBoxed(stack);
    int64_t n = std::min<int64_t>(nout_max, static_cast<int64_t>(stack.size()));
    for (int64_t i = 0; i < n; i++) io[i] = result(std::move(stack[i]));
    *nout = static_cast<int32_t>(n);
    *scope = current_scope;
  });
  stack.clear();
  spare_stack = std::move(stack);
  return error;
}

extern "C" char *thaw_call_tensors(thaw_op op, thaw_tensor a, thaw_tensor b, thaw_tensor *out, int32_t *scope) {
  thaw_value io[2] = {{THAW_TENSOR, static_cast<int64_t>(a)}, {THAW_TENSOR, static_cast<int64_t>(b)}};
  int32_t nout = 0;
  char *error = thaw_call(op, io, b == 0 ? 1 : 2, 1, nullptr, &nout, scope);
  *out = error == nullptr && nout == 1 ? static_cast<thaw_tensor>(io[0].bits) : 0;
  return error;
}

extern "C" int32_t thaw_scope_swap(int32_t id) {
  int32_t previous = current_scope;
  current_scope = id;
  return previous;
}

extern "C" int32_t thaw_scope_current(void) { return current_scope; }
