// Dropout on the CPU. libtorch draws its masks one number at a time on one thread, which for a small BERT took a quarter of a
// step, and keeps them for backward. Here a generator that is a function of the element's position (Philox4x32-10, Salmon et
// al. 2011) draws them on all threads, and backward draws them again: nothing is kept but the key, which comes from libtorch's
// default generator. The numbers do not depend on the threads or on the processor.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/empty_strided.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "internal.h"

using namespace thaw;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDEST __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), optimize("O3")))
#else
#define WIDEST
#endif

namespace {

using at::Tensor;

constexpr int lanes = 16;
constexpr int block = 4 * lanes; // elements that 16 counters give numbers for

struct Mask {
  uint64_t key;
  uint32_t threshold; // an element whose number is below is dropped
  float scale;
};

// The 64 numbers of a block.
inline __attribute__((always_inline)) void draw(uint64_t key, uint64_t at, uint32_t *out) {
  uint32_t c0[lanes], c1[lanes], c2[lanes], c3[lanes];
  for (int l = 0; l < lanes; l++) {
    const uint64_t counter = at * lanes + l;
    c0[l] = static_cast<uint32_t>(counter), c1[l] = static_cast<uint32_t>(counter >> 32), c2[l] = 0, c3[l] = 0;
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; round++) {
    for (int l = 0; l < lanes; l++) {
      const uint64_t a = uint64_t{0xD2511F53} * c0[l], b = uint64_t{0xCD9E8D57} * c2[l];
      c0[l] = static_cast<uint32_t>(b >> 32) ^ c1[l] ^ k0;
      c2[l] = static_cast<uint32_t>(a >> 32) ^ c3[l] ^ k1;
      c1[l] = static_cast<uint32_t>(b);
      c3[l] = static_cast<uint32_t>(a);
    }
    k0 += 0x9E3779B9, k1 += 0xBB67AE85;
  }
  for (int l = 0; l < lanes; l++) out[l] = c0[l], out[lanes + l] = c1[l], out[2 * lanes + l] = c2[l], out[3 * lanes + l] = c3[l];
}

// factors[i] is what element block * first + i is multiplied by.
void factors_anywhere(const Mask &m, int64_t first, int64_t blocks, float *out) {
  for (int64_t b = 0; b < blocks; b++) {
    uint32_t r[block];
    draw(m.key, first + b, r);
    for (int i = 0; i < block; i++) out[b * block + i] = r[i] < m.threshold ? 0.0f : m.scale;
  }
}

#ifdef __x86_64__
// The low and the high halves of the products of 32-bit lanes.
#define AVX512 __attribute__((target("avx512f")))
AVX512 inline void product512(__m512i c, __m512i by, __m512i &low, __m512i &high) {
  const __m512i even = _mm512_mul_epu32(c, by), odd = _mm512_mul_epu32(_mm512_srli_epi64(c, 32), by);
  low = _mm512_mask_mov_epi32(even, 0xAAAA, _mm512_slli_epi64(odd, 32));
  high = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xAAAA, odd);
}

AVX512 void factors_avx512(const Mask &m, int64_t first, int64_t blocks, float *out) {
  const __m512i first_factor = _mm512_set1_epi32(static_cast<int>(0xD2511F53)), second_factor = _mm512_set1_epi32(static_cast<int>(0xCD9E8D57));
  const __m512i threshold = _mm512_set1_epi32(static_cast<int>(m.threshold));
  const __m512 scale = _mm512_set1_ps(m.scale);
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  for (int64_t b = 0; b < blocks; b++) {
    const uint64_t counter = static_cast<uint64_t>(first + b) * lanes; // its low half takes a lane's number without a carry
    __m512i c0 = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(counter)), lane), c1 = _mm512_set1_epi32(static_cast<int>(counter >> 32));
    __m512i c2 = _mm512_setzero_si512(), c3 = c2;
    uint32_t k0 = static_cast<uint32_t>(m.key), k1 = static_cast<uint32_t>(m.key >> 32);
    for (int round = 0; round < 10; round++) {
      __m512i low_a, high_a, low_b, high_b;
      product512(c0, first_factor, low_a, high_a);
      product512(c2, second_factor, low_b, high_b);
      c0 = _mm512_ternarylogic_epi32(high_b, c1, _mm512_set1_epi32(static_cast<int>(k0)), 0x96); // exclusive or of three
      c2 = _mm512_ternarylogic_epi32(high_a, c3, _mm512_set1_epi32(static_cast<int>(k1)), 0x96);
      c1 = low_b, c3 = low_a;
      k0 += 0x9E3779B9, k1 += 0xBB67AE85;
    }
    float *to = out + b * block;
    _mm512_storeu_ps(to, _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(c0, threshold), scale));
    _mm512_storeu_ps(to + lanes, _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(c1, threshold), scale));
    _mm512_storeu_ps(to + 2 * lanes, _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(c2, threshold), scale));
    _mm512_storeu_ps(to + 3 * lanes, _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask(c3, threshold), scale));
  }
}

