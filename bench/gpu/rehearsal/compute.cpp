// What computes, where a rehearsal is to give results: every operator that libtorch has a kernel on the GPU for runs its
// kernel for the CPU instead, on the device's memory, at the time when the stream would run it. A capture keeps it, and
// each replay runs it again on the same addresses. Random numbers follow the device's generator, as CUDA's kernels do.
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cuda/CUDAGeneratorImpl.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <set>

#include "device.h"

namespace {

using at::IValue;
using at::Tensor;
using c10::OperatorHandle;
using torch::jit::Stack;

// seen gives a tensor of the CPU that is what lies at the address of one on the device.
Tensor seen(const Tensor &t) {
  if (!t.defined() || !t.is_cuda()) return t;
  const auto options = at::TensorOptions().dtype(t.dtype());
  if (t.numel() == 0) return at::empty_strided(t.sizes(), t.strides(), options);
  Tensor made = at::from_blob(rehearsal::reach(t.const_data_ptr()), t.sizes(), t.strides(), options);
  if (t.unsafeGetTensorImpl()->is_wrapped_number()) made.unsafeGetTensorImpl()->set_wrapped_number(true);
  return made;
}

IValue seen(const IValue &v) {
  if (v.isTensor()) return seen(v.toTensor());
  if (v.isTensorList()) {
    c10::List<Tensor> list;
    for (const Tensor &t : v.toTensorList()) list.push_back(seen(t));
    return list;
  }
  if (v.isList()) { // of tensors that may be missing, among others
    c10::impl::GenericList list(v.toList().elementType());
    for (const IValue &item : v.toList()) list.push_back(seen(item));
    return list;
  }
  if (v.isDevice()) return c10::Device(c10::kCPU);
  if (v.isGenerator()) return IValue();
  return v;
}

std::vector<Tensor> tensors(const IValue &v) {
  std::vector<Tensor> all;
  if (v.isTensor() && v.toTensor().defined()) all.push_back(v.toTensor());
  if (v.isList())
    for (const IValue &item : v.toList())
      if (item.isTensor() && item.toTensor().defined()) all.push_back(item.toTensor());
  return all;
}

bool writes(const c10::Argument &a) {
  // Of batch norm libtorch does not say so.
  return (a.alias_info() != nullptr && a.alias_info()->isWrite()) || a.name() == "running_mean" || a.name() == "running_var";
}

// Random is where an operator's random numbers begin.
struct Random {
  bool used = false;
  at::PhiloxCudaState state;

  uint64_t seed() const {
    const auto value = [](const auto &payload, bool captured) {
      return captured ? *static_cast<int64_t *>(rehearsal::reach(payload.ptr)) : static_cast<int64_t>(payload.val);
    };
    const uint64_t start = value(state.seed_, state.captured_), offset = value(state.offset_, state.captured_);
    return start * 0x9e3779b97f4a7c15u + offset + (state.captured_ ? state.offset_intragraph_ : 0);
  }
};

Random random_of(const OperatorHandle &op, const std::vector<IValue> &arguments) {
  static const std::set<std::string> drawing{"native_dropout", "normal_",   "uniform_",    "random_",
                                             "bernoulli_",     "bernoulli", "exponential_", "randperm", "multinomial"};
  Random r;
  if (!drawing.contains(op.schema().name().substr(6))) return r; // behind "aten::"
  std::optional<at::Generator> given;
  for (const IValue &v : arguments)
    if (v.isGenerator()) given = v.toGenerator();
  auto *g = at::get_generator_or_default<at::CUDAGeneratorImpl>(given, at::cuda::detail::getDefaultCUDAGenerator());
  std::lock_guard<std::mutex> held(g->mutex_);
  r.used = true;
  r.state = g->philox_cuda_state(4);
  return r;
}

// What the CPU has no kernels for.

void mm_dtype(Stack &stack) {
  stack = {stack[0].toTensor().to(at::kFloat).mm(stack[1].toTensor().to(at::kFloat)).to(stack[2].toScalarType())};
}

void rms_norm_backward(Stack &stack) {
  const Tensor g = stack[0].toTensor(), x = stack[1].toTensor(), rstd = stack[3].toTensor();
  const int64_t normed = static_cast<int64_t>(stack[2].toIntList().size());
  std::vector<int64_t> inner, outer;
  for (int64_t d = 0; d < x.dim(); d++) (d < x.dim() - normed ? outer : inner).push_back(d);
  const Tensor scaled = stack[4].isTensor() && stack[4].toTensor().defined() ? g * stack[4].toTensor() : g, unit = x * rstd;
  stack = {rstd * (scaled - unit * (scaled * unit).mean(inner, true)), outer.empty() ? g * unit : (g * unit).sum(outer)};
}

// Step is an operator with what it is called with.
struct Step {
  OperatorHandle op;
  std::vector<IValue> arguments; // as the CPU sees them
  Random random;

