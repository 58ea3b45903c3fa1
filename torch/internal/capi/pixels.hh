// Pictures of 8 bits a sample, red, green and blue beside each other: the passes of a resize and the normalisation, by AVX2.
// Go's own passes in vision/transform give the same bytes; these take a fifth of the time.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include "internal.h"

namespace {

namespace pixel {

bool vectorised() {
#ifdef __x86_64__
  static const bool avx2 = __builtin_cpu_supports("avx2");
  return avx2;
#else
  return false;
#endif
}

#ifdef __x86_64__

#define PIXEL_KERNEL __attribute__((target("avx2"), optimize("O3")))
#define PIXEL_STEP __attribute__((target("avx2"), optimize("O3"), always_inline)) inline

// A weight has 22 bits behind the point, Pillow's number, and a product of a sample and a whole one does not fit the 16-bit
// multiplications. So it comes in two parts, the lowest bits and those above them, and either goes with two samples at once
// into a sum of 32 bits. The two sums together are the sum, exactly.
constexpr int low_bits = 11, precision_bits = 22;

// 8 sums as numbers of 0 to 255, and what rounds above that.
PIXEL_STEP __m256i joined(__m256i low, __m256i high) {
  const __m256i half = _mm256_set1_epi32(1 << (precision_bits - 1));
  const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(low, half), _mm256_slli_epi32(high, low_bits));
  return _mm256_srai_epi32(sum, precision_bits);
}

// A weight's parts for two samples, in each of 8 places.
struct Weights {
  __m256i low, high;
};
PIXEL_STEP Weights weights_of(const uint32_t *w) {
  return {_mm256_set1_epi32(static_cast<int>(w[0])), _mm256_set1_epi32(static_cast<int>(w[1]))};
}

// Two pixels of either row as 16-bit samples: red beside red, green beside green, blue beside blue, nothing. It reads 16 bytes.
PIXEL_STEP __m256i two_pixels(const uint8_t *row, const uint8_t *other) {
  const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 0, -1, 3, -1, 1, -1, 4, -1, 2,
                                         -1, 5, -1, -1, -1, -1, -1);
  const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i *>(row));
  const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i *>(other));
  return _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1), order);
}

constexpr int64_t rows_at_once = 4;
constexpr int64_t beyond = THAW_PIXELS_BEYOND; // bytes behind a row that may be read

// What the pixels or the rows of a result are made of: count[i] of the source's from first[i] on. Weights come in twos, of
// which each takes a word for the low parts and one for the high parts.
struct Taps {
  const int32_t *first, *count;
  const uint32_t *weights;
  int64_t n;
};

// A pixel of each of four rows, as 4 bytes of which the last is of no use.
struct FourPixels {
  uint64_t even, odd; // of rows 0 and 2, and of rows 1 and 3
};
PIXEL_STEP FourPixels four_pixels(const uint8_t *p0, const uint8_t *p1, const uint8_t *p2, const uint8_t *p3, const uint32_t *w,
                                  int32_t count) {
  __m256i low = _mm256_setzero_si256(), high = low, low2 = low, high2 = low;
  for (int32_t t = 0; t < count; t += 2, w += 2, p0 += 6, p1 += 6, p2 += 6, p3 += 6) {
    const Weights both = weights_of(w);
    const __m256i a = two_pixels(p0, p1), b = two_pixels(p2, p3);
    low = _mm256_add_epi32(low, _mm256_madd_epi16(a, both.low));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(a, both.high));
    low2 = _mm256_add_epi32(low2, _mm256_madd_epi16(b, both.low));
    high2 = _mm256_add_epi32(high2, _mm256_madd_epi16(b, both.high));
  }
  __m256i bytes = _mm256_packs_epi32(joined(low, high), joined(low2, high2));
  bytes = _mm256_packus_epi16(bytes, bytes);
  return {static_cast<uint64_t>(_mm256_extract_epi64(bytes, 0)), static_cast<uint64_t>(_mm256_extract_epi64(bytes, 2))};
}

