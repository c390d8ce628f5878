#include <algorithm>
#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/clip_factor.hpp"
#include "kernels/host_sums.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/rules/scalar_formulas.hpp"

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

void ReferenceOperations::keep_if_finite(const Tensor& factor, const Tensor& value, Tensor& kept) {
  check::keep_if_finite(factor, value, kept);
  *kept.data<double>() = factor_if_finite(*factor.data<double>(), *value.data<double>());
}

void ReferenceOperations::step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares,
                                       const StepBounds& bounds, Tensor& outcome) {
  check::step_outcome(loss_sum, sum_of_squares, outcome);
  host::step_outcome(loss_sum, sum_of_squares, bounds, outcome);
}

void ReferenceOperations::update(std::span<UpdateTensors> ranges, const ElementwiseUpdate& step) {
  check::update(dtype(), ranges, step);
  const double gradient_factor = step.gradient_factor_on_host();
  if (std::isnan(gradient_factor)) return;
  scalar::with_formula(step.formula, scalar::Formulas(), [&](auto formula) {
    for (UpdateTensors& range : ranges) {
      double states[most_states];
      for (int64_t i = 0; i < range.weight.numel(); ++i) {
        for (size_t k = 0; k < range.states.size(); ++k) states[k] = range.states[k].data<double>()[i];
        decltype(formula)::update(step.factors.data(), range.weight.data<double>()[i],
                                  range.gradient.data<double>()[i] * gradient_factor, states);
        for (size_t k = 0; k < range.states.size(); ++k) range.states[k].data<double>()[i] = states[k];
      }
      if (range.rounded.defined()) copy(range.weight, range.rounded);
    }
  });
}

}  // namespace collie