  Stack run() const {
    c10::impl::ExcludeDispatchKeyGuard plain(c10::autograd_dispatch_keyset | c10::autocast_dispatch_keyset);
    Stack stack(arguments.begin(), arguments.end());
    const auto &name = op.operator_name();
    if (name.name == "aten::_fused_rms_norm_backward") {
      rms_norm_backward(stack);
    } else if (name.name == "aten::mm" && name.overload_name == "dtype") {
      mm_dtype(stack);
    } else if (!random.used) {
      op.callBoxed(stack);
    } else {
      auto &generator = const_cast<at::Generator &>(at::globalContext().defaultGenerator(c10::kCPU));
      const Tensor before = generator.get_state();
      generator.set_current_seed(random.seed());
      op.callBoxed(stack);
      generator.set_state(before);
    }
    return stack;
  }
};

// asks says whether an operator's outcome is something that the CPU has to wait for.
bool asks(const OperatorHandle &op, const std::vector<IValue> &arguments) {
  static const std::set<std::string> waiting{"nonzero", "masked_select", "equal", "_unique2", "is_nonzero"};
  const std::string name = op.schema().name().substr(6);
  if (waiting.contains(name)) return true;
  if (!name.starts_with("index") && !name.starts_with("_index")) return false;
  for (const IValue &v : arguments)
    for (const Tensor &t : tensors(v))
      if (v.isList() && (t.scalar_type() == at::kBool || t.scalar_type() == at::kByte)) return true; // a mask
  return false;
}

// Libtorch refuses tensors of the CPU beside the device's, other than numbers and what indexing reads.
void check_devices(const c10::FunctionSchema &schema, const std::vector<IValue> &given) {
  for (size_t i = 0; i < given.size(); i++)
    for (const Tensor &t : tensors(given[i]))
      TORCH_CHECK(t.is_cuda() || t.dim() == 0 || (given[i].isList() && schema.name().find("index") != std::string::npos),
                  "rehearsal: ", schema.name(), ": ", schema.arguments()[i].name(), " ", t.sizes(), " is on the CPU");
}

// The device that an operator is for: that of its tensors, or the one that it names.
std::optional<c10::Device> device_of(const std::vector<IValue> &given) {
  for (const IValue &v : given)
    for (const Tensor &t : tensors(v))
      if (t.is_cuda()) return t.device();
  for (const IValue &v : given)
    if (v.isDevice() && v.toDevice().is_cuda()) return v.toDevice();
  return std::nullopt;
}

void run(const OperatorHandle &op, Stack *stack) {
  LOCKED;
  const auto &schema = op.schema();
  const size_t n = schema.arguments().size();
  const std::vector<IValue> given(stack->end() - n, stack->end());
  stack->erase(stack->end() - n, stack->end());
  check_devices(schema, given);
  const c10::cuda::OptionalCUDAGuard guard(device_of(given));
  const cudaStream_t current = c10::cuda::getCurrentCUDAStream().stream();
  if (asks(op, given)) C10_CUDA_CHECK(cudaStreamSynchronize(current));
  auto step = std::make_shared<Step>(Step{op, {}, random_of(op, given)});
  std::vector<std::pair<Tensor, Tensor>> before; // what is written, and what it was
  rehearsal::Stream *stream = rehearsal::stream_of(current);
  const bool captured = stream->capture != nullptr;
  if (!captured) stream->run();
  for (size_t i = 0; i < n; i++) {
    step->arguments.push_back(seen(given[i]));
    if (captured && writes(schema.arguments()[i]))
      for (const Tensor &t : tensors(step->arguments[i])) before.emplace_back(t, t.clone());
  }
  const Stack results = step->run();
  std::vector<std::pair<size_t, Tensor>> arriving; // which result goes where on the device
  const auto arrive = [&](size_t i, const Tensor &result) {
    if (!result.defined()) return result;
    Tensor made = at::empty_strided(result.sizes(), result.strides(), result.options().device(c10::kCUDA));
    arriving.emplace_back(i, seen(made));
    arriving.back().second.copy_(result);
    return made;
  };
  // An out= tensor may have been made larger.
  for (size_t i = 0; i < n; i++) {
    if (!writes(schema.arguments()[i]) || !given[i].isTensor() || !given[i].toTensor().is_cuda()) continue;
    const Tensor result = step->arguments[i].toTensor(), original = given[i].toTensor();
    if (result.sizes() == original.sizes()) continue;
    TORCH_CHECK(!captured, "rehearsal: ", schema.name(), " makes its output larger in a capture: not played");
    original.resize_(result.sizes());
    seen(original).copy_(result);
  }
  for (size_t i = 0; i < schema.returns().size(); i++) {
    const auto &declared = schema.returns()[i];
    if (writes(declared)) {
      for (size_t k = 0; k < n; k++)
        if (writes(schema.arguments()[k]) && *schema.arguments()[k].alias_info() == *declared.alias_info())
          stack->push_back(given[k]);
    } else if (results[i].isTensor()) {
      stack->push_back(arrive(i, results[i].toTensor()));
    } else if (results[i].isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor &t : results[i].toTensorList()) list.push_back(arrive(i, t));
      stack->push_back(list);
    } else {
      stack->push_back(results[i]);
    }
  }
  for (auto &[t, was] : before) t.copy_(was);
  if (!captured) {
    rehearsal::note("work", current, "operator %s", schema.name().c_str());
    return;
  }
  const auto error = rehearsal::give("operator", current, "operator " + schema.name(), [step, arriving] {
    const Stack again = step->run();
    size_t at = 0;
    for (size_t i = 0; i < again.size(); i++)
      for (const Tensor &t : tensors(again[i]))
        if (at < arriving.size() && arriving[at].first == i) arriving[at++].second.copy_(t);
  });
  C10_CUDA_CHECK(error);
}

