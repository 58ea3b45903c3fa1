// Matrices turned about, on all threads: libtorch copies transposed matrices on one.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace {

// in [rows, columns], of which columns begin ... end go to out [columns, rows].
void turn_plain(const float *in, float *out, int64_t rows, int64_t columns, int64_t begin, int64_t end) {
  constexpr int64_t tile = 16; // floats of a cache line
  for (int64_t c = begin; c < end; c += tile) {
    for (int64_t r = 0; r < rows; r += tile) {
      for (int64_t j = c; j < std::min(c + tile, end); j++) {
        for (int64_t i = r; i < std::min(r + tile, rows); i++) out[j * rows + i] = in[i * columns + j];
      }
    }
  }
}

#ifdef __x86_64__
#define TURN __attribute__((target("avx2")))

// 8 x 8 numbers, in registers.
TURN inline void turn_block(const float *in, int64_t columns, float *out, int64_t rows) {
  __m256 a[8], b[8];
  for (int k = 0; k < 8; k++) a[k] = _mm256_loadu_ps(in + k * columns);
  for (int k = 0; k < 8; k += 2) {
    b[k] = _mm256_unpacklo_ps(a[k], a[k + 1]);
    b[k + 1] = _mm256_unpackhi_ps(a[k], a[k + 1]);
  }
  for (int k = 0; k < 8; k += 4) {
    a[k] = _mm256_shuffle_ps(b[k], b[k + 2], 0x44);
    a[k + 1] = _mm256_shuffle_ps(b[k], b[k + 2], 0xee);
    a[k + 2] = _mm256_shuffle_ps(b[k + 1], b[k + 3], 0x44);
    a[k + 3] = _mm256_shuffle_ps(b[k + 1], b[k + 3], 0xee);
  }
  for (int k = 0; k < 4; k++) {
    _mm256_storeu_ps(out + k * rows, _mm256_permute2f128_ps(a[k], a[k + 4], 0x20));
    _mm256_storeu_ps(out + (k + 4) * rows, _mm256_permute2f128_ps(a[k], a[k + 4], 0x31));
  }
}

// turn_plain with whole cache lines read and written at a time.
TURN void turn_avx2(const float *in, float *out, int64_t rows, int64_t columns, int64_t begin, int64_t end) {
  const int64_t whole_rows = rows / 8 * 8, whole = begin + (end - begin) / 8 * 8;
  for (int64_t r = 0; r < whole_rows; r += 16) {
    for (int64_t c = begin; c < whole; c += 16) {
      for (int64_t j = c; j < std::min(c + 16, whole); j += 8) {
        for (int64_t i = r; i < std::min(r + 16, whole_rows); i += 8) turn_block(in + i * columns + j, columns, out + j * rows + i, rows);
      }
    }
  }
  turn_plain(in, out, rows, columns, whole, end);
  for (int64_t j = begin; j < whole; j++) {
    for (int64_t i = whole_rows; i < rows; i++) out[j * rows + i] = in[i * columns + j];
  }
}
#endif

auto turner() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return turn_avx2;
#endif
  return turn_plain;
}

at::Tensor turned(const at::Tensor &t) {
  static const auto turn = turner();
  const at::Tensor from = t.contiguous();
  const int64_t rows = from.size(0), columns = from.size(1);
  at::Tensor to = at::empty({columns, rows}, from.options());
  const float *in = from.const_data_ptr<float>();
  float *out = to.mutable_data_ptr<float>();
  constexpr int64_t tile = 16; // floats of a cache line
  at::parallel_for(0, (columns + tile - 1) / tile, 4, [&](int64_t begin, int64_t end) {
    turn(in, out, rows, columns, begin * tile, std::min(end * tile, columns));
  });
  return to;
}

} // namespace
