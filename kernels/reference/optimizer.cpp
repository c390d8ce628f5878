#include <algorithm>
#include <cmath>

#include "kernels/adamw_factors.hpp"
#include "kernels/checks.hpp"
#include "kernels/host_sums.hpp"
#include "kernels/reference/reference_operations.hpp"

namespace collie {

void ReferenceOperations::block_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::block_sums_of_squares(dtype(), x, sums);
  const double* const data = x.data<double>();
  double* out = sums.data<double>();
  for (int64_t first = 0; first < x.numel(); first += reduction_block) {
    double block = 0;
    for (int64_t i = first; i < std::min(first + reduction_block, x.numel()); ++i) block += data[i] * data[i];
    *out++ = block;
  }
}

void ReferenceOperations::ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) {
  check::ordered_sums(values, runs, sums);
  for (int64_t i = 0; i < sums.numel(); ++i) sums.data<double>()[i] = host::ordered_sum(values, runs, i);
}

void ReferenceOperations::tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) {
  check::tree_sums(values, runs, sums);
  for (int64_t i = 0; i < sums.numel(); ++i) sums.data<double>()[i] = host::tree_sum(values, runs, i);
}

void ReferenceOperations::step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, double max_norm,
                                       Tensor& outcome) {
  check::step_outcome(loss_sum, sum_of_squares, outcome);
  host::step_outcome(loss_sum, sum_of_squares, max_norm, outcome);
}

void ReferenceOperations::adamw(std::span<AdamWTensors> ranges, const AdamWArguments& a) {
  check::adamw(dtype(), ranges, a);
  const double gradient_factor = gradient_factor_on_host(a);
  if (std::isnan(gradient_factor)) return;
  const double correction1 = 1 - std::pow(a.beta1, static_cast<double>(a.step));
  const double correction2 = 1 - std::pow(a.beta2, static_cast<double>(a.step));
  for (AdamWTensors& range : ranges) {
    double* const w = range.weight.data<double>();
    const double* const g = range.gradient.data<double>();
    double* const m = range.exp_avg.data<double>();
    double* const v = range.exp_avg_sq.data<double>();
    for (int64_t i = 0; i < range.weight.numel(); ++i) {
      const double gi = g[i] * gradient_factor;
      w[i] *= 1 - a.lr * a.weight_decay;
      m[i] = a.beta1 * m[i] + (1 - a.beta1) * gi;
      v[i] = a.beta2 * v[i] + (1 - a.beta2) * gi * gi;
      w[i] -= a.lr / correction1 * m[i] / (std::sqrt(v[i]) / std::sqrt(correction2) + a.eps);
    }
    if (range.rounded.defined()) copy(range.weight, range.rounded);
  }
}

}  // namespace collie
