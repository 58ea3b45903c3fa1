#include "device.h"

namespace rehearsal {
namespace {

std::vector<std::shared_ptr<Capture>> &captures() { // those under way
  static auto *c = new std::vector<std::shared_ptr<Capture>>;
  return *c;
}

thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

void leave(const std::shared_ptr<Capture> &c) {
  for (Stream *s : all_streams()) {
    if (s->capture == c) {
      s->capture.reset();
      s->leaves.clear();
    }
  }
  c->ended = true;
  std::erase(captures(), c);
}

} // namespace

bool captures_here() {
  for (const auto &c : captures())
    if (c->thread == this_thread()) return true;
  return false;
}

bool break_captures() {
  for (auto &c : captures())
    if (c->thread == this_thread() || c->mode == cudaStreamCaptureModeGlobal) c->broken = true;
  return !captures().empty();
}

cudaError_t forbidden(const char *call) {
  LOCKED;
  if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (const auto &c : captures()) {
    const bool mine = c->thread == this_thread() && c->mode != cudaStreamCaptureModeRelaxed;
    const bool global = c->mode == cudaStreamCaptureModeGlobal && thread_mode == cudaStreamCaptureModeGlobal;
    if (!mine && !global) continue;
    c->broken = true;
    return failed(call, cudaErrorStreamCaptureUnsupported, "a capture forbids it");
  }
  return cudaSuccess;
}

} // namespace rehearsal

using namespace rehearsal;

// ---- captures ----

PLAYED cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

PLAYED cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode mode) {
  LOCKED;
  Stream *stream = stream_of(s);
  if (stream == nullptr) return failed("cudaStreamBeginCapture", cudaErrorInvalidResourceHandle, "no such stream");
  if (stream == stream_of(nullptr))
    return failed("cudaStreamBeginCapture", cudaErrorStreamCaptureUnsupported, "the legacy stream");
  if (stream->capture) return failed("cudaStreamBeginCapture", cudaErrorInvalidValue, "it captures already");
  static unsigned long long next = 1;
  auto c = std::make_shared<Capture>();
  c->id = next++;
  c->mode = mode;
  c->thread = this_thread();
  c->origin = stream;
  stream->capture = c;
  captures().push_back(c);
  note("capture_begin", s, "%d", mode);
  return cudaSuccess;
}

PLAYED cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *status) {
  LOCKED;
  Stream *stream = stream_of(s);
  if (stream == nullptr) return failed("cudaStreamIsCapturing", cudaErrorInvalidResourceHandle, "no such stream");
  *status = !stream->capture         ? cudaStreamCaptureStatusNone
            : stream->capture->broken ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

PLAYED cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *status, unsigned long long *id,
                                            cudaGraph_t *graph, const cudaGraphNode_t **dependencies,
                                            const cudaGraphEdgeData **edges, size_t *n) {
  LOCKED;
  if (const cudaError_t e = cudaStreamIsCapturing(s, status)) return e;
  Stream *stream = stream_of(s);
  if (id != nullptr) *id = stream->capture ? stream->capture->id : 0;
  if (graph != nullptr) *graph = stream->capture ? reinterpret_cast<cudaGraph_t>(stream->capture.get()) : nullptr;
  // The allocator asks for the nodes that a block's last use hangs on; a node's handle is its number, from 1.
  static thread_local std::vector<cudaGraphNode_t> found;
  if (dependencies != nullptr) {
    found.clear();
    for (int node : stream->leaves) found.push_back(reinterpret_cast<cudaGraphNode_t>(intptr_t(node) + 1));
    *dependencies = found.data();
  }
  if (edges != nullptr) *edges = nullptr;
  if (n != nullptr) *n = stream->leaves.size();
  return cudaSuccess;
}

namespace {

struct Graph {
  std::vector<Node> nodes;
};

// unjoined says whether something was captured that the origin's last node does not come behind.
bool unjoined(const Capture &c) {
  std::vector<bool> reached(c.nodes.size());
  std::vector<int> open = c.origin->leaves;
  while (!open.empty()) {
    const int n = open.back();
    open.pop_back();
    if (reached[n]) continue;
    reached[n] = true;
    open.insert(open.end(), c.nodes[n].behind.begin(), c.nodes[n].behind.end());
  }
  for (const bool r : reached)
    if (!r) return true;
  return false;
}

} // namespace

PLAYED cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph) {
  LOCKED;
  *graph = nullptr;
  Stream *stream = stream_of(s);
  if (stream == nullptr || !stream->capture)
    return failed("cudaStreamEndCapture", cudaErrorInvalidValue, "the stream does not capture");
  auto c = stream->capture;
  if (c->origin != stream) {
    c->broken = true;
    return failed("cudaStreamEndCapture", cudaErrorStreamCaptureUnmatched, "another stream began it");
  }
  if (c->thread != this_thread() && c->mode != cudaStreamCaptureModeRelaxed)
    return failed("cudaStreamEndCapture", cudaErrorStreamCaptureWrongThread, "another thread began it");
  const bool broken = c->broken, open = unjoined(*c);
  note("capture_end", s, "%zu", c->nodes.size());
  leave(c);
  if (broken) return failed("cudaStreamEndCapture", cudaErrorStreamCaptureInvalidated, "the capture is broken");
  if (open) return failed("cudaStreamEndCapture", cudaErrorStreamCaptureUnjoined, "work was not joined");
  *graph = reinterpret_cast<cudaGraph_t>(new Graph{c->nodes});
  return cudaSuccess;
}

// ---- graphs ----

PLAYED cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *, size_t *n) {
  LOCKED;
  *n = reinterpret_cast<Graph *>(g)->nodes.size();
  return cudaSuccess;
}

PLAYED cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t *behind, cudaGraphEdgeData *,
                                                size_t *n) {
  LOCKED;
  // Only of a capture under way, of which PyTorch asks.
  if (captures().size() != 1) return failed("cudaGraphNodeGetDependencies", cudaErrorInvalidValue, "of which capture?");
  const auto &nodes = captures().front()->nodes;
  const auto at = static_cast<size_t>(reinterpret_cast<intptr_t>(node) - 1);
  if (at >= nodes.size()) return failed("cudaGraphNodeGetDependencies", cudaErrorInvalidValue, "no such node");
  if (behind != nullptr)
    for (size_t i = 0; i < *n && i < nodes[at].behind.size(); i++)
      behind[i] = reinterpret_cast<cudaGraphNode_t>(intptr_t(nodes[at].behind[i]) + 1);
  *n = nodes[at].behind.size();
  return cudaSuccess;
}

PLAYED cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t g, unsigned long long) {
  LOCKED;
  *exec = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph *>(g)));
  return cudaSuccess;
}

PLAYED cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s) {
  LOCKED;
  auto *g = reinterpret_cast<Graph *>(exec);
  return give("cudaGraphLaunch", s, "graph of " + std::to_string(g->nodes.size()), [nodes = g->nodes] {
    for (const Node &n : nodes) n.work();
  });
}

PLAYED cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  LOCKED;
  delete reinterpret_cast<Graph *>(exec);
  return cudaSuccess;
}

PLAYED cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  LOCKED;
  delete reinterpret_cast<Graph *>(g);
  return cudaSuccess;
}

PLAYED cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char *, unsigned) { return cudaSuccess; }
