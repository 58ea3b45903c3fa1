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

typedef float lanes __attribute__((vector_size(64))); // 16 channels
constexpr int64_t width = 16;
constexpr int64_t pixels = 4, window = 6, products = window * window;
constexpr float a = 0.625f, b = 1.5f, a2 = a * a, b2 = b * b;
constexpr float scale_0 = 1 / (a2 * b2), scale_a = 1 / (2 * a2 * (a2 - b2)), scale_b = 1 / (2 * b2 * (b2 - a2));

#define WINOGRAD_KERNEL __attribute__((target("avx512f"), optimize("O3")))
#define WINOGRAD_STEP __attribute__((target("avx512f"), optimize("O3"), always_inline)) inline

WINOGRAD_STEP void load(const float *from, lanes &to) { std::memcpy(&to, from, sizeof to); }
WINOGRAD_STEP void store(float *to, const lanes &from) { std::memcpy(to, &from, sizeof from); }

// The four transforms along one dimension, and the transposes of those of weights and of the output.
WINOGRAD_STEP void of_input(const lanes *d, lanes *o) { // 6 to 6
  o[0] = (a2 * b2) * d[0] - (a2 + b2) * d[2] + d[4];
  const lanes even_a = d[4] - b2 * d[2], odd_a = a * (d[3] - b2 * d[1]);
  o[1] = even_a + odd_a, o[2] = even_a - odd_a;
  const lanes even_b = d[4] - a2 * d[2], odd_b = b * (d[3] - a2 * d[1]);
  o[3] = even_b + odd_b, o[4] = even_b - odd_b;
  o[5] = (a2 * b2) * d[1] - (a2 + b2) * d[3] + d[5];
}

WINOGRAD_STEP void of_products(const lanes *m, lanes *o) { // 6 to 4
  const lanes even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
  o[0] = m[0] + even_a + even_b;
  o[1] = a * odd_a + b * odd_b;
  o[2] = a2 * even_a + b2 * even_b;
  o[3] = (a * a2) * odd_a + (b * b2) * odd_b + m[5];
}

WINOGRAD_STEP void of_products_back(const lanes *d, lanes *o) { // 4 to 6
  o[0] = d[0];
  const lanes even_a = d[0] + a2 * d[2], odd_a = a * d[1] + (a * a2) * d[3];
  o[1] = even_a + odd_a, o[2] = even_a - odd_a;
  const lanes even_b = d[0] + b2 * d[2], odd_b = b * d[1] + (b * b2) * d[3];
  o[3] = even_b + odd_b, o[4] = even_b - odd_b;
  o[5] = d[3];
}

WINOGRAD_STEP void of_weights(const lanes *g, lanes *o) { // 3 to 6
  o[0] = scale_0 * g[0];
  const lanes even_a = scale_a * (g[0] + a2 * g[2]), odd_a = (scale_a * a) * g[1];
  o[1] = even_a + odd_a, o[2] = even_a - odd_a;
  const lanes even_b = scale_b * (g[0] + b2 * g[2]), odd_b = (scale_b * b) * g[1];
  o[3] = even_b + odd_b, o[4] = even_b - odd_b;
  o[5] = g[2];
}

WINOGRAD_STEP void of_weights_back(const lanes *u, lanes *o) { // 6 to 3
  const lanes even_a = scale_a * (u[1] + u[2]), even_b = scale_b * (u[3] + u[4]);
  o[0] = scale_0 * u[0] + even_a + even_b;
  o[1] = (scale_a * a) * (u[1] - u[2]) + (scale_b * b) * (u[3] - u[4]);
  o[2] = a2 * even_a + b2 * even_b + u[5];
}

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

// One tile of a picture [height][width][channels] with the pixels around it, transformed to a row of 36 matrices.
WINOGRAD_KERNEL void read_tile(const float *x, const Tiles &g, int64_t channels, int64_t t, float *to, int64_t matrix) {
  const int64_t top = g.top(t) - 1, left = g.left(t) - 1;
  const bool inside = top >= 0 && left >= 0 && top + window <= g.height && left + window <= g.width;
  x += g.picture(t) * g.height * g.width * channels;
  for (int64_t c = 0; c < channels; c += width) {
    lanes half[window][window], d[window], o[window];
    for (int j = 0; j < window; j++) {
      for (int i = 0; i < window; i++) {
        const int64_t row = top + i, column = left + j;
        if (inside || (row >= 0 && row < g.height && column >= 0 && column < g.width)) {
          load(x + (row * g.width + column) * channels + c, d[i]);
        } else {
          d[i] = lanes{};
        }
      }
      of_input(d, o);
      for (int i = 0; i < window; i++) half[i][j] = o[i];
    }
    for (int i = 0; i < window; i++) {
      of_input(half[i], o);
      for (int j = 0; j < window; j++) store(to + (i * window + j) * matrix + c, o[j]);
    }
  }
}

