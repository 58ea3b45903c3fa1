// The part of the C surface that only a program built with -tags cuda has. The rules are those of capi.h; a device of
// -1 is the calling thread's current one. Without a device every function but thaw_cuda_versions says so in its message.
#pragma once

#include "capi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uintptr_t thaw_cuda_event;
typedef uintptr_t thaw_cuda_graph;

// ---- device ----

typedef struct {
  char name[256];
  int64_t total_memory, major, minor, multiprocessors;
} thaw_cuda_properties;

typedef struct {
  // As CUDA, cuDNN and NCCL number themselves; 0 for none. driver is the newest CUDA that the driver supports.
  int64_t driver, runtime, cudnn, nccl;
} thaw_cuda_versions_info;

typedef struct {
  int32_t tf32, conv_tf32, cudnn_attention, benchmark, deterministic;
} thaw_cuda_switches;

char *thaw_cuda_start(void);
char *thaw_cuda_device_count(int32_t *n);
char *thaw_cuda_device_properties(int32_t device, thaw_cuda_properties *p);
char *thaw_cuda_versions(thaw_cuda_versions_info *v);
char *thaw_cuda_synchronize(int32_t device);
char *thaw_cuda_device_swap(int32_t device, int32_t *before);
// The generator that operators on the device use when they are given none; thaw_generator_* take it.
char *thaw_cuda_generator(int32_t device, thaw_generator *out);
char *thaw_cuda_switches_get(thaw_cuda_switches *s);
char *thaw_cuda_switches_set(const thaw_cuda_switches *s);

// ---- memory ----

typedef struct {
  int64_t allocated, allocated_peak; // bytes in tensors
  int64_t reserved, reserved_peak;   // bytes that the allocator holds
  int64_t allocations, retries;      // tensors' blocks now; times that the cache was emptied to make room
  int64_t device_allocations;        // times that memory was asked of the driver
  int64_t free, total;               // bytes of the whole device, over all processes
} thaw_cuda_memory;

char *thaw_cuda_memory_stats(int32_t device, thaw_cuda_memory *m);
char *thaw_cuda_memory_reset_peak(int32_t device);
char *thaw_cuda_memory_empty_cache(void);
// Frees the workspaces that cuBLAS keeps for each thread and stream. No graph may live that was captured with them.
char *thaw_cuda_memory_drop_workspaces(void);
char *thaw_cuda_memory_set_fraction(int32_t device, double fraction);
char *thaw_cuda_memory_configure(const char *settings);

// ---- stream ----

typedef struct {
  int64_t id, device;
} thaw_cuda_stream;

char *thaw_cuda_stream_new(int32_t device, int32_t high_priority, thaw_cuda_stream *out);
char *thaw_cuda_stream_current(int32_t device, thaw_cuda_stream *out);
// Makes s and its device current on the calling thread. What was before goes to before (s's device, then its
// stream) and back with thaw_cuda_stream_exit.
char *thaw_cuda_stream_enter(thaw_cuda_stream s, int32_t *device_before, thaw_cuda_stream *before);
char *thaw_cuda_stream_exit(int32_t device_before, thaw_cuda_stream before);
char *thaw_cuda_stream_synchronize(thaw_cuda_stream s);
char *thaw_cuda_stream_query(thaw_cuda_stream s, int32_t *done);

// ---- event ----

char *thaw_cuda_event_new(int32_t device, int32_t timing, thaw_cuda_event *out);
char *thaw_cuda_event_record(thaw_cuda_event e, thaw_cuda_stream s);
char *thaw_cuda_event_block(thaw_cuda_event e, thaw_cuda_stream s); // what s is given later waits for e
char *thaw_cuda_event_synchronize(thaw_cuda_event e);
char *thaw_cuda_event_query(thaw_cuda_event e, int32_t *done);
char *thaw_cuda_event_elapsed(thaw_cuda_event start, thaw_cuda_event end, float *milliseconds);
void thaw_cuda_event_free(thaw_cuda_event e);

// ---- graph: begin, end and abandon belong on one thread, with the stream that is captured current ----

// pool_of, unless 0, is a graph whose memory the new one shares.
char *thaw_cuda_graph_new(int32_t device, thaw_cuda_graph pool_of, thaw_cuda_graph *out);
char *thaw_cuda_graph_begin(thaw_cuda_graph g);
// Ends the capture; where that fails, nothing is left half-captured.
char *thaw_cuda_graph_end(thaw_cuda_graph g);
// Ends a capture whose outcome is of no use.
void thaw_cuda_graph_abandon(thaw_cuda_graph g);
// Launches the graph on the calling thread's current stream.
char *thaw_cuda_graph_replay(thaw_cuda_graph g);
char *thaw_cuda_graph_enter(thaw_cuda_graph g);
char *thaw_cuda_graph_leave(thaw_cuda_graph g);
void thaw_cuda_graph_free(thaw_cuda_graph g);

// ---- dist: NCCL between GPUs, one a process; see capi.h ----

char *thaw_group_new_nccl(thaw_store s, int32_t rank, int32_t size, int32_t device, int64_t timeout_ms, thaw_group *out);
// Ends what is queued on the GPU and waits for ranks that will not come.
char *thaw_group_abort_nccl(thaw_group g);

#ifdef __cplusplus
}
#endif
