#include "base/random.hpp"
#include "kernels/checks.hpp"
#include "kernels/gumbel.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

void ReferenceOperations::gumbel_max(const Tensor& logits, int64_t first, uint64_t key,
                                     std::span<const uint64_t> rows, Tensor& best) {
  check::gumbel_max(dtype(), logits, first, rows, best);
  const reference::View view(logits);
  for (int64_t t = 0; t < view.rows(); ++t) {
    const uint64_t row = rows[static_cast<size_t>(t)];
    double* const found = best.data<double>() + 2 * t;
    found[0] = -INFINITY;
    found[1] = static_cast<double>(first);
    for (int64_t j = 0; j < view.width(); ++j) {
      const int64_t id = first + j;
      const auto words = philox4x32(
          {static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32), static_cast<uint32_t>(id / 4), 0},
          {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
      const double noisy = view(t, j) + gumbel_noise(words[static_cast<size_t>(id % 4)]);
      if (!(noisy > found[0])) continue;
      found[0] = noisy;
      found[1] = static_cast<double>(id);
    }
  }
}

}  // namespace collie