// The transpose of write_tile: one tile of a gradient to a row of 36 matrices.
WINOGRAD_KERNEL void read_gradient(const float *y, const Tiles &g, int64_t channels, int64_t t, float *to, int64_t matrix) {
  const int64_t top = g.top(t), left = g.left(t);
  y += g.picture(t) * g.height * g.width * channels;
  for (int64_t c = 0; c < channels; c += width) {
    lanes half[window][pixels], d[pixels], o[window];
    for (int j = 0; j < pixels; j++) {
      for (int i = 0; i < pixels; i++) {
        if (top + i < g.height && left + j < g.width) {
          load(y + ((top + i) * g.width + left + j) * channels + c, d[i]);
        } else {
          d[i] = lanes{};
        }
      }
      of_products_back(d, o);
      for (int i = 0; i < window; i++) half[i][j] = o[i];
    }
    for (int i = 0; i < window; i++) {
      of_products_back(half[i], o);
      for (int j = 0; j < window; j++) store(to + (i * window + j) * matrix + c, o[j]);
    }
  }
}

// A row of 36 matrices of products to one tile of the output. bias may be nullptr.
WINOGRAD_KERNEL void write_tile(const float *from, int64_t matrix, const float *bias, float *y, const Tiles &g, int64_t channels,
                                int64_t t) {
  const int64_t top = g.top(t), left = g.left(t);
  y += g.picture(t) * g.height * g.width * channels;
  for (int64_t c = 0; c < channels; c += width) {
    lanes half[pixels][window], m[window], o[pixels], plus = {};
    for (int j = 0; j < window; j++) {
      for (int i = 0; i < window; i++) load(from + (i * window + j) * matrix + c, m[i]);
      of_products(m, o);
      for (int i = 0; i < pixels; i++) half[i][j] = o[i];
    }
    if (bias != nullptr) load(bias + c, plus);
    for (int i = 0; i < pixels && top + i < g.height; i++) {
      of_products(half[i], o);
      float *row = y + ((top + i) * g.width + left) * channels + c;
      for (int j = 0; j < pixels && left + j < g.width; j++) store(row + j * channels, o[j] + plus);
    }
  }
}

// The weights of channels, tap by tap, to rows of 36 matrices. Mirrored, the window is turned by half a circle, as the gradient of
// the input needs it.
WINOGRAD_KERNEL void transform_weights(const float *w, int64_t tap, int64_t channels, bool mirrored, float *to,
                                       int64_t matrix) {
  for (int64_t c = 0; c < channels; c += width) {
    lanes half[window][3], g[3], o[window];
    for (int j = 0; j < 3; j++) {
      for (int i = 0; i < 3; i++) load(w + (mirrored ? 8 - (3 * i + j) : 3 * i + j) * tap + c, g[i]);
      of_weights(g, o);
      for (int i = 0; i < window; i++) half[i][j] = o[i];
    }
    for (int i = 0; i < window; i++) {
      of_weights(half[i], o);
      for (int j = 0; j < window; j++) store(to + (i * window + j) * matrix + c, o[j]);
    }
  }
}

// The transpose of transform_weights.
WINOGRAD_KERNEL void weights_gradient(const float *from, int64_t matrix, int64_t in, float *w) {
  for (int64_t c = 0; c < in; c += width) {
    lanes half[3][window], u[window], o[3];
    for (int j = 0; j < window; j++) {
      for (int i = 0; i < window; i++) load(from + (i * window + j) * matrix + c, u[i]);
      of_weights_back(u, o);
      for (int i = 0; i < 3; i++) half[i][j] = o[i];
    }
    for (int i = 0; i < 3; i++) {
      of_weights_back(half[i], o);
      for (int j = 0; j < 3; j++) store(w + (3 * i + j) * in + c, o[j]);
    }
  }
}

Tensor channels_last(const Tensor &t) { return t.contiguous(at::MemoryFormat::ChannelsLast); }

