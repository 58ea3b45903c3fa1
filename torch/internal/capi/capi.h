// The whole C surface between Go and libtorch. Grouped by noun; each group has a .hh, of capi.cpp, and a .go file of its own.
//
// Rules: every function that can fail returns NULL, or a message made with malloc whose first byte is its kind
// (THAW_ERR_*); no C++ exception crosses. A thaw_tensor is a TensorImpl that its holder owns one reference to.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef uintptr_t thaw_tensor;
typedef uintptr_t thaw_op;
typedef uintptr_t thaw_generator;
typedef uintptr_t thaw_guard;
typedef uintptr_t thaw_shadow;
typedef uintptr_t thaw_packed;
typedef uintptr_t thaw_store;
typedef uintptr_t thaw_group;
typedef uintptr_t thaw_work;
typedef uintptr_t thaw_reducer;

#define THAW_ERR_OTHER 'e'
#define THAW_ERR_MEMORY 'm'
#define THAW_ERR_INDEX 'i'
#define THAW_ERR_UNIMPLEMENTED 'u'

// ---- call: any operator through the boxed dispatcher ----

enum {
  THAW_NONE = 0,
  THAW_TENSOR,
  THAW_INT,
  THAW_DOUBLE,
  THAW_BOOL,
  THAW_STRING,       // offset and length (bytes) into lists
  THAW_DEVICE,       // type << 8 | (index & 0xff)
  THAW_INTS,         // offset and length into lists, as are the next five
  THAW_DOUBLES,
  THAW_BOOLS,
  THAW_TENSORS,
  THAW_OPT_TENSORS,
  THAW_SCALARS,
  THAW_GENERATOR,
  THAW_DEFAULT,      // the schema's default for this argument
};

typedef struct {
  int64_t tag;
  int64_t bits; // the value, or offset << 32 | length
} thaw_value;

char *thaw_op_find(const char *name, const char *overload, thaw_op *op);
char *thaw_op_schema(thaw_op op, char **schema);
// Overload names of an operator, one a line, each behind a '.'.
char *thaw_op_overloads(const char *name, char **overloads);

// Calls op with io[0:nin]; arguments beyond take the schema's defaults. Results go to io[0:nout_max], their number
// to *nout (those beyond nout_max are dropped); lists among them are malloc'd arrays {length, items...}.
// *scope is the scope that the calling thread is in.
char *thaw_call(thaw_op op, thaw_value *io, int64_t nin, int64_t nout_max, const int64_t *lists, int32_t *nout,
                int32_t *scope);

// The same for an operator that begins with one or two tensors (b is 0 for one), takes its defaults for the rest and gives
// a tensor.
char *thaw_call_tensors(thaw_op op, thaw_tensor a, thaw_tensor b, thaw_tensor *out, int32_t *scope);

// ---- scope: the id of the innermost scope of the calling thread, 0 for none ----

int32_t thaw_scope_swap(int32_t id);
int32_t thaw_scope_current(void);

// ---- tensor ----

typedef struct {
  int64_t ndim, numel, itemsize, storage_bytes;
  int64_t dtype, device_type, device_index;
  int64_t contiguous, requires_grad, is_leaf, layout;
  uint64_t version; // in-place writes so far
  void *data;
  int64_t sizes[64], strides[64];
} thaw_tensor_info;

char *thaw_tensor_describe(thaw_tensor t, thaw_tensor_info *info);
int64_t thaw_tensor_ndim(thaw_tensor t);
void thaw_tensor_sizes(thaw_tensor t, int64_t *sizes);
// A new tensor in the CPU's memory with a copy of nbytes bytes.
char *thaw_tensor_from_bytes(const void *data, int64_t nbytes, int64_t dtype, const int64_t *sizes, int64_t ndim,
                             thaw_tensor *out, int32_t *scope);
// A tensor over memory that somebody else owns and keeps for as long as the tensor lives.
char *thaw_tensor_from_blob(void *data, int64_t dtype, const int64_t *sizes, int64_t ndim, thaw_tensor *out,
                            int32_t *scope);