// Between the CPU and the device libtorch's own copy is right: it is one of CUDA's copies. One on the device waits like
// those, as it is what comes behind them.
void copy(const OperatorHandle &op, Stack *stack) {
  const auto at = stack->end() - 3;
  const Tensor to = at[0].toTensor(), from = at[1].toTensor();
  if (to.is_cuda() && from.is_cuda()) {
    LOCKED;
    const c10::cuda::CUDAGuard guard(to.device());
    const cudaStream_t current = c10::cuda::getCurrentCUDAStream().stream();
    if (rehearsal::stream_of(current)->capture || to.sizes() != from.sizes()) return run(op, stack);
    C10_CUDA_CHECK(rehearsal::give("operator", current, "operator aten::copy_",
                                   [to = seen(to), from = seen(from)]() mutable { to.copy_(from); }));
    stack->erase(at, stack->end());
    stack->push_back(to);
    return;
  }
  const Tensor copied = at::native::copy_(const_cast<Tensor &>(to), from, at[2].toBool());
  stack->erase(at, stack->end());
  stack->push_back(copied);
}

bool stays(const c10::FunctionSchema &schema) {
  static const std::set<std::string> names{"empty", "empty_strided", "set_",     "resize_", "record_stream", "_local_scalar_dense",
                                           "is_set_to", "is_pinned", "_pin_memory", "pin_memory", "_fused_sdp_choice"};
  if (names.contains(schema.name().substr(6))) return true;
  for (const auto &r : schema.returns())
    if (r.alias_info() != nullptr && !r.alias_info()->isWrite()) return true; // a view
  return false;
}

struct Quiet final : c10::WarningHandler {
  void process(const c10::Warning &) override {}
};

const bool registered = [] {
  static Quiet quiet;
  auto *before = c10::WarningUtils::get_warning_handler();
  c10::WarningUtils::set_warning_handler(&quiet); // that kernels are registered again is meant
  static torch::Library library(torch::Library::IMPL, "aten", c10::DispatchKey::CUDA, __FILE__, __LINE__);
  auto &dispatcher = c10::Dispatcher::singleton();
  const std::set<std::string> more{"aten::convolution", "aten::convolution_backward", "aten::copy_"};
  for (const auto &name : dispatcher.getAllOpNames()) {
    const auto op = dispatcher.findSchema(name);
    if (!op || !name.name.starts_with("aten::")) continue;
    const std::string full = name.name + (name.overload_name.empty() ? "" : "." + name.overload_name);
    if (!more.contains(full) && (!op->hasKernelForDispatchKey(c10::DispatchKey::CUDA) || stays(op->schema()))) continue;
    library.impl(full.c_str(), full == "aten::copy_" ? torch::CppFunction::makeFromBoxedFunction<&copy>()
                                                     : torch::CppFunction::makeFromBoxedFunction<&run>());
  }
  // Operators that exist on the GPU only are not taken.
  auto &context = at::globalContext();
  context.setSDPUseFlash(false);
  context.setSDPUseMemEfficient(false);
  context.setSDPUseCuDNN(false);
  context.setUserEnabledCuDNN(false);
  c10::WarningUtils::set_warning_handler(before);
  return true;
}();

} // namespace
