#include <algorithm>
#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"

namespace collie {

Deferred<std::vector<double>> ReferenceOperations::block_sums_of_squares(const Tensor& x) {
  check::block_sums_of_squares(dtype(), x);
  const double* const data = x.data<double>();
  std::vector<double> sums;
  for (int64_t first = 0; first < x.numel(); first += reduction_block) {
    double block = 0;
    for (int64_t i = first; i < std::min(first + reduction_block, x.numel()); ++i) block += data[i] * data[i];
    sums.push_back(block);
  }
  return sums;
}

void ReferenceOperations::adamw(std::span<AdamWTensors> ranges, const AdamWArguments& a) {
  check::adamw(dtype(), ranges, a);
  const double correction1 = 1 - std::pow(a.beta1, static_cast<double>(a.step));
  const double correction2 = 1 - std::pow(a.beta2, static_cast<double>(a.step));
  for (AdamWTensors& range : ranges) {
    double* const w = range.weight.data<double>();
    const double* const g = range.gradient.data<double>();
    double* const m = range.exp_avg.data<double>();
    double* const v = range.exp_avg_sq.data<double>();
    for (int64_t i = 0; i < range.weight.numel(); ++i) {
      const double gi = g[i] * a.gradient_scale;
      w[i] *= 1 - a.lr * a.weight_decay;
      m[i] = a.beta1 * m[i] + (1 - a.beta1) * gi;
      v[i] = a.beta2 * v[i] + (1 - a.beta2) * gi * gi;
      w[i] -= a.lr / correction1 * m[i] / (std::sqrt(v[i]) / std::sqrt(correction2) + a.eps);
    }
    if (range.rounded.defined()) copy(range.weight, range.rounded);
  }
}

}  // namespace collie