#define AVX2 __attribute__((target("avx2")))
AVX2 inline void product256(__m256i c, __m256i by, __m256i &low, __m256i &high) {
  const __m256i even = _mm256_mul_epu32(c, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(c, 32), by);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

// scale where c is at least the threshold, 0 elsewhere.
AVX2 inline void choose256(__m256i c, __m256i threshold, __m256 scale, float *out) {
  const __m256i above = _mm256_cmpeq_epi32(_mm256_max_epu32(c, threshold), c);
  _mm256_storeu_ps(out, _mm256_and_ps(_mm256_castsi256_ps(above), scale));
}

AVX2 void factors_avx2(const Mask &m, int64_t first, int64_t blocks, float *out) {
  const __m256i first_factor = _mm256_set1_epi32(static_cast<int>(0xD2511F53)), second_factor = _mm256_set1_epi32(static_cast<int>(0xCD9E8D57));
  const __m256i threshold = _mm256_set1_epi32(static_cast<int>(m.threshold));
  const __m256 scale = _mm256_set1_ps(m.scale);
  for (int64_t half = 0; half < 2 * blocks; half++) {
    const uint64_t counter = static_cast<uint64_t>(first + half / 2) * lanes;
    const int from = half % 2 * 8;
    const __m256i lane = _mm256_add_epi32(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0), _mm256_set1_epi32(from));
    __m256i c0 = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(counter)), lane), c1 = _mm256_set1_epi32(static_cast<int>(counter >> 32));
    __m256i c2 = _mm256_setzero_si256(), c3 = c2;
    uint32_t k0 = static_cast<uint32_t>(m.key), k1 = static_cast<uint32_t>(m.key >> 32);
    for (int round = 0; round < 10; round++) {
      __m256i low_a, high_a, low_b, high_b;
      product256(c0, first_factor, low_a, high_a);
      product256(c2, second_factor, low_b, high_b);
      c0 = _mm256_xor_si256(_mm256_xor_si256(high_b, c1), _mm256_set1_epi32(static_cast<int>(k0)));
      c2 = _mm256_xor_si256(_mm256_xor_si256(high_a, c3), _mm256_set1_epi32(static_cast<int>(k1)));
      c1 = low_b, c3 = low_a;
      k0 += 0x9E3779B9, k1 += 0xBB67AE85;
    }
    float *to = out + half / 2 * block + from;
    choose256(c0, threshold, scale, to);
    choose256(c1, threshold, scale, to + lanes);
    choose256(c2, threshold, scale, to + 2 * lanes);
    choose256(c3, threshold, scale, to + 3 * lanes);
  }
}
#endif

using Factors = void (*)(const Mask &m, int64_t first, int64_t blocks, float *out);

// The same numbers on every processor, by the widest instructions that this one has.
Factors chosen_factors() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f")) return factors_avx512;
  if (__builtin_cpu_supports("avx2")) return factors_avx2;
#endif
  return factors_anywhere;
}

const Factors factors = chosen_factors();

WIDEST void multiply(const float *x, const float *f, const float *plus, float *y, int64_t n) {
  if (plus == nullptr) {
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * f[i];
  } else {
    for (int64_t i = 0; i < n; i++) y[i] = plus[i] + x[i] * f[i];
  }
}