// The memory of a tensor on the CPU whose elements lie in row-major order.
char *thaw_tensor_memory(thaw_tensor t, void **data, int64_t *nbytes);
// Copies the elements of any tensor, in row-major order, to dst (nbytes must be their size).
char *thaw_tensor_to_bytes(thaw_tensor t, void *dst, int64_t nbytes);
// Another owner of the same tensor.
thaw_tensor thaw_tensor_share(thaw_tensor t);
// A 64-bit digest of the elements' bytes, for contracts ("this tensor has not moved"), not for security.
char *thaw_tensor_digest(thaw_tensor t, uint64_t *digest);
void thaw_tensors_free(const thaw_tensor *t, int64_t n);

// ---- autograd ----

char *thaw_backward(const thaw_tensor *roots, const thaw_tensor *grads, int64_t n, const thaw_tensor *inputs,
                    int64_t ninputs, int32_t retain_graph, int32_t create_graph);
char *thaw_grad(const thaw_tensor *roots, const thaw_tensor *grads, int64_t n, const thaw_tensor *inputs,
                int64_t ninputs, int32_t retain_graph, int32_t create_graph, int32_t allow_unused, thaw_tensor *out,
                int32_t *scope);
char *thaw_tensor_grad(thaw_tensor t, thaw_tensor *grad, int32_t *scope);
char *thaw_tensor_set_grad(thaw_tensor t, thaw_tensor grad);
// Switches recording for a leaf. *accumulator holds the node that collects its gradient, or 0: without a holder autograd
// makes and frees that node for every operator on the leaf.
char *thaw_tensor_set_requires_grad(thaw_tensor t, int32_t on, uintptr_t *accumulator);
void thaw_accumulator_free(uintptr_t accumulator);
char *thaw_tensor_retain_grad(thaw_tensor t);
char *thaw_tensor_grad_fn(thaw_tensor t, char **name);
// t takes over the data of src (same shape and dtype not required), as `t.data = src` does in Python.
char *thaw_tensor_set_data(thaw_tensor t, thaw_tensor src);

// ---- linear: x weight^T + bias, and GELU over it where gelu is not 0; weight is [N, K], bias may be 0 ----

char *thaw_linear(thaw_tensor x, thaw_tensor weight, thaw_tensor bias, int32_t gelu, thaw_tensor *out,
                  int32_t *scope);
// x for a residual, and x in the dtype of autocast for the layer beside it
char *thaw_autocast_fork(thaw_tensor x, thaw_tensor *residual, thaw_tensor *input, int32_t *scope);

// x for n layers at once: weights and biases are those of one layer, one below the other
char *thaw_linear_joined(thaw_tensor x, const thaw_tensor *weights, const thaw_tensor *biases, int64_t n, thaw_tensor *out,
                         int32_t *scope);
// bias may be 0; stride, padding and dilation are of rows and columns
char *thaw_conv2d(thaw_tensor x, thaw_tensor weight, thaw_tensor bias, const int64_t *stride, const int64_t *padding,
                  const int64_t *dilation, int64_t groups, thaw_tensor *out, int32_t *scope);
// A convolution and the batch norm behind it (norm: weight, bias, mean and variance), plus a shortcut (0: none), and ReLU where asked,
// in one; out is 0 where that cannot be, as where something is recorded for autograd.
char *thaw_conv_norm(thaw_tensor x, thaw_tensor weight, thaw_tensor bias, const thaw_tensor *norm, double eps, thaw_tensor shortcut,
                     int32_t relu, const int64_t *stride, const int64_t *padding, const int64_t *dilation, int64_t groups, thaw_tensor *out,
                     int32_t *scope);
