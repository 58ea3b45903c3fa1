// Convolutions of 3 x 3 on the CPU by Winograd's minimal filtering (Lavin and Gray 2016): 4 x 4 pixels of the output are made
// of 6 x 6 of the input by 36 multiplications for each pair of channels, where 144 are taken directly. Pictures and weights
// are transformed to 36 matrices each, the matrices multiplied by MKL, and the products transformed to pixels. What that is
// worth, and where it is used, is in docs/decisions/023-winograd.md.
//
// The filter interpolates at 0, a, -a, b, -b and infinity. a = 5/8 and b = 3/2 keep the rounding near that of a direct
// convolution in float32; 1 and 2 would double it.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "internal.h"

using namespace thaw;

#ifdef __x86_64__

namespace {

namespace winograd {

using at::Tensor;

constexpr int64_t pixels = 4, window = 6, products = window * window;
constexpr float a = 0.625f, b = 1.5f, a2 = a * a, b2 = b * b;
constexpr float scale_0 = 1 / (a2 * b2), scale_a = 1 / (2 * a2 * (a2 - b2)), scale_b = 1 / (2 * b2 * (b2 - a2));

// Tiles are numbered picture by picture, row by row.
struct Tiles {
  int64_t pictures, height, width, down, across;
  explicit Tiles(const Tensor &x)
      : pictures(x.size(0)), height(x.size(2)), width(x.size(3)), down((height + pixels - 1) / pixels),
        across((width + pixels - 1) / pixels) {}
  int64_t count() const { return pictures * down * across; }
  int64_t picture(int64_t t) const { return t / (down * across); }
  int64_t top(int64_t t) const { return t / across % down * pixels; }
  int64_t left(int64_t t) const { return t % across * pixels; }
};

// The kernels of an instruction set, which go over a multiple of width channels at a time.
struct Kernels {
  int64_t width;
  // One tile of a picture with the pixels around it to a row of 36 matrices.
  void (*read_tile)(const float *x, const Tiles &g, int64_t channels, int64_t t, float *to, int64_t matrix);
  // One tile of a gradient to a row of 36 matrices, the transpose of write_tile.
  void (*read_gradient)(const float *y, const Tiles &g, int64_t channels, int64_t t, float *to, int64_t matrix);
  // A row of 36 matrices of products to one tile of the output.
  void (*write_tile)(const float *from, int64_t matrix, const float *bias, float *y, const Tiles &g, int64_t channels, int64_t t);
  // Weights to rows of 36 matrices, and the transpose of that.
  void (*transform_weights)(const float *w, int64_t tap, int64_t channels, bool mirrored, float *to, int64_t matrix);
  void (*weights_gradient)(const float *from, int64_t matrix, int64_t in, float *w);
};

#define INSTRUCTIONS avx512
#define TARGET "avx512f"
#define BYTES 64
#include "winograd_kernels.hh"
#undef INSTRUCTIONS
#undef TARGET
#undef BYTES
#define INSTRUCTIONS avx2
#define TARGET "avx2,fma"
#define BYTES 32
#include "winograd_kernels.hh"
#undef INSTRUCTIONS
#undef TARGET
#undef BYTES

// Those of this processor.
const Kernels &kernels() {
  static const Kernels &best = __builtin_cpu_supports("avx512f") ? avx512::kernels : avx2::kernels;
  return best;
}

Tensor channels_last(const Tensor &t) { return t.contiguous(at::MemoryFormat::ChannelsLast); }

// 36 matrices a cache line further apart than their numbers: a tile is a row of each, and rows that lie a power of two apart would
// drive each other out of the cache.
Tensor empty_matrices(int64_t rows, int64_t columns) {
  constexpr int64_t line = 16;
  const int64_t apart = rows * columns + line;
  return at::empty({products * apart}, at::kFloat).as_strided({products, rows, columns}, {apart, columns, 1});
}

// weight [out, in, 3, 3] as the 36 matrices that x is multiplied with, [in, out], or its gradient, [out, in].
Tensor weight_matrices(const Tensor &weight, bool of_gradient) {
  const Tensor w = channels_last(weight);
  const int64_t out = w.size(0), in = w.size(1), rows = of_gradient ? out : in, columns = of_gradient ? in : out;
  // In memory [out][9][in]; turned [9][in][out].
  const Tensor taps = of_gradient ? w : turned(w.permute({0, 2, 3, 1}).reshape({out, 9 * in}));
  const int64_t tap = of_gradient ? in : in * out, row = of_gradient ? 9 * in : out;
  Tensor matrices = empty_matrices(rows, columns);
  const Kernels &with = kernels();
  const float *from = taps.const_data_ptr<float>();
  float *to = matrices.mutable_data_ptr<float>();
  at::parallel_for(0, rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) {
      with.transform_weights(from + k * row, tap, columns, of_gradient, to + k * columns, matrices.stride(0));
    }
  });
  return matrices;
}

