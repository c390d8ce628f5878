#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::add(const Tensor& a, const Tensor& b, Tensor& out) {
  check::add(dtype(), a, b, out);
  const View av(a), bv(b), ov(out);
  for (int64_t i = 0; i < av.rows(); ++i)
    for (int64_t j = 0; j < av.width(); ++j) ov(i, j) = av(i, j) + bv(i, j);
}

void ReferenceOperations::scale(Tensor& x, double factor) {
  check::scale(dtype(), x);
  const View xv(x);
  for (int64_t i = 0; i < xv.rows(); ++i)
    for (int64_t j = 0; j < xv.width(); ++j) xv(i, j) *= factor;
}

void ReferenceOperations::add_row(Tensor& x, const Tensor& row) {
  check::add_row(dtype(), x, row);
  const View xv(x), rv(row);
  for (int64_t i = 0; i < xv.rows(); ++i)
    for (int64_t j = 0; j < xv.width(); ++j) xv(i, j) += rv[j];
}

void ReferenceOperations::column_sum(const Tensor& x, Tensor& out, bool accumulate) {
  check::column_sum(dtype(), x, out);
  const View xv(x), ov(out);
  for (int64_t j = 0; j < ov.rows(); ++j) {
    double sum = 0;
    for (int64_t i = 0; i < xv.rows(); ++i) sum += xv(i, j);
    ov[j] = accumulate ? ov[j] + sum : sum;
  }
}

void ReferenceOperations::swiglu(const Tensor& gate, const Tensor& up, Tensor& out) {
  check::swiglu(dtype(), gate, up, out);
  const View gv(gate), uv(up), ov(out);
  for (int64_t i = 0; i < gv.rows(); ++i)
    for (int64_t j = 0; j < gv.width(); ++j) ov(i, j) = gv(i, j) / (1 + std::exp(-gv(i, j))) * uv(i, j);
}

// out = silu(g) u with silu(g) = g s, s = sigmoid(g), silu'(g) = s (1 + g (1 - s)).
void ReferenceOperations::swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_out,
                                          Tensor& d_gate, Tensor& d_up) {
  check::swiglu_backward(dtype(), gate, up, d_out, d_gate, d_up);
  const View gv(gate), uv(up), dv(d_out), dgv(d_gate), duv(d_up);
  for (int64_t i = 0; i < gv.rows(); ++i) {
    for (int64_t j = 0; j < gv.width(); ++j) {
      const double g = gv(i, j), u = uv(i, j), d = dv(i, j), s = 1 / (1 + std::exp(-g));
      dgv(i, j) = d * u * s * (1 + g * (1 - s));
      duv(i, j) = d * g * s;
    }
  }
}

}  // namespace collie
