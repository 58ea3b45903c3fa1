// Processes that train together: libtorch's own c10d, a store over TCP, process groups of Gloo, and the Reducer, which adds up
// gradients in buckets while backward goes on.
#define USE_C10D_GLOO
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <c10/util/Flags.h>

#include "dist.h"

C10_DECLARE_int(caffe2_log_level);

using namespace thaw;

namespace {

using at::Tensor;
using std::chrono::milliseconds;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;

struct Reducer {
  std::vector<Tensor> params;
  std::unique_ptr<c10d::Reducer> reducer;
};

Reducer *reducer_of(thaw_reducer r) { return reinterpret_cast<Reducer *>(r); }

c10d::ReduceOp reduce_op(int32_t op) {
  switch (op) {
    case THAW_REDUCE_MAX: return c10d::ReduceOp::MAX;
    case THAW_REDUCE_MIN: return c10d::ReduceOp::MIN;
    default: return c10d::ReduceOp::SUM;
  }
}

// Gives every tensor an edge and none a gradient: its backward tells the Reducer that each parameter is ready, with the
// gradient that it has.
struct Touch : torch::autograd::Function<Touch> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, at::TensorList params) {
    ctx->saved_data["n"] = static_cast<int64_t>(params.size());
    return at::zeros({}, params[0].options());
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx, torch::autograd::variable_list) {
    return torch::autograd::variable_list(ctx->saved_data["n"].toInt());
  }
};

void sync(Reducer &r) {
  at::AutoGradMode recording(true);
  const Tensor loss = Touch::apply(at::TensorList(r.params));
  r.reducer->prepare_for_backward({loss});
  loss.backward();
}

// x summed over the group, as an operator: its gradient is the gradients' sum over the group.
struct SumOverGroup : torch::autograd::Function<SumOverGroup> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &x, int64_t group) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->saved_data["group"] = group;
    std::vector<Tensor> sum{x.contiguous().clone()};
    group_of(group)->backend->allreduce(sum)->wait();
    return sum[0];
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx, torch::autograd::variable_list grads) {
    std::vector<Tensor> sum{grads[0].contiguous().clone()};
    group_of(ctx->saved_data["group"].toInt())->backend->allreduce(sum)->wait();
    return {sum[0], Tensor()};
  }
};

} // namespace

// ---- store

extern "C" char *thaw_store_new(const char *host, int32_t port, int32_t serves, int64_t timeout_ms, thaw_store *out,
                                int32_t *bound) {
  return guarded([&] {
    FLAGS_caffe2_log_level = 3; // what c10d warns of, with its stack, comes as an error too
    c10d::TCPStoreOptions o;
    o.port = static_cast<uint16_t>(port);
    o.isServer = serves != 0;
    o.waitWorkers = false;
    o.timeout = milliseconds(timeout_ms);
    auto store = c10::make_intrusive<c10d::TCPStore>(host, o);
    *bound = store->getPort();
    *out = reinterpret_cast<thaw_store>(new Store{store});
  });
}

extern "C" char *thaw_store_prefixed(thaw_store s, const char *prefix, thaw_store *out) {
  return guarded([&] { *out = reinterpret_cast<thaw_store>(new Store{c10::make_intrusive<c10d::PrefixStore>(prefix, store_of(s)->store)}); });
}

extern "C" void thaw_store_free(thaw_store s) { delete store_of(s); }

extern "C" char *thaw_store_set(thaw_store s, const char *key, const void *value, int64_t n) {
  return guarded([&] {
    const auto *bytes = static_cast<const uint8_t *>(value);
    store_of(s)->store->set(key, std::vector<uint8_t>(bytes, bytes + n));
  });
}

extern "C" char *thaw_store_get(thaw_store s, const char *key, int64_t timeout_ms, char **value, int64_t *n) {
  return guarded([&] {
    store_of(s)->store->wait({key}, milliseconds(timeout_ms));
    const std::vector<uint8_t> bytes = store_of(s)->store->get(key);
    *value = static_cast<char *>(malloc(bytes.size() + 1));
    if (*value == nullptr) throw std::bad_alloc();
    memcpy(*value, bytes.data(), bytes.size());
    *n = static_cast<int64_t>(bytes.size());
  });
}

extern "C" char *thaw_store_add(thaw_store s, const char *key, int64_t delta, int64_t *sum) {
  return guarded([&] { *sum = store_of(s)->store->add(key, delta); });
}

// ---- group

extern "C" char *thaw_group_new(thaw_store s, int32_t rank, int32_t size, const char *address, int64_t timeout_ms, thaw_group *out) {
  return guarded([&] {
    auto o = c10d::ProcessGroupGloo::Options::create(milliseconds(timeout_ms));
    o->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(address));
    const auto &store = store_of(s)->store;
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, o);
    *out = new_group(store, rank, size, c10::kCPU, c10d::ProcessGroup::BackendType::GLOO, gloo);
  });
}

extern "C" void thaw_group_free(thaw_group g) { delete group_of(g); }

extern "C" char *thaw_group_allreduce(thaw_group g, thaw_tensor t, int32_t op, int64_t timeout_ms, thaw_work *out) {
  return guarded([&] {
    std::vector<Tensor> tensors{borrow(t)};
    c10d::AllreduceOptions o;
    o.reduceOp = reduce_op(op);
    o.timeout = milliseconds(timeout_ms);
    *out = reinterpret_cast<thaw_work>(new WorkPtr(group_of(g)->backend->allreduce(tensors, o)));
  });
}