// x [N, in, H, W] with 36 matrices [in, out], plus bias [out]: [N, out, H, W]. Some tiles at a time stay in a core's cache.
Tensor convolve(const Tensor &x_, const Tensor &matrices, const Tensor &bias) {
  const Tensor x = channels_last(x_);
  const int64_t in = x.size(1), out = matrices.size(2);
  const Tiles g(x);
  const Kernels &with = kernels();
  Tensor y = at::empty({x.size(0), out, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  const float *from = x.const_data_ptr<float>(), *plus = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  float *to = y.mutable_data_ptr<float>();
  constexpr int64_t most = 64;
  const int64_t threads = at::get_num_threads(), block = std::min(most, (g.count() + threads - 1) / threads);
  at::parallel_for(0, (g.count() + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    at::AutoDispatchBelowADInplaceOrView below;
    Tensor read = empty_matrices(block, in), written = empty_matrices(block, out);
    float *r = read.mutable_data_ptr<float>(), *w = written.mutable_data_ptr<float>();
    for (int64_t k = begin; k < end; k++) {
      const int64_t first = k * block, n = std::min(block, g.count() - first);
      for (int64_t t = 0; t < n; t++) with.read_tile(from, g, in, first + t, r + t * in, read.stride(0));
      Tensor some = written.narrow(1, 0, n);
      at::bmm_out(some, read.narrow(1, 0, n), matrices);
      for (int64_t t = 0; t < n; t++) with.write_tile(w + t * out, written.stride(0), plus, to, g, out, first + t);
    }
  });
  return y;
}

// The gradient of a weight [out, in, 3, 3] from x and the gradient of the output.
Tensor weight_gradient(const Tensor &x_, const Tensor &dy) {
  const Tensor x = channels_last(x_);
  const int64_t in = x.size(1), out = dy.size(1);
  const Tiles g(x);
  const Kernels &with = kernels();
  constexpr int64_t most = 512;
  const int64_t block = std::min(most, g.count());
  Tensor read = empty_matrices(block, in), gradients = empty_matrices(block, out), sum = empty_matrices(out, in);
  const float *from = x.const_data_ptr<float>(), *from_y = dy.const_data_ptr<float>();
  float *r = read.mutable_data_ptr<float>(), *d = gradients.mutable_data_ptr<float>();
  for (int64_t first = 0; first < g.count(); first += block) {
    const int64_t n = std::min(block, g.count() - first);
    at::parallel_for(0, n, 8, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        with.read_tile(from, g, in, first + t, r + t * in, read.stride(0));
        with.read_gradient(from_y, g, out, first + t, d + t * out, gradients.stride(0));
      }
    });
    at::baddbmm_out(sum, sum, gradients.narrow(1, 0, n).transpose(1, 2), read.narrow(1, 0, n), first == 0 ? 0 : 1);
  }
  Tensor dw = at::empty({out, in, 3, 3}, x.options(), at::MemoryFormat::ChannelsLast);
  const float *s = sum.const_data_ptr<float>();
  float *to = dw.mutable_data_ptr<float>();
  at::parallel_for(0, out, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) with.weights_gradient(s + k * in, sum.stride(0), in, to + k * 9 * in);
  });
  return dw;
}

// From how many tiles on it is faster than oneDNN's convolution: below, transforming the weights takes longer than it saves.
constexpr int64_t least_tiles = 64, least_tiles_of_weight_gradient = 24;

bool enough(const Tensor &x) { return Tiles(x).count() >= least_tiles; }

Tensor direct(const Tensor &x, const Tensor &weight, const Tensor &bias) {
  return at::conv2d(x, weight, maybe(bias), {1, 1}, {1, 1}, {1, 1}, 1);
}

// The gradient of x.
Tensor direct_gradient(const Tensor &dy, const Tensor &weight) {
  // Of x the shape is read.
  const Tensor x = at::empty({dy.size(0), weight.size(1), dy.size(2), dy.size(3)}, dy.options(), at::MemoryFormat::ChannelsLast);
  const std::array<bool, 3> asked{true, false, false};
  return std::get<0>(at::convolution_backward(dy, x, weight, std::nullopt, {1, 1}, {1, 1}, {1, 1}, false, {0, 0}, 1, asked));
}