// weight [out, in, 3, 3] as the 36 matrices that x is multiplied with, [in, out], or its gradient, [out, in].
Tensor weight_matrices(const Tensor &weight, bool of_gradient) {
  const Tensor w = channels_last(weight);
  const int64_t out = w.size(0), in = w.size(1), rows = of_gradient ? out : in, columns = of_gradient ? in : out;
  // In memory [out][9][in]; turned [9][in][out].
  const Tensor taps = of_gradient ? w : turned(w.permute({0, 2, 3, 1}).reshape({out, 9 * in}));
  const int64_t tap = of_gradient ? in : in * out, row = of_gradient ? 9 * in : out;
  Tensor matrices = at::empty({products, rows, columns}, w.options().memory_format(at::MemoryFormat::Contiguous));
  const float *from = taps.const_data_ptr<float>();
  float *to = matrices.mutable_data_ptr<float>();
  at::parallel_for(0, rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) {
      transform_weights(from + k * row, tap, columns, of_gradient, to + k * columns, rows * columns);
    }
  });
  return matrices;
}

// x [N, in, H, W] with 36 matrices [in, out], plus bias [out]: [N, out, H, W]. Some tiles at a time stay in a core's cache.
Tensor convolve(const Tensor &x_, const Tensor &matrices, const Tensor &bias) {
  const Tensor x = channels_last(x_);
  const int64_t in = x.size(1), out = matrices.size(2);
  const Tiles g(x);
  Tensor y = at::empty({x.size(0), out, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
  const float *from = x.const_data_ptr<float>(), *plus = bias.defined() ? bias.const_data_ptr<float>() : nullptr;
  float *to = y.mutable_data_ptr<float>();
  constexpr int64_t most = 64;
  const int64_t threads = at::get_num_threads(), block = std::min(most, (g.count() + threads - 1) / threads);
  at::parallel_for(0, (g.count() + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    at::AutoDispatchBelowADInplaceOrView below;
    Tensor read = at::empty({products, block, in}, at::kFloat), written = at::empty({products, block, out}, at::kFloat);
    float *r = read.mutable_data_ptr<float>(), *w = written.mutable_data_ptr<float>();
    for (int64_t k = begin; k < end; k++) {
      const int64_t first = k * block, n = std::min(block, g.count() - first);
      for (int64_t t = 0; t < n; t++) read_tile(from, g, in, first + t, r + t * in, block * in);
      Tensor some = written.narrow(1, 0, n);
      at::bmm_out(some, read.narrow(1, 0, n), matrices);
      for (int64_t t = 0; t < n; t++) write_tile(w + t * out, block * out, plus, to, g, out, first + t);
    }
  });
  return y;
}

// The gradient of a weight [out, in, 3, 3] from x and the gradient of the output.
Tensor weight_gradient(const Tensor &x_, const Tensor &dy) {
  const Tensor x = channels_last(x_);
  const int64_t in = x.size(1), out = dy.size(1);
  const Tiles g(x);
  constexpr int64_t most = 512;
  const int64_t block = std::min(most, g.count());
  Tensor read = at::empty({products, block, in}, x.options()), gradients = at::empty({products, block, out}, x.options());
  Tensor sum = at::empty({products, out, in}, x.options());
  const float *from = x.const_data_ptr<float>(), *from_y = dy.const_data_ptr<float>();
  float *r = read.mutable_data_ptr<float>(), *d = gradients.mutable_data_ptr<float>();
  for (int64_t first = 0; first < g.count(); first += block) {
    const int64_t n = std::min(block, g.count() - first);
    at::parallel_for(0, n, 8, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; t++) {
        read_tile(from, g, in, first + t, r + t * in, block * in);
        read_gradient(from_y, g, out, first + t, d + t * out, block * out);
      }
    });
    at::baddbmm_out(sum, sum, gradients.narrow(1, 0, n).transpose(1, 2), read.narrow(1, 0, n), first == 0 ? 0 : 1);
  }
  Tensor dw = at::empty({out, in, 3, 3}, x.options(), at::MemoryFormat::ChannelsLast);
  const float *s = sum.const_data_ptr<float>();
  float *to = dw.mutable_data_ptr<float>();
  at::parallel_for(0, out, 8, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) weights_gradient(s + k * in, out * in, in, to + k * 9 * in);
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
  static const bool is = __builtin_cpu_supports("avx512f") && at::globalContext().hasMKL();
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
  if (when == never || !possible() || (when == fast && !intel()) || at::autocast::is_autocast_enabled(at::kCPU)) return false;
  if (!floats(x) || !floats(w) || x.dim() != 4 || w.dim() != 4 || x.numel() == 0) return false;
  if (x.size(1) != w.size(1) || w.size(2) != 3 || w.size(3) != 3 || w.size(0) % width != 0 || w.size(1) % width != 0) return false;
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
