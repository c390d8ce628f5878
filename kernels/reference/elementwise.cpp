#include <algorithm>
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

void ReferenceOperations::divide_by_root(Tensor& x, const Tensor& square, double least) {
  check::divide_by_root(dtype(), x, square);
  scale(x, 1 / std::max(std::sqrt(*square.data<double>()), least));
}

// Comparisons with NaN are false.
void ReferenceOperations::clamp(Tensor& x, double limit) {
  check::clamp(dtype(), x, limit);
  const View xv(x);
  for (int64_t i = 0; i < xv.rows(); ++i)
    for (int64_t j = 0; j < xv.width(); ++j) {
      if (xv(i, j) > limit) xv(i, j) = limit;
      if (xv(i, j) < -limit) xv(i, j) = -limit;
    }
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

void ReferenceOperations::scale_columns(const Tensor& x, const Tensor& factors, Tensor& out) {
  check::scale_columns(dtype(), x, factors, out);
  const View xv(x), fv(factors), ov(out);
  for (int64_t i = 0; i < xv.rows(); ++i)
    for (int64_t j = 0; j < xv.width(); ++j) ov(i, j) = xv(i, j) * fv[j];
}

void ReferenceOperations::column_dots(const Tensor& a, const Tensor& b, Tensor& out, bool accumulate) {
  check::column_dots(dtype(), a, b, out);
  const View av(a), bv(b), ov(out);
  for (int64_t j = 0; j < ov.rows(); ++j) {
    double sum = 0;
    for (int64_t i = 0; i < av.rows(); ++i) sum += av(i, j) * bv(i, j);
    ov[j] = accumulate ? ov[j] + sum : sum;
  }
}

void ReferenceOperations::row_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::row_sums_of_squares(dtype(), x, sums);
  const View xv(x), sv(sums);
  for (int64_t i = 0; i < xv.rows(); ++i) {
    double sum = 0;
    for (int64_t j = 0; j < xv.width(); ++j) sum += xv(i, j) * xv(i, j);
    sv[i] = sum;
  }
}

void ReferenceOperations::inverse_roots(Tensor& x) {
  check::inverse_roots(dtype(), x);
  const View xv(x);
  for (int64_t i = 0; i < xv.rows(); ++i) xv[i] = xv[i] == 0 ? 0 : 1 / std::sqrt(xv[i]);
}

}  // namespace collie
