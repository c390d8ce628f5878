#include <cmath>
#include <numbers>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

namespace {

// The density of the normal distribution, and its integral. By erfc, because 1 + erf loses the digits of what
// is small.
double density(double x) {
  return std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi);
}
double distribution(double x) {
  return std::erfc(-x / std::numbers::sqrt2) / 2;
}

// The hyperbolic tangent that gelu_tanh has in place of the error function, and its argument's derivative.
double tanh_of_cubic(double x) {
  return std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x));
}
double slope_of_cubic(double x) {
  return std::sqrt(2 / std::numbers::pi) * (1 + 3 * 0.044715 * x * x);
}

double value(Activation activation, double x) {
  switch (activation) {
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu:
      return x * distribution(x);
    case Activation::gelu_tanh:
      return x * (1 + tanh_of_cubic(x)) / 2;
    case Activation::relu:
      return x < 0 ? 0 : x;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::tanh:
      return std::tanh(x);
  }
  COLLIE_ASSERT(false, "activation {}", static_cast<int>(activation));
}

double slope(Activation activation, double x) {
  switch (activation) {
    case Activation::silu: {
      const double s = 1 / (1 + std::exp(-x));
      return s * (1 + x * (1 - s));
    }
    case Activation::gelu:
      return distribution(x) + x * density(x);
    case Activation::gelu_tanh: {
      const double t = tanh_of_cubic(x);
      return (1 + t) / 2 + x * (1 - t * t) / 2 * slope_of_cubic(x);
    }
    case Activation::relu:
      return x <= 0 ? 0 : 1;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x)) / (1 + std::exp(x));
    case Activation::tanh: {
      const double c = std::cosh(x);
      return 1 / c / c;
    }
  }
  COLLIE_ASSERT(false, "activation {}", static_cast<int>(activation));
}

}  // namespace

void ReferenceOperations::gated(Activation activation, const Tensor& gate, const Tensor& up, Tensor& out) {
  check::gated(dtype(), gate, up, out);
  const View gv(gate), uv(up), ov(out);
  for (int64_t i = 0; i < gv.rows(); ++i)
    for (int64_t j = 0; j < gv.width(); ++j) ov(i, j) = value(activation, gv(i, j)) * uv(i, j);
}

void ReferenceOperations::gated_backward(Activation activation, const Tensor& gate, const Tensor& up,
                                         const Tensor& d_out, Tensor& d_gate, Tensor& d_up) {
  check::gated_backward(dtype(), gate, up, d_out, d_gate, d_up);
  const View gv(gate), uv(up), dv(d_out), dgv(d_gate), duv(d_up);
  for (int64_t i = 0; i < gv.rows(); ++i)
    for (int64_t j = 0; j < gv.width(); ++j) {
      dgv(i, j) = dv(i, j) * uv(i, j) * slope(activation, gv(i, j));
      duv(i, j) = dv(i, j) * value(activation, gv(i, j));
    }
}

void ReferenceOperations::activate(Activation activation, const Tensor& x, Tensor& out) {
  check::activate(dtype(), x, out);
  const View xv(x), ov(out);
  for (int64_t i = 0; i < xv.rows(); ++i)
    for (int64_t j = 0; j < xv.width(); ++j) ov(i, j) = value(activation, xv(i, j));
}

void ReferenceOperations::activate_backward(Activation activation, const Tensor& x, const Tensor& d_out,
                                            Tensor& dx) {
  check::activate_backward(dtype(), x, d_out, dx);
  const View xv(x), dv(d_out), dxv(dx);
  for (int64_t i = 0; i < xv.rows(); ++i)
    for (int64_t j = 0; j < xv.width(); ++j) dxv(i, j) = dv(i, j) * slope(activation, xv(i, j));
}

}  // namespace collie
