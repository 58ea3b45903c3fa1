// RoIAlign (He et al. 2017) on the CPU, which libtorch has no operator for: pixels of regions of feature maps, each the mean of
// samples that are read between four places. What is computed is torchvision's roi_align; what is read and written has the
// channels innermost, so that every step is one over all of them.
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "internal.h"

using namespace thaw;

#if defined(__GNUC__) && !defined(__clang__)
#define ROI_VECTORISED __attribute__((optimize("O3")))
#else
#define ROI_VECTORISED
#endif

namespace {

using at::Tensor;

struct RoIGrid {
  double scale;        // from the regions' coordinates to places
  int64_t rows, columns; // of a region's pixels
  int64_t sampling;    // samples of a pixel in each direction; 0: as many as it has places
  bool aligned;        // places are centres of pixels, half a pixel from their corner
};

// The four places that a sample is read between, and their shares. None where weight is 0 for all.
template <typename T> struct RoISample {
  int64_t at[4]; // row * width + column
  T share[4];
};

// The samples of a region, pixel by pixel; how many there are for each pixel, and what their sum is divided by.
template <typename T>
void roi_samples(const T *roi, const RoIGrid &g, int64_t height, int64_t width, std::vector<RoISample<T>> &out, int64_t &each, T &count) {
  const T scale = static_cast<T>(g.scale), offset = static_cast<T>(g.aligned ? 0.5 : 0.0);
  const T left = roi[1] * scale - offset, top = roi[2] * scale - offset;
  T w = roi[3] * scale - offset - left, h = roi[4] * scale - offset - top;
  if (!g.aligned) w = std::max(w, T(1)), h = std::max(h, T(1));
  const T pixel_w = w / static_cast<T>(g.columns), pixel_h = h / static_cast<T>(g.rows);
  const int64_t down = g.sampling > 0 ? g.sampling : static_cast<int64_t>(std::ceil(h / g.rows));
  const int64_t across = g.sampling > 0 ? g.sampling : static_cast<int64_t>(std::ceil(w / g.columns));
  each = std::max<int64_t>(down, 0) * std::max<int64_t>(across, 0);
  count = static_cast<T>(std::max<int64_t>(each, 1));
  out.clear();
  out.reserve(g.rows * g.columns * each);
  for (int64_t row = 0; row < g.rows; row++) {
    for (int64_t column = 0; column < g.columns; column++) {
      for (int64_t iy = 0; iy < down; iy++) {
        const T yy = top + row * pixel_h + static_cast<T>(iy + .5f) * pixel_h / static_cast<T>(down);
        for (int64_t ix = 0; ix < across; ix++) {
          const T xx = left + column * pixel_w + static_cast<T>(ix + .5f) * pixel_w / static_cast<T>(across);
          RoISample<T> s = {};
          if (yy >= -1 && yy <= height && xx >= -1 && xx <= width) {
            T y = std::max(yy, T(0)), x = std::max(xx, T(0));
            int64_t y0 = static_cast<int64_t>(y), x0 = static_cast<int64_t>(x), y1 = y0 + 1, x1 = x0 + 1;
            if (y0 >= height - 1) y0 = y1 = height - 1, y = static_cast<T>(y0);
            if (x0 >= width - 1) x0 = x1 = width - 1, x = static_cast<T>(x0);
            const T ly = y - y0, lx = x - x0, hy = 1 - ly, hx = 1 - lx;
            s = {{y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1}, {hy * hx, hy * lx, ly * hx, ly * lx}};
          }
          out.push_back(s);
        }
      }
    }
  }
}

template <typename T>
ROI_VECTORISED void roi_read(const T *__restrict a, const T *__restrict b, const T *__restrict c, const T *__restrict d, const T *share, T *__restrict sum,
                             int64_t channels) {
  const T wa = share[0], wb = share[1], wc = share[2], wd = share[3];
  for (int64_t i = 0; i < channels; i++) sum[i] += wa * a[i] + wb * b[i] + wc * c[i] + wd * d[i];
}

template <typename T> ROI_VECTORISED void roi_add(const T *__restrict from, T share, T *__restrict to, int64_t channels) {
  for (int64_t i = 0; i < channels; i++) to[i] += share * from[i];
}

template <typename T> ROI_VECTORISED void roi_divide(T *values, T by, int64_t channels) {
  for (int64_t i = 0; i < channels; i++) values[i] /= by;
}

void roi_check(const Tensor &rois, int64_t pictures) {
  AT_DISPATCH_FLOATING_TYPES(rois.scalar_type(), "roi_align", [&] {
    const scalar_t *r = rois.const_data_ptr<scalar_t>();
    for (int64_t k = 0; k < rois.size(0); k++) {
      TORCH_CHECK_INDEX(r[5 * k] >= 0 && r[5 * k] < pictures, "region ", k, " is of picture ", r[5 * k], ", and there are ", pictures);
      for (int i = 1; i < 5; i++) TORCH_CHECK(std::isfinite(r[5 * k + i]), "region ", k, " has a coordinate that is no finite number");
    }
  });
}

// x [N, C, H, W] and rois [K, 5] to [K, C, rows, columns], both channels-last.
Tensor roi_forward(const Tensor &x_, const Tensor &rois, const RoIGrid &g) {
  const Tensor x = x_.contiguous(at::MemoryFormat::ChannelsLast);
  const int64_t channels = x.size(1), height = x.size(2), width = x.size(3), picture = height * width * channels;
  const Tensor y = at::zeros({rois.size(0), g.rows, g.columns, channels}, x.options());
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "roi_align", [&] {
    const scalar_t *in = x.const_data_ptr<scalar_t>(), *r = rois.const_data_ptr<scalar_t>();
    scalar_t *out = y.mutable_data_ptr<scalar_t>();
    at::parallel_for(0, rois.size(0), 1, [&](int64_t begin, int64_t end) {
      std::vector<RoISample<scalar_t>> samples;
      for (int64_t k = begin; k < end; k++) {
        int64_t each;
        scalar_t count;
        roi_samples(r + 5 * k, g, height, width, samples, each, count);
        const scalar_t *from = in + static_cast<int64_t>(r[5 * k]) * picture;
        for (int64_t pixel = 0; pixel < g.rows * g.columns; pixel++) {
          scalar_t *sum = out + (k * g.rows * g.columns + pixel) * channels;
          for (int64_t i = pixel * each; i < (pixel + 1) * each; i++) {
            const auto &s = samples[i];
            roi_read(from + s.at[0] * channels, from + s.at[1] * channels, from + s.at[2] * channels, from + s.at[3] * channels, s.share, sum, channels);
          }
          roi_divide(sum, count, channels);
        }
      }
    });
  });
  return y.permute({0, 3, 1, 2});
}