PIXEL_STEP void store(uint8_t *to, uint64_t pixel, size_t size) { std::memcpy(to, &pixel, size); }

// The horizontal pass over four rows.
PIXEL_KERNEL void resize_four(uint8_t *const *to, const uint8_t *const *from, Taps taps) {
  const uint8_t *const p0 = from[0], *const p1 = from[1], *const p2 = from[2], *const p3 = from[3];
  uint8_t *const to0 = to[0], *const to1 = to[1], *const to2 = to[2], *const to3 = to[3];
  const uint32_t *w = taps.weights;
  int64_t i = 0;
  for (; i + 1 < taps.n; i++) {
    const int64_t at = 3 * int64_t(taps.first[i]);
    const int32_t count = taps.count[i];
    const FourPixels p = four_pixels(p0 + at, p1 + at, p2 + at, p3 + at, w, count);
    w += (count + 1) / 2 * 2;
    // The byte too many is the next pixel's.
    store(to0 + 3 * i, p.even, 4), store(to2 + 3 * i, p.even >> 32, 4);
    store(to1 + 3 * i, p.odd, 4), store(to3 + 3 * i, p.odd >> 32, 4);
  }
  const int64_t at = 3 * int64_t(taps.first[i]);
  const FourPixels p = four_pixels(p0 + at, p1 + at, p2 + at, p3 + at, w, taps.count[i]);
  store(to0 + 3 * i, p.even, 3), store(to2 + 3 * i, p.even >> 32, 3);
  store(to1 + 3 * i, p.odd, 3), store(to3 + 3 * i, p.odd >> 32, 3);
}

// A row's vertical pass, from 16 samples of the source rows that begin at from.
PIXEL_STEP void resize_sixteen(uint8_t *to, const uint8_t *from, int64_t stride, const uint32_t *w, int32_t count) {
  __m256i low = _mm256_setzero_si256(), high = low, low2 = low, high2 = low;
  for (int32_t t = 0; t < count; t += 2, w += 2) {
    const Weights both = weights_of(w);
    const uint8_t *row = from + t * stride, *next = t + 1 < count ? row + stride : row; // a last row by itself has its partner's weight 0
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i *>(row));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i *>(next));
    const __m256i left = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)), right = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(left, both.low));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(left, both.high));
    low2 = _mm256_add_epi32(low2, _mm256_madd_epi16(right, both.low));
    high2 = _mm256_add_epi32(high2, _mm256_madd_epi16(right, both.high));
  }
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(joined(low, high), joined(low2, high2)), 0xd8);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(to), bytes);
}

PIXEL_KERNEL void resize_row(uint8_t *to, const uint8_t *from, int64_t stride, int64_t n, const uint32_t *w, int32_t count) {
  int64_t x = 0;
  for (; x + 16 <= n; x += 16) resize_sixteen(to + x, from + x, stride, w, count);
  if (x < n) resize_sixteen(to + n - 16, from + n - 16, stride, w, count); // some samples again
}

// Samples to numbers, times a factor and plus an offset, each rounded by itself: as three operations of libtorch give it.
PIXEL_KERNEL void normalise(float *to, const uint8_t *from, int64_t n, const float *factor, const float *offset) {
  float factors[24], offsets[24]; // of 8 pixels
  for (int i = 0; i < 24; i++) factors[i] = factor[i % 3], offsets[i] = offset[i % 3];
  __m256 f[3], o[3];
  for (int k = 0; k < 3; k++) f[k] = _mm256_loadu_ps(factors + 8 * k), o[k] = _mm256_loadu_ps(offsets + 8 * k);
  int64_t i = 0;
  for (; i + 24 <= n; i += 24) {
    for (int k = 0; k < 3; k++) {
      const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i *>(from + i + 8 * k));
      const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
      _mm256_storeu_ps(to + i + 8 * k, _mm256_add_ps(_mm256_mul_ps(x, f[k]), o[k]));
    }
  }
  for (; i < n; i++) { // one at a time, in vectors still: what is written as x * f + o may be compiled into one rounding
    const __m128 x = _mm_set_ss(static_cast<float>(from[i]));
    _mm_store_ss(to + i, _mm_add_ss(_mm_mul_ss(x, _mm_set_ss(factors[i % 3])), _mm_set_ss(offsets[i % 3])));
  }
}

