// The transforms of Winograd's filtering for one instruction set. winograd.hh, which says what they are, includes this once for each,
// with its name, the compiler's target and the bytes of a vector as INSTRUCTIONS, TARGET and BYTES.
namespace INSTRUCTIONS {

typedef float lanes __attribute__((vector_size(BYTES))); // channels
constexpr int64_t width = BYTES / sizeof(float);

#define WINOGRAD_KERNEL __attribute__((target(TARGET), optimize("O3")))
#define WINOGRAD_STEP __attribute__((target(TARGET), optimize("O3"), always_inline)) inline

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

constexpr Kernels kernels{width, read_tile, read_gradient, write_tile, transform_weights, weights_gradient};

#undef WINOGRAD_KERNEL
#undef WINOGRAD_STEP

} // namespace INSTRUCTIONS
