#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/checks.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::merge_attention(Tensor& out, Tensor& log_sum_exp, const Tensor& part,
                                          const Tensor& part_log_sum_exp) {
  check::merge_attention(dtype(), out, log_sum_exp, part, part_log_sum_exp);
  constexpr double of_no_keys = -std::numeric_limits<double>::infinity();
  const View ov(out), lv(log_sum_exp), pv(part), mv(part_log_sum_exp);
  for (int64_t t = 0; t < out.dim(0); ++t) {
    for (int64_t h = 0; h < out.dim(1); ++h) {
      const double before = lv(t, h), added = mv(t, h);
      if (added == of_no_keys) continue;
      const double largest = std::max(before, added);
      const double both = largest + std::log(std::exp(before - largest) + std::exp(added - largest));
      for (int64_t d = 0; d < out.dim(2); ++d) {
        const double kept = before == of_no_keys ? 0 : std::exp(before - both) * ov(t, h, d);
        ov(t, h, d) = kept + std::exp(added - both) * pv(t, h, d);
      }
      lv(t, h) = both;
    }
  }
}

}  // namespace collie