#endif

} // namespace pixel

} // namespace

extern "C" int32_t thaw_pixels_fast(void) { return pixel::vectorised(); }

extern "C" void thaw_resize_rows(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, int64_t from_size,
                                 uint8_t *spare, int64_t rows, int64_t columns, const int32_t *first, const int32_t *count,
                                 const uint32_t *weights, int64_t n) {
#ifdef __x86_64__
  const int64_t width = 3 * columns;
  for (int64_t y = 0; y < rows; y += pixel::rows_at_once) {
    const uint8_t *in[pixel::rows_at_once];
    uint8_t *out[pixel::rows_at_once];
    for (int64_t r = 0; r < pixel::rows_at_once; r++) {
      const int64_t row = std::min(y + r, rows - 1); // the last again where there are too few
      in[r] = from + row * from_stride, out[r] = to + row * to_stride;
      if (row * from_stride + width + pixel::beyond > from_size) {
        uint8_t *copy = spare + r * (width + pixel::beyond);
        std::memcpy(copy, in[r], width);
        in[r] = copy;
      }
    }
    pixel::resize_four(out, in, {first, count, weights, n});
  }
#endif
}

extern "C" void thaw_resize_columns(uint8_t *to, int64_t to_stride, const uint8_t *from, int64_t from_stride, int64_t samples,
                                    const int32_t *first, const int32_t *count, const uint32_t *weights, int64_t n) {
#ifdef __x86_64__
  for (int64_t i = 0; i < n; i++) {
    pixel::resize_row(to + i * to_stride, from + first[i] * from_stride, from_stride, samples, weights, count[i]);
    weights += (count[i] + 1) / 2 * 2;
  }
#endif
}

extern "C" char *thaw_normalise(thaw_tensor pixels_, thaw_tensor factor_, thaw_tensor offset_, thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    using at::Tensor;
    const Tensor pixels = borrow(pixels_), factor = borrow(factor_), offset = borrow(offset_);
    TORCH_CHECK(pixels.dim() == 4 && pixels.size(3) == 3 && pixels.scalar_type() == at::kByte && pixels.device().is_cpu(),
                "pictures [N, height, width, 3] in uint8 on the CPU are needed");
    for (const Tensor &t : {factor, offset}) {
      TORCH_CHECK(t.numel() == 3 && t.scalar_type() == at::kFloat && t.device().is_cpu() && t.is_contiguous(),
                  "three numbers in float32 on the CPU are needed, for red, green and blue");
    }
    const at::NoGradGuard no_grad;
    const Tensor x = pixels.permute({0, 3, 1, 2});
    Tensor y;
#ifdef __x86_64__
    if (pixel::vectorised() && pixels.is_contiguous()) {
      y = at::empty(x.sizes(), x.options().dtype(at::kFloat), at::MemoryFormat::ChannelsLast);
      const uint8_t *from = pixels.const_data_ptr<uint8_t>();
      float *to = y.mutable_data_ptr<float>();
      const float *f = factor.const_data_ptr<float>(), *o = offset.const_data_ptr<float>();
      at::parallel_for(0, pixels.numel() / 3, 1 << 15, [&](int64_t begin, int64_t end) {
        pixel::normalise(to + 3 * begin, from + 3 * begin, 3 * (end - begin), f, o);
      });
    }
#endif
    if (!y.defined()) y = x.to(at::kFloat).mul_(factor.view({1, 3, 1, 1})).add_(offset.view({1, 3, 1, 1}));
    *out = release(std::move(y));
    *scope = current_scope;
  });
}
