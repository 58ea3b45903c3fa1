// cuDNN, as far as libtorch asks it for convolutions, batch norms and attention. The first and the last are plans for graphs
// of operations, told in descriptors: these are kept as they were filled in, and a plan's execution is one kernel, whose
// line says what was asked for. The numbers are those of cuDNN's headers, which are not among what Thaw brings.
#include <algorithm>
#include <cstring>

#include "device.h"

namespace {

enum { // CUDNN_STATUS_...
  SUCCESS = 0, BAD_PARAM = 2000, NULL_POINTER = 2002, NOT_FINALIZED = 2004, EXECUTION_FAILED = 5000,
};

enum { // CUDNN_BACKEND_..._DESCRIPTOR; the operations stand below
  POINTWISE = 0, CONVOLUTION = 1, ENGINE = 2, ENGINECFG = 3, ENGINEHEUR = 4, EXECUTION_PLAN = 5, KNOB_CHOICE = 7,
  OPERATIONGRAPH = 15, VARIANT_PACK = 16, TENSOR = 17, MATMUL = 18, REDUCTION = 21, RNG = 32,
};

enum { // CUDNN_ATTR_...
  ENGINEHEUR_MODE = 200, ENGINEHEUR_OPERATION_GRAPH = 201, ENGINEHEUR_RESULTS = 202,
  ENGINECFG_ENGINE = 300, ENGINECFG_KNOB_CHOICES = 302, ENGINECFG_WORKSPACE_SIZE = 303, ENGINECFG_SHARED_MEMORY_USED = 304,
  EXECUTION_PLAN_ENGINE_CONFIG = 401, EXECUTION_PLAN_WORKSPACE_SIZE = 402,
  OPERATIONGRAPH_OPS = 801,
  TENSOR_DATA_TYPE = 901, TENSOR_DIMENSIONS = 902, TENSOR_STRIDES = 903, TENSOR_UNIQUE_ID = 906, TENSOR_IS_BY_VALUE = 908,
  VARIANT_PACK_UNIQUE_IDS = 1000, VARIANT_PACK_DATA_POINTERS = 1001, VARIANT_PACK_WORKSPACE = 1003,
  ENGINE_OPERATION_GRAPH = 1300, ENGINE_GLOBAL_INDEX = 1301, ENGINE_NUMERICAL_NOTE = 1303, ENGINE_BEHAVIOR_NOTE = 1305,
};

// operations are told by name, with those tensors that say how much is computed.
struct Operation {
  const char *name;
  std::vector<std::pair<const char *, int>> tensors; // their CUDNN_ATTR_OPERATION_...
};

const std::map<int, Operation> operations = { // by their CUDNN_BACKEND_OPERATION_..._DESCRIPTOR
    {10, {"convolution_forward", {{"x", 704}, {"w", 703}, {"y", 705}}}},
    {11, {"convolution_backward_filter", {{"dy", 717}, {"x", 716}, {"dw", 715}}}},
    {12, {"convolution_backward_data", {{"dy", 711}, {"w", 709}, {"dx", 710}}}},
    {13, {"pointwise", {}}},
    {19, {"matmul", {{"a", 1520}, {"b", 1521}}}},
    {22, {"reduction", {}}},
    {31, {"reshape", {}}},
    {33, {"rng", {}}},
};

constexpr int descriptors = 15;        // CUDNN_TYPE_BACKEND_DESCRIPTOR
constexpr int fallback = 2;            // CUDNN_HEUR_MODE_FALLBACK
constexpr int tensor_core = 0;         // CUDNN_NUMERICAL_NOTE_TENSOR_CORE
constexpr int64_t workspace = 1 << 20; // what the better engine asks for: some

// element_size is that of one element of an attribute, by its CUDNN_TYPE_...
size_t element_size(int type) {
  switch (type) {
  case 0: case 3: case 5: case 6: case descriptors: return 8; // HANDLE, INT64, DOUBLE, VOID_PTR
  case 2: case 24: return 1;                                  // BOOLEAN, CHAR
  case 26: return 16;                                         // FRACTION
  default: return 4;                                          // FLOAT, INT32 and the enumerations
  }
}

struct Descriptor {
  int kind = 0;
  bool finalized = false;
  std::map<int, std::string> values;            // name -> its elements
  std::map<int, std::vector<Descriptor>> parts; // name -> descriptors, as they were then

  template <typename T> std::vector<T> get(int name) const {
    std::vector<T> all;
    if (const auto v = values.find(name); v != values.end()) {
      all.resize(v->second.size() / sizeof(T));
      memcpy(all.data(), v->second.data(), all.size() * sizeof(T));
    }
    return all;
  }

  template <typename T> void set(int name, T value) {
    values[name] = std::string(reinterpret_cast<const char *>(&value), sizeof value);
  }

