#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                                     Tensor& y, Tensor& statistics) {
  check::layer_norm(dtype(), x, weight, bias, y, statistics);
  const View xv(x), wv(weight), bv(bias.defined() ? bias : weight), yv(y), sv(statistics);
  const auto size = static_cast<double>(xv.width());
  for (int64_t t = 0; t < xv.rows(); ++t) {
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < xv.width(); ++j) sum += xv(t, j);
    const double mean = sum / size;
    for (int64_t j = 0; j < xv.width(); ++j) squares += (xv(t, j) - mean) * (xv(t, j) - mean);
    const double r = 1 / std::sqrt(squares / size + eps);
    for (int64_t j = 0; j < xv.width(); ++j)
      yv(t, j) = (xv(t, j) - mean) * r * wv[j] + (bias.defined() ? bv[j] : 0);
    sv(t, 0) = mean;
    sv(t, 1) = r;
  }
}

// With n = (x - mean) r, g = w dy and the mean and the variance functions of x:
// dx_j = r (g_j - mean(g) - n_j mean(g n)).
void ReferenceOperations::layer_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                                    const Tensor& statistics, const Tensor& d_residual,
                                                    Tensor& dx) {
  check::layer_norm_backward_input(dtype(), dy, x, weight, statistics, d_residual, dx);
  const bool adds = d_residual.defined();
  const View dyv(dy), xv(x), wv(weight), sv(statistics), dxv(dx), beside(adds ? d_residual : dx);
  const auto size = static_cast<double>(xv.width());
  for (int64_t t = 0; t < xv.rows(); ++t) {
    const double mean = sv(t, 0), r = sv(t, 1);
    double sum = 0, dot = 0;
    for (int64_t j = 0; j < xv.width(); ++j) {
      sum += dyv(t, j) * wv[j];
      dot += dyv(t, j) * wv[j] * (xv(t, j) - mean) * r;
    }
    for (int64_t j = 0; j < xv.width(); ++j) {
      const double d = r * (dyv(t, j) * wv[j] - sum / size - (xv(t, j) - mean) * r * dot / size);
      dxv(t, j) = adds ? beside(t, j) + d : d;
    }
  }
}

void ReferenceOperations::layer_norm_backward_weight(const Tensor& dy, const Tensor& x,
                                                     const Tensor& statistics, Tensor& d_weight,
                                                     bool accumulate) {
  check::layer_norm_backward_weight(dtype(), dy, x, statistics, d_weight);
  const View dyv(dy), xv(x), sv(statistics), dwv(d_weight);
  for (int64_t j = 0; j < dwv.rows(); ++j) {
    double sum = 0;
    for (int64_t t = 0; t < xv.rows(); ++t) sum += dyv(t, j) * (xv(t, j) - sv(t, 0)) * sv(t, 1);
    dwv[j] = accumulate ? dwv[j] + sum : sum;
  }
}

}  // namespace collie
