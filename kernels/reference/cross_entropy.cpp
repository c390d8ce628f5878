#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::cross_entropy(Tensor& logits, std::span<const int32_t> labels,
                                        double gradient_scale, Tensor& loss_sum) {
  check::cross_entropy(dtype(), logits, labels, loss_sum);
  const View lv(logits);
  double loss = 0;
  for (int64_t t = 0; t < lv.rows(); ++t) {
    const int32_t label = labels[static_cast<size_t>(t)];
    if (label == ignored_label) {
      for (int64_t j = 0; j < lv.width(); ++j) lv(t, j) = 0;
      continue;
    }
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < lv.width(); ++j) largest = std::max(largest, lv(t, j));
    for (int64_t j = 0; j < lv.width(); ++j) sum += std::exp(lv(t, j) - largest);
    loss += std::log(sum) + largest - lv(t, label);
    for (int64_t j = 0; j < lv.width(); ++j)
      lv(t, j) = (std::exp(lv(t, j) - largest) / sum - (j == label ? 1 : 0)) * gradient_scale;
  }
  *loss_sum.data<double>() += loss;
}

}  // namespace collie