struct Convolution : torch::autograd::Function<Convolution> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &x, const Tensor &weight,
                        const std::optional<Tensor> &bias) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({weight.requires_grad() ? x : Tensor(), x.requires_grad() ? weight : Tensor()});
    ctx->saved_data["bias"] = bias.has_value() && bias->requires_grad();
    const Tensor plus = bias.value_or(Tensor());
    return enough(x) ? convolve(x, weight_matrices(weight, false), plus) : direct(x, weight, plus);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    auto saved = ctx->get_saved_variables();
    TORCH_CHECK(!c10::GradMode::is_enabled(), "second derivatives of a convolution: use torch.Conv2d for it");
    at::AutoDispatchBelowADInplaceOrView below;
    const Tensor dy = channels_last(grads[0]), &x = saved[0], &weight = saved[1];
    Tensor dx, dw, db;
    if (ctx->needs_input_grad(0)) {
      dx = enough(dy) ? convolve(dy, weight_matrices(weight, true), Tensor()) : direct_gradient(dy, weight);
    }
    if (ctx->needs_input_grad(1)) dw = weight_gradient(x, dy);
    if (ctx->saved_data["bias"].toBool()) db = dy.sum({0, 2, 3});
    return {dx, dw, db};
  }
};

// When it is used: never, where it was measured to be faster, or wherever it can be. The environment's THAW_WINOGRAD is one of
// these words.
enum : int32_t { never, fast, always };

int32_t chosen() {
  const char *value = std::getenv("THAW_WINOGRAD");
  const std::string word = value == nullptr ? "" : value;
  return word == "never" ? never : word == "always" ? always : fast;
}

std::atomic<int32_t> use{chosen()};

bool possible() {
  static const bool is = (__builtin_cpu_supports("avx512f") || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) &&
                         at::globalContext().hasMKL();
  return is;
}

// Whether whole training steps were measured to be faster on this kind of processor.
bool measured() {
  static const bool is = intel() && __builtin_cpu_supports("avx512f");
  return is;
}

bool floats(const Tensor &t) {
  return t.scalar_type() == at::kFloat && t.device().is_cpu() && t.layout() == c10::kStrided;
}

// Whether it is used for a convolution.
bool suits(const Tensor &x, const Tensor &w, const Tensor &bias, const int64_t *stride, const int64_t *padding, const int64_t *dilation,
           int64_t groups) {
  for (const int64_t *pair : {stride, padding, dilation}) {
    if (pair[0] != 1 || pair[1] != 1) return false;
  }
  if (groups != 1) return false;
  constexpr int64_t least = 64; // channels
  const int32_t when = use.load(std::memory_order_relaxed);
  if (when == never || !possible() || (when == fast && !measured()) || at::autocast::is_autocast_enabled(at::kCPU)) return false;
  if (!floats(x) || !floats(w) || x.dim() != 4 || w.dim() != 4 || x.numel() == 0) return false;
  if (x.size(1) != w.size(1) || w.size(2) != 3 || w.size(3) != 3 || w.size(0) % kernels().width != 0 || w.size(1) % kernels().width != 0) return false;
  if (bias.defined() && (!floats(bias) || bias.dim() != 1 || bias.size(0) != w.size(0) || !bias.is_contiguous())) return false;
  const auto innermost = [](const Tensor &t) { return t.suggest_memory_format() == at::MemoryFormat::ChannelsLast; };
  if (!innermost(w) && !innermost(x)) return false;
  if (when == always) return true;
  const Tiles g(x);
  // Tiles that stand out of the picture cost as much as others.
  const bool filled = 20 * g.count() <= 3 * g.pictures * g.height * g.width;
  const int64_t tiles = recording(x, w, bias) ? least_tiles_of_weight_gradient : least_tiles;
  return std::min(w.size(0), w.size(1)) >= least && filled && g.count() >= tiles;
}

} // namespace winograd

} // namespace

#endif

extern "C" int32_t thaw_winograd(int32_t use) {
#ifdef __x86_64__
  return winograd::use.exchange(use);
#else
  return 0;
#endif
}

extern "C" char *thaw_conv2d(thaw_tensor x_, thaw_tensor weight_, thaw_tensor bias_, const int64_t *stride, const int64_t *padding,
                             const int64_t *dilation, int64_t groups, thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    const Tensor x = borrow(x_), weight = borrow(weight_), bias = borrow(bias_);
    Tensor y;
#ifdef __x86_64__
    if (winograd::suits(x, weight, bias, stride, padding, dilation, groups)) {
      if (recording(x, weight, bias)) {
        y = winograd::Convolution::apply(x, weight, maybe(bias));
      } else {
        y = winograd::convolve(x, winograd::weight_matrices(weight, false), bias);
      }
    }
#endif
    if (!y.defined()) {
      y = at::conv2d(x, leaf_of(weight, x), maybe(leaf_of(bias, x)), c10::IntArrayRef(stride, 2), c10::IntArrayRef(padding, 2),
                     c10::IntArrayRef(dilation, 2), groups);
    }
    *out = release(std::move(y));
    *scope = current_scope;
  });
}