  const Descriptor &part(int name) const { return parts.at(name).at(0); }
};

std::string tensor(const char *name, int type, const std::vector<int64_t> &sizes, const std::vector<int64_t> &strides) {
  std::string s = std::string(" ") + name;
  for (size_t i = 0; i < sizes.size(); i++) s += (i == 0 ? "=" : "x") + std::to_string(sizes[i]);
  const char *types[] = {"float", "double", "half", "int8", "int32", "int8x4", "uint8", "uint8x4", "int8x32", "bfloat16"};
  s += type >= 0 && type < 10 ? std::string(",") + types[type] : ",type" + std::to_string(type);
  return s + (strides.size() == 4 && strides[1] == 1 ? ",nhwc" : "");
}

std::string tensor(const char *name, const Descriptor &operation, int at) {
  const Descriptor &t = operation.part(at);
  return tensor(name, t.get<int>(TENSOR_DATA_TYPE).at(0), t.get<int64_t>(TENSOR_DIMENSIONS), t.get<int64_t>(TENSOR_STRIDES));
}

// said tells a graph of operations in a line.
std::string said(const Descriptor &graph) {
  std::string s = "cudnnBackendExecute";
  for (const Descriptor &o : graph.parts.at(OPERATIONGRAPH_OPS)) {
    const Operation &known = operations.at(o.kind);
    s += std::string(" ") + known.name;
    for (const auto &[name, at] : known.tensors) s += tensor(name, o, at);
  }
  return s;
}

// on_host are the ids of the tensors of one number that a graph reads from the CPU's memory.
std::set<int64_t> on_host(const Descriptor &graph) {
  std::set<int64_t> ids;
  for (const Descriptor &o : graph.parts.at(OPERATIONGRAPH_OPS))
    for (const auto &[name, parts] : o.parts)
      for (const Descriptor &t : parts)
        if (const auto by_value = t.get<char>(TENSOR_IS_BY_VALUE); !by_value.empty() && by_value[0])
          ids.insert(t.get<int64_t>(TENSOR_UNIQUE_ID).at(0));
  return ids;
}

// configured makes the engine configurations that heuristics find: one with tensor cores, the fallback without.
std::vector<Descriptor> configured(const Descriptor &heuristics) {
  const bool last = heuristics.get<int>(ENGINEHEUR_MODE).at(0) == fallback;
  Descriptor engine{ENGINE, true, {}, {{ENGINE_OPERATION_GRAPH, {heuristics.part(ENGINEHEUR_OPERATION_GRAPH)}}}};
  engine.set(ENGINE_GLOBAL_INDEX, int64_t(last));
  engine.values[ENGINE_BEHAVIOR_NOTE];
  if (last)
    engine.values[ENGINE_NUMERICAL_NOTE];
  else
    engine.set(ENGINE_NUMERICAL_NOTE, tensor_core);
  Descriptor found{ENGINECFG, true, {}, {{ENGINECFG_ENGINE, {engine}}, {ENGINECFG_KNOB_CHOICES, {}}}};
  found.set(ENGINECFG_WORKSPACE_SIZE, last ? 0 : workspace);
  found.set(ENGINECFG_SHARED_MEMORY_USED, int32_t(48 << 10));
  return {found};
}

struct Handle {
  cudaStream_t stream;
};

int run(const char *call, const Handle *h, const std::string &what) {
  return rehearsal::give(call, h->stream, "kernel " + what, [] {}) == cudaSuccess ? SUCCESS : EXECUTION_FAILED;
}

struct Tensor { // cudnnTensorDescriptor_t
  int type = 0;
  std::vector<int64_t> sizes, strides;

  std::string said(const char *name) const { return tensor(name, type, sizes, strides); }
};

} // namespace

PLAYED int cudnnCreate(Handle **h) {
  *h = new Handle{};
  return SUCCESS;
}

PLAYED int cudnnDestroy(Handle *h) {
  delete h;
  return SUCCESS;
}

PLAYED int cudnnSetStream(Handle *h, cudaStream_t s) {
  h->stream = s;
  return SUCCESS;
}

PLAYED int cudnnGetStream(Handle *h, cudaStream_t *s) {
  *s = h->stream;
  return SUCCESS;
}

PLAYED size_t cudnnGetVersion(void) { return 91900; }

PLAYED int cudnnGetProperty(int part, int *value) { // MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL
  constexpr int version[] = {9, 19, 0};
  *value = version[part];
  return SUCCESS;
}

PLAYED size_t cudnnGetCudartVersion(void) { return CUDART_VERSION; }
PLAYED const char *cudnnGetErrorString(int) { return "rehearsal"; }

// ---- graphs of operations ----

PLAYED int cudnnBackendCreateDescriptor(int kind, Descriptor **made) {
  static const std::set<int> others{POINTWISE,   CONVOLUTION,    ENGINE,       ENGINECFG, ENGINEHEUR, EXECUTION_PLAN,
                                    KNOB_CHOICE, OPERATIONGRAPH, VARIANT_PACK, TENSOR,    MATMUL,     REDUCTION, RNG};
  if (!others.contains(kind) && !operations.contains(kind))
    rehearsal::missing(("cudnnBackendCreateDescriptor of type " + std::to_string(kind)).c_str());
  *made = new Descriptor{kind, false, {}, {}};
  return SUCCESS;
}

PLAYED int cudnnBackendDestroyDescriptor(Descriptor *d) {
  delete d;
  return SUCCESS;
}