// Says for the whole process whether it is used, below 0 nothing, and gives what was said before.
int32_t thaw_fold(int32_t on);
// when 3 x 3 convolutions go by Winograd's filtering: 0 never, 1 where it is faster, 2 wherever it can be; gives what it was
int32_t thaw_winograd(int32_t use);
// whether layers that train go through oneDNN on every processor, not only where it is faster; gives what was set before
int32_t thaw_always_onednn(int32_t always);
// dropout in training, plus another tensor of x's shape; plus may be 0
char *thaw_dropout(thaw_tensor x, thaw_tensor plus, double p, thaw_tensor *out, int32_t *scope);
// regions [K, 5], a picture's number and its box, of feature maps [N, C, H, W] on the CPU: [K, C, rows, columns]
char *thaw_roi_align(thaw_tensor x, thaw_tensor rois, double scale, int64_t rows, int64_t columns, int64_t sampling,
                     int32_t aligned, thaw_tensor *out, int32_t *scope);

// ---- pixels: pictures of 8 bits a sample, three samples a pixel ----

// Whether the CPU has the vector instructions that the two passes of a resize need.
int32_t thaw_pixels_fast(void);
#define THAW_PIXELS_BEYOND 16
// The horizontal pass over rows of so many columns, to rows of n pixels. A pixel is made of count of the source's from first on, with
// weights in fixed point, 22 bits behind the point; the weights of two, the second 0 where there is none, take two words: their
// lowest 11 bits in 16 each, and what is above, likewise. from has from_size bytes, spare 4 (3 columns + THAW_PIXELS_BEYOND).
void thaw_resize_rows(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, int64_t from_size, uint8_t *spare,
                      int64_t rows, int64_t columns, const int32_t *first, const int32_t *count, const uint32_t *weights, int64_t n);
// The vertical pass, to n rows of so many samples, 16 at least.
void thaw_resize_columns(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, int64_t samples, const int32_t *first,
                         const int32_t *count, const uint32_t *weights, int64_t n);
// pictures [N, height, width, 3] in uint8 to [N, 3, height, width] in float32, channels-last: times factor plus offset, three numbers each
char *thaw_normalise(thaw_tensor pixels, thaw_tensor factor, thaw_tensor offset, thaw_tensor *out, int32_t *scope);

// ---- shadow parameters: copies of parameters in autocast's dtype, which the layers above read while they are in use on their thread ----

char *thaw_shadow_new(const thaw_tensor *of, int64_t n, int32_t dtype, thaw_shadow *out);
void thaw_shadow_enter(thaw_shadow h);
void thaw_shadow_exit(void); // the last that was entered
char *thaw_shadow_refresh(thaw_shadow h); // copies anew
char *thaw_shadow_collect(thaw_shadow h); // gradients of copies become the parameters'
void thaw_shadow_free(thaw_shadow h);

// ---- packed weights: copies of weights in oneDNN's layout, which thaw_linear makes and reads while they are in use on its thread ----

char *thaw_packed_new(thaw_packed *out);
thaw_packed thaw_packed_swap(thaw_packed h); // puts them, or with 0 none, into use; gives those before
void thaw_packed_free(thaw_packed h);

// ---- guard: state of the calling thread ----

// The number of threads that operators of the calling thread may use; it gives the number before.
int32_t thaw_swap_thread_limit(int32_t n);
int32_t thaw_grad_mode(void);
void thaw_grad_mode_set(int32_t on);
char *thaw_inference_enter(thaw_guard *g);
void thaw_inference_exit(thaw_guard g);
// Autocast for a device type; the state before goes to prev (3 values) and back with thaw_autocast_exit.
char *thaw_autocast_enter(int32_t device_type, int32_t dtype, int32_t on, int64_t *prev);
void thaw_autocast_exit(int32_t device_type, const int64_t *prev);

// ---- generator ----

char *thaw_generator_new(uint64_t seed, thaw_generator *out);
char *thaw_generator_default(thaw_generator *out);
char *thaw_generator_seed(thaw_generator g, uint64_t seed);
char *thaw_generator_state(thaw_generator g, thaw_tensor *out, int32_t *scope);
char *thaw_generator_set_state(thaw_generator g, thaw_tensor state);
void thaw_generator_free(thaw_generator g);

// ---- runtime ----

typedef struct {
  int64_t live_bytes, peak_bytes;
} thaw_memory;