extern "C" char *thaw_group_broadcast(thaw_group g, thaw_tensor t, int32_t root, int64_t timeout_ms, thaw_work *out) {
  return guarded([&] {
    std::vector<Tensor> tensors{borrow(t)};
    c10d::BroadcastOptions o;
    o.rootRank = root;
    o.timeout = milliseconds(timeout_ms);
    *out = reinterpret_cast<thaw_work>(new WorkPtr(group_of(g)->backend->broadcast(tensors, o)));
  });
}

extern "C" char *thaw_group_allgather(thaw_group g, thaw_tensor t, const thaw_tensor *outs, int64_t n, int64_t timeout_ms,
                                      thaw_work *out) {
  return guarded([&] {
    std::vector<Tensor> in{borrow(t)};
    std::vector<std::vector<Tensor>> gathered{borrow_all(outs, n)};
    c10d::AllgatherOptions o;
    o.timeout = milliseconds(timeout_ms);
    *out = reinterpret_cast<thaw_work>(new WorkPtr(group_of(g)->backend->allgather(gathered, in, o)));
  });
}

extern "C" char *thaw_group_gather(thaw_group g, thaw_tensor t, const thaw_tensor *outs, int64_t n, int32_t root,
                                   int64_t timeout_ms, thaw_work *out) {
  return guarded([&] {
    std::vector<Tensor> in{borrow(t)};
    std::vector<std::vector<Tensor>> gathered;
    if (n > 0) gathered.push_back(borrow_all(outs, n));
    c10d::GatherOptions o;
    o.rootRank = root;
    o.timeout = milliseconds(timeout_ms);
    *out = reinterpret_cast<thaw_work>(new WorkPtr(group_of(g)->backend->gather(gathered, in, o)));
  });
}

extern "C" char *thaw_group_barrier(thaw_group g, int64_t timeout_ms) {
  return guarded([&] {
    c10d::BarrierOptions o;
    o.timeout = milliseconds(timeout_ms);
    group_of(g)->backend->barrier(o)->wait();
  });
}

extern "C" char *thaw_group_monitored_barrier(thaw_group g, int64_t timeout_ms) {
  return guarded([&] {
    c10d::BarrierOptions o;
    o.timeout = milliseconds(timeout_ms);
    group_of(g)->backend->monitoredBarrier(o, true);
  });
}

extern "C" char *thaw_group_sum(thaw_group g, thaw_tensor x, thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    *out = release(SumOverGroup::apply(borrow(x), static_cast<int64_t>(g)));
    *scope = current_scope;
  });
}

extern "C" char *thaw_work_wait(thaw_work w) {
  std::unique_ptr<WorkPtr> work(reinterpret_cast<WorkPtr *>(w));
  return guarded([&] { (*work)->wait(); });
}

// ---- reducer

extern "C" char *thaw_reducer_new(thaw_group g, const thaw_tensor *params, int64_t n, int64_t first_bucket, int64_t bucket,
                                  thaw_reducer *out) {
  return guarded([&] {
    auto r = std::make_unique<Reducer>();
    r->params = borrow_all(params, n);
    const auto &group = group_of(g)->group;
    c10d::verify_params_across_processes(group, r->params, std::nullopt);
    // Gradients come in about the opposite order of the parameters.
    std::vector<Tensor> backwards(r->params.rbegin(), r->params.rend());
    std::vector<int64_t> indices;
    for (int64_t i = n - 1; i >= 0; i--) indices.push_back(i);
    const std::vector<bool> dense(n, false);
    auto buckets = c10d::compute_bucket_assignment_by_size(
        backwards, {static_cast<size_t>(first_bucket), static_cast<size_t>(bucket)}, dense, indices);
    r->reducer = std::make_unique<c10d::Reducer>(r->params, std::get<0>(buckets), group, dense, bucket,
                                                 /*find_unused_parameters=*/false, /*gradient_as_bucket_view=*/true,
                                                 std::unordered_map<size_t, std::string>(), first_bucket,
                                                 /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
                                                 std::vector<int64_t>());
    // The first pass settles the buckets once and for all, from the last parameter to the first, as a backward pass comes to
    // them: so a run that is resumed adds up in the same order as one that went on. It touches them one by one: those of one
    // function the engine visits in the order of its heap, the first parameter first, and no bucket would go before that is
    // there, which is at the end of a backward pass.
    {
      at::AutoGradMode recording(true);
      r->reducer->prepare_for_backward({});
      for (auto p = r->params.rbegin(); p != r->params.rend(); ++p) Touch::apply(at::TensorList(*p)).backward();
    }
    r->reducer->rebuild_buckets();
    *out = reinterpret_cast<thaw_reducer>(r.release());
  });
}

extern "C" char *thaw_reducer_arm(thaw_reducer r) {
  return guarded([&] {
    reducer_of(r)->reducer->prepare_for_forward();
    reducer_of(r)->reducer->prepare_for_backward({});
  });
}

extern "C" char *thaw_reducer_sync(thaw_reducer r) {
  return guarded([&] { sync(*reducer_of(r)); });
}

extern "C" char *thaw_reducer_buckets(thaw_reducer r, int64_t *bytes, int64_t most, int64_t *n) {
  return guarded([&] {
    *n = 0;
    for (auto &b : reducer_of(r)->reducer->get_grad_buckets())
      if (*n < most) bytes[(*n)++] = static_cast<int64_t>(b.getBufferRef().nbytes());
  });
}

extern "C" char *thaw_reducer_free(thaw_reducer r) {
  return guarded([&] {
    std::unique_ptr<Reducer> reducer(reducer_of(r));
    for (const Tensor &p : reducer->params) p.mutable_grad() = Tensor(); // they are views of the buckets
  });
}