PLAYED int cudnnBackendSetAttribute(Descriptor *d, int name, int type, int64_t n, const void *elements) {
  if (d->finalized) return BAD_PARAM;
  if (elements == nullptr) return NULL_POINTER;
  if (type != descriptors) {
    d->values[name] = std::string(static_cast<const char *>(elements), n * element_size(type));
    return SUCCESS;
  }
  auto &parts = d->parts[name];
  parts.clear();
  for (int64_t i = 0; i < n; i++) {
    const Descriptor *part = static_cast<Descriptor *const *>(elements)[i];
    if (!part->finalized) return NOT_FINALIZED;
    parts.push_back(*part);
  }
  return SUCCESS;
}

PLAYED int cudnnBackendFinalize(Descriptor *d) {
  d->finalized = true;
  if (d->kind == ENGINEHEUR) d->parts[ENGINEHEUR_RESULTS] = configured(*d);
  if (d->kind == EXECUTION_PLAN)
    d->values[EXECUTION_PLAN_WORKSPACE_SIZE] = d->part(EXECUTION_PLAN_ENGINE_CONFIG).values.at(ENGINECFG_WORKSPACE_SIZE);
  return SUCCESS;
}

// What was never set, and is not made up above, is not played. n elements fit; the descriptors are there already, to be
// filled in.
PLAYED int cudnnBackendGetAttribute(const Descriptor *d, int name, int type, int64_t n, int64_t *found, void *elements) {
  if (!d->finalized) return NOT_FINALIZED;
  const bool kept = type == descriptors ? d->parts.contains(name) : d->values.contains(name);
  if (!kept) rehearsal::missing(("cudnnBackendGetAttribute of " + std::to_string(name)).c_str());
  if (type == descriptors) {
    const auto &parts = d->parts.at(name);
    if (found != nullptr) *found = parts.size();
    for (int64_t i = 0; elements != nullptr && i < n && i < int64_t(parts.size()); i++)
      *static_cast<Descriptor **>(elements)[i] = parts[i];
    return SUCCESS;
  }
  const std::string &value = d->values.at(name);
  if (found != nullptr) *found = value.size() / element_size(type);
  if (elements != nullptr) memcpy(elements, value.data(), std::min(value.size(), n * element_size(type)));
  return SUCCESS;
}

PLAYED int cudnnBackendExecute(Handle *h, const Descriptor *plan, const Descriptor *pack) {
  LOCKED;
  if (!plan->finalized || !pack->finalized) return NOT_FINALIZED;
  const Descriptor &graph = plan->part(EXECUTION_PLAN_ENGINE_CONFIG).part(ENGINECFG_ENGINE).part(ENGINE_OPERATION_GRAPH);
  const auto host = on_host(graph);
  const auto ids = pack->get<int64_t>(VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack->get<void *>(VARIANT_PACK_DATA_POINTERS), space = pack->get<void *>(VARIANT_PACK_WORKSPACE);
  for (size_t i = 0; i < pointers.size(); i++)
    if (!host.contains(ids.at(i)) && !rehearsal::on_device(pointers[i])) return NULL_POINTER;
  if (plan->get<int64_t>(EXECUTION_PLAN_WORKSPACE_SIZE).at(0) > 0 && (space.empty() || !rehearsal::on_device(space[0])))
    return NULL_POINTER;
  return run("cudnnBackendExecute", h, said(graph));
}

// ---- batch norms ----

PLAYED int cudnnCreateTensorDescriptor(Tensor **made) {
  *made = new Tensor;
  return SUCCESS;
}

PLAYED int cudnnDestroyTensorDescriptor(Tensor *t) {
  delete t;
  return SUCCESS;
}

PLAYED int cudnnSetTensorNdDescriptor(Tensor *t, int type, int n, const int *sizes, const int *strides) {
  *t = {type, {sizes, sizes + n}, {strides, strides + n}};
  return SUCCESS;
}

// Each takes as much space as two sums a channel.
#define SPACE(name, ...)                                    \
  PLAYED int name(Handle *, __VA_ARGS__, size_t *bytes) {   \
    *bytes = 2 * sizeof(float) * x->sizes.at(1);            \
    return SUCCESS;                                         \
  }

SPACE(cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize, int, int, Tensor *x, void *, void *, void *, void *)
SPACE(cudnnGetBatchNormalizationBackwardExWorkspaceSize, int, int, Tensor *x, void *, void *, void *, void *, void *, void *)
SPACE(cudnnGetBatchNormalizationTrainingExReserveSpaceSize, int, int, void *, Tensor *x)

#define BATCH_NORM(name, ...)                               \
  PLAYED int name(Handle *h, __VA_ARGS__, const Tensor *x) { \
    LOCKED;                                                 \
    return run(#name, h, #name + x->said("x"));             \
  }

BATCH_NORM(cudnnBatchNormalizationForwardTrainingEx, int, int, void *, void *)
BATCH_NORM(cudnnBatchNormalizationForwardInference, int, void *, void *)
BATCH_NORM(cudnnBatchNormalizationBackwardEx, int, int, void *, void *, void *, void *)
