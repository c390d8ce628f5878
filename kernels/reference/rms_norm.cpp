#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"
#include "kernels/weight_offset.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::rms_norm(const Tensor& x, const Tensor& weight, double weight_offset, double eps,
                                   Tensor& y, Tensor& inverse_rms) {
  check::rms_norm(dtype(), x, weight, y, inverse_rms);
  const View xv(x), wv(weight), yv(y), rv(inverse_rms);
  const auto offset = addend_of<double>(weight_offset);
  for (int64_t t = 0; t < xv.rows(); ++t) {
    double squares = 0;
    for (int64_t j = 0; j < xv.width(); ++j) squares += xv(t, j) * xv(t, j);
    rv[t] = 1 / std::sqrt(squares / static_cast<double>(xv.width()) + eps);
    for (int64_t j = 0; j < xv.width(); ++j) yv(t, j) = xv(t, j) * rv[t] * (wv[j] + offset);
  }
}

// With n = hidden, r = inverse_rms and the weight's offset in w: dr/dx_j = -r³ x_j / n, so
// dx_j = r w_j dy_j - x_j r³ / n · sum_i(dy_i w_i x_i).
void ReferenceOperations::rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                                  double weight_offset, const Tensor& inverse_rms,
                                                  const Tensor& d_residual, Tensor& dx) {
  check::rms_norm_backward_input(dtype(), dy, x, weight, inverse_rms, d_residual, dx);
  const bool adds = d_residual.defined();
  const View dyv(dy), xv(x), wv(weight), rv(inverse_rms), dxv(dx), beside(adds ? d_residual : dx);
  const auto offset = addend_of<double>(weight_offset);
  for (int64_t t = 0; t < xv.rows(); ++t) {
    const double r = rv[t];
    double dot = 0;
    for (int64_t j = 0; j < xv.width(); ++j) dot += dyv(t, j) * (wv[j] + offset) * xv(t, j);
    for (int64_t j = 0; j < xv.width(); ++j) {
      const double d =
          r * (wv[j] + offset) * dyv(t, j) - xv(t, j) * r * r * r / static_cast<double>(xv.width()) * dot;
      dxv(t, j) = adds ? beside(t, j) + d : d;
    }
  }
}

void ReferenceOperations::rms_norm_backward_weight(const Tensor& dy, const Tensor& x,
                                                   const Tensor& inverse_rms, Tensor& d_weight,
                                                   bool accumulate) {
  check::rms_norm_backward_weight(dtype(), dy, x, inverse_rms, d_weight);
  const View dyv(dy), xv(x), rv(inverse_rms), dwv(d_weight);
  for (int64_t j = 0; j < dwv.rows(); ++j) {
    double sum = 0;
    for (int64_t t = 0; t < xv.rows(); ++t) sum += dyv(t, j) * xv(t, j) * rv[t];
    dwv[j] = accumulate ? dwv[j] + sum : sum;
  }
}

}  // namespace collie