const char *thaw_version(void);
char *thaw_show_config(char **out);
const char *thaw_cpu_capability(void);
// whether the processor has instructions that multiply bfloat16
int32_t thaw_cpu_bfloat16(void);
int32_t thaw_has_cuda(void);
int32_t thaw_num_threads(void);
char *thaw_set_num_threads(int32_t n);
// Whether threads of operators that wait for one another spin, as they do at first, or sleep at once.
char *thaw_set_spinning(int32_t on);
void thaw_set_deterministic(int32_t on);
void thaw_memory_stats(thaw_memory *m);
void thaw_memory_reset_peak(void);
// Makes malloc keep all that is freed for what is asked for next.
void thaw_memory_keep_freed(void);
// Makes malloc give large blocks back to the system from now on, and what lies free already.
void thaw_memory_give_back(void);

// ---- dist: processes that train together, by c10d. Every wait has an end, timeout_ms from its begin ----

// serves says whether the store lies in this process; port 0 is then any free one, which *bound tells.
char *thaw_store_new(const char *host, int32_t port, int32_t serves, int64_t timeout_ms, thaw_store *out, int32_t *bound);
// The same store by the same connection, with a prefix before every key.
char *thaw_store_prefixed(thaw_store s, const char *prefix, thaw_store *out);
void thaw_store_free(thaw_store s);
char *thaw_store_set(thaw_store s, const char *key, const void *value, int64_t n);
// Waits for the key. *value is made with malloc.
char *thaw_store_get(thaw_store s, const char *key, int64_t timeout_ms, char **value, int64_t *n);
char *thaw_store_add(thaw_store s, const char *key, int64_t delta, int64_t *sum);

enum { THAW_REDUCE_SUM = 0, THAW_REDUCE_MAX, THAW_REDUCE_MIN };

// Gloo between the CPUs; address is this process's own, by which the others reach it.
char *thaw_group_new(thaw_store s, int32_t rank, int32_t size, const char *address, int64_t timeout_ms, thaw_group *out);
void thaw_group_free(thaw_group g);
// These begin the work; the tensors must live until it was waited for. Contiguous tensors only.
char *thaw_group_allreduce(thaw_group g, thaw_tensor t, int32_t op, int64_t timeout_ms, thaw_work *out);
char *thaw_group_broadcast(thaw_group g, thaw_tensor t, int32_t root, int64_t timeout_ms, thaw_work *out);
char *thaw_group_allgather(thaw_group g, thaw_tensor t, const thaw_tensor *outs, int64_t n, int64_t timeout_ms, thaw_work *out);
// outs are none but on root
char *thaw_group_gather(thaw_group g, thaw_tensor t, const thaw_tensor *outs, int64_t n, int32_t root, int64_t timeout_ms,
                        thaw_work *out);
char *thaw_group_barrier(thaw_group g, int64_t timeout_ms);
// Names the ranks that did not come.
char *thaw_group_monitored_barrier(thaw_group g, int64_t timeout_ms);
// x summed over the group, recorded by autograd. The group must live until backward.
char *thaw_group_sum(thaw_group g, thaw_tensor x, thaw_tensor *out, int32_t *scope);
// Waits for and frees the work.
char *thaw_work_wait(thaw_work w);

// Adds up the gradients of params in buckets, their mean over the group in the end; the group must live longer. Gradients that
// params have count as those of a step.
char *thaw_reducer_new(thaw_group g, const thaw_tensor *params, int64_t n, int64_t first_bucket, int64_t bucket, thaw_reducer *out);
// The next backward reduces each bucket as soon as its gradients are there; each of params must get a gradient in it.
char *thaw_reducer_arm(thaw_reducer r);
// Reduces the gradients that the parameters have; none counts as 0.
char *thaw_reducer_sync(thaw_reducer r);
char *thaw_reducer_buckets(thaw_reducer r, int64_t *bytes, int64_t most, int64_t *n);
// Takes the gradients away, which lie in the buckets.
char *thaw_reducer_free(thaw_reducer r);

#ifdef __cplusplus
}
#endif