// The gradient of x. Threads share the channels: what is added up has one order, whatever their number.
Tensor roi_backward(const Tensor &dy_, const Tensor &rois, c10::IntArrayRef sizes, const RoIGrid &g) {
  const Tensor dy = dy_.permute({0, 2, 3, 1}).contiguous();
  const int64_t channels = sizes[1], height = sizes[2], width = sizes[3], picture = height * width * channels;
  const Tensor dx = at::zeros({sizes[0], height, width, channels}, dy.options());
  AT_DISPATCH_FLOATING_TYPES(dy.scalar_type(), "roi_align_backward", [&] {
    const scalar_t *from = dy.const_data_ptr<scalar_t>(), *r = rois.const_data_ptr<scalar_t>();
    scalar_t *out = dx.mutable_data_ptr<scalar_t>();
    constexpr int64_t at_least = 16; // channels of a thread: a line of the cache
    at::parallel_for(0, (channels + at_least - 1) / at_least, 1, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * at_least, n = std::min(end * at_least, channels) - first;
      std::vector<RoISample<scalar_t>> samples;
      for (int64_t k = 0; k < rois.size(0); k++) {
        int64_t each;
        scalar_t count;
        roi_samples(r + 5 * k, g, height, width, samples, each, count);
        scalar_t *to = out + static_cast<int64_t>(r[5 * k]) * picture + first;
        for (int64_t pixel = 0; pixel < g.rows * g.columns; pixel++) {
          const scalar_t *grad = from + (k * g.rows * g.columns + pixel) * channels + first;
          for (int64_t i = pixel * each; i < (pixel + 1) * each; i++) {
            const auto &s = samples[i];
            for (int j = 0; j < 4; j++) {
              if (s.share[j] != 0) roi_add(grad, s.share[j] / count, to + s.at[j] * channels, n);
            }
          }
        }
      }
    });
  });
  return dx.permute({0, 3, 1, 2});
}

struct RoIAlignFunction : torch::autograd::Function<RoIAlignFunction> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &x, const Tensor &rois, double scale, int64_t rows, int64_t columns,
                        int64_t sampling, bool aligned) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({rois});
    ctx->saved_data["sizes"] = x.sizes().vec();
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["rows"] = rows;
    ctx->saved_data["columns"] = columns;
    ctx->saved_data["sampling"] = sampling;
    ctx->saved_data["aligned"] = aligned;
    return roi_forward(x, rois, {scale, rows, columns, sampling, aligned});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx, torch::autograd::variable_list grads) {
    TORCH_CHECK(!c10::GradMode::is_enabled(), "roi_align has no second derivatives");
    Tensor dx;
    if (ctx->needs_input_grad(0)) {
      auto &saved = ctx->saved_data;
      dx = roi_backward(grads[0], ctx->get_saved_variables()[0], saved["sizes"].toIntVector(),
                        {saved["scale"].toDouble(), saved["rows"].toInt(), saved["columns"].toInt(), saved["sampling"].toInt(), saved["aligned"].toBool()});
    }
    return {dx, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

} // namespace

extern "C" char *thaw_roi_align(thaw_tensor x_, thaw_tensor rois_, double scale, int64_t rows, int64_t columns, int64_t sampling, int32_t aligned,
                                thaw_tensor *out, int32_t *scope) {
  return guarded([&] {
    const Tensor x = borrow(x_);
    TORCH_CHECK(x.device().is_cpu() && x.dim() == 4, "feature maps [N, C, H, W] on the CPU are needed");
    TORCH_CHECK(x.size(2) > 0 && x.size(3) > 0, "the feature maps have no places");
    TORCH_CHECK(rows > 0 && columns > 0, "a region of ", rows, " x ", columns, " pixels");
    const Tensor given = borrow(rois_);
    TORCH_CHECK(given.dim() == 2 && given.size(1) == 5, "regions [K, 5] are needed: a picture's number and its box");
    const Tensor rois = given.detach().to(x.options().requires_grad(false)).contiguous();
    roi_check(rois, x.size(0));
    *out = release(RoIAlignFunction::apply(x, rois, scale, rows, columns, sampling, aligned != 0));
    *scope = current_scope;
  });
}
