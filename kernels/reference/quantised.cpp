#include <algorithm>
#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/rules/scalar_formulas.hpp"

namespace collie {

namespace {

uint8_t code_of(const DynamicMap& map, double value) {
  const auto last = map.midpoints.end() - 1;
  return static_cast<uint8_t>(std::lower_bound(map.midpoints.begin(), last, value) - map.midpoints.begin());
}

// The elements [first, last) are a block. states [2][last - first]
void encode_block(const QuantisedTensors& range, size_t which, int64_t first, int64_t last,
                  const double* states) {
  double largest = 0;
  for (int64_t i = 0; i < last - first; ++i) largest = std::max(largest, std::abs(states[i]));
  range.absmax[which].data<double>()[first / quantisation_block] = largest;
  for (int64_t i = 0; i < last - first; ++i)
    range.codes[which].data<uint8_t>()[first + i] =
        code_of(dynamic_map(quantised_with_signs[which]), largest == 0 ? 0 : states[i] / largest);
}

}  // namespace

void ReferenceOperations::update_quantised(std::span<QuantisedTensors> ranges,
                                           const ElementwiseUpdate& step) {
  check::update_quantised(dtype(), ranges, step);
  const double gradient_factor = step.gradient_factor_on_host();
  if (std::isnan(gradient_factor)) return;
  for (QuantisedTensors& range : ranges) {
    const int64_t count = range.weight.numel();
    for (int64_t first = 0; first < count; first += quantisation_block) {
      const int64_t last = std::min(first + quantisation_block, count);
      double moments[2][quantisation_block];
      for (int64_t i = first; i < last; ++i) {
        double states[2];
        for (size_t which = 0; which < 2; ++which)
          states[which] =
              static_cast<double>(
                  dynamic_map(quantised_with_signs[which]).values[range.codes[which].data<uint8_t>()[i]]) *
              range.absmax[which].data<double>()[first / quantisation_block];
        scalar::AdamW::update(step.factors.data(), range.weight.data<double>()[i],
                              range.gradient.data<double>()[i] * gradient_factor, states);
        for (size_t which = 0; which < 2; ++which) moments[which][i - first] = states[which];
      }
      for (size_t which = 0; which < 2; ++which) encode_block(range, which, first, last, moments[which]);
    }
    if (range.rounded.defined()) copy(range.weight, range.rounded);
  }
}

}  // namespace collie