template <typename T> void multiply(const T *x, const float *f, const T *plus, T *y, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const T dropped = static_cast<T>(x[i] * static_cast<T>(f[i]));
    y[i] = plus == nullptr ? dropped : static_cast<T>(plus[i] + dropped);
  }
}

// x times the mask, plus another tensor where there is one: dense, all with the same strides. The mask goes by places in memory.
Tensor masked(const Tensor &x, const Tensor &plus, const Mask &m) {
  Tensor y = at::empty_like(x);
  const int64_t n = x.numel();
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "dropout", [&] {
    const scalar_t *in = x.const_data_ptr<scalar_t>(), *other = plus.defined() ? plus.const_data_ptr<scalar_t>() : nullptr;
    scalar_t *out = y.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, (n + block - 1) / block, 256, [&](int64_t begin, int64_t end) {
      constexpr int64_t at_once = 16; // blocks, whose factors stay in the first cache
      float f[at_once * block];
      for (int64_t b = begin; b < end; b += at_once) {
        const int64_t blocks = std::min(at_once, end - b), from = b * block, count = std::min(blocks * block, n - from);
        factors(m, b, blocks, f);
        multiply(in + from, f, other == nullptr ? nullptr : other + from, out + from, count);
      }
    });
  });
  return y;
}

// t with the strides of the mask, copied where it has others.
Tensor laid_out(const Tensor &t, c10::IntArrayRef strides) {
  if (t.strides() == strides) return t;
  return at::empty_strided(t.sizes(), strides, t.options()).copy_(t);
}

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &x, const std::optional<Tensor> &plus, int64_t key,
                        int64_t threshold, double scale) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->saved_data["plus"] = plus.has_value() && plus->requires_grad();
    ctx->saved_data["key"] = key;
    ctx->saved_data["threshold"] = threshold;
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["strides"] = x.strides().vec();
    return masked(x, plus.value_or(Tensor()), {static_cast<uint64_t>(key), static_cast<uint32_t>(threshold), static_cast<float>(scale)});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx, torch::autograd::variable_list grads) {
    Tensor dx;
    if (ctx->needs_input_grad(0)) {
      const Tensor dy = laid_out(grads[0], ctx->saved_data["strides"].toIntVector());
      // The function itself, so that second derivatives work.
      dx = DropoutFunction::apply(dy, std::optional<Tensor>(), ctx->saved_data["key"].toInt(), ctx->saved_data["threshold"].toInt(),
                                  ctx->saved_data["scale"].toDouble());
    }
    const bool added = ctx->saved_data["plus"].toBool();
    return {dx, added ? grads[0] : Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

bool suits(const Tensor &x, double p) {
  return x.device().is_cpu() && x.layout() == c10::kStrided && at::isFloatingType(x.scalar_type()) && p > 0 && p < 1 &&
         x.is_non_overlapping_and_dense() && x.numel() > 0;
}

bool alike(const Tensor &a, const Tensor &b) {
  return a.scalar_type() == b.scalar_type() && a.device() == b.device() && a.sizes() == b.sizes() && a.strides() == b.strides();
}

} // namespace

extern "C" char *thaw_dropout(thaw_tensor x_, thaw_tensor plus_, double p, thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    const Tensor x = borrow(x_), plus = borrow(plus_);
    Tensor y;
    if (!suits(x, p)) {
      y = at::dropout(x, p, true);
      if (plus.defined()) y = y.add(plus);
    } else {
      at::Generator g = at::detail::getDefaultCPUGenerator();
      uint64_t key;
      {
        std::lock_guard<std::mutex> lock(g.mutex());
        key = g.get<at::CPUGeneratorImpl>()->random64();
      }
      const bool together = plus.defined() && alike(x, plus);
      y = DropoutFunction::apply(x, together ? std::optional<Tensor>(plus) : std::nullopt, static_cast<int64_t>(key), static_cast<int64_t>(p * 4294967296.0),
                                 1 / (1 - p));
      if (plus.defined() && !together) y = y.add(plus);
    }
    *out = release(std::move(y));
    *scope = current_scope;
  });
}
