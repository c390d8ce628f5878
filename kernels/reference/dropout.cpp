#include "base/random.hpp"
#include "kernels/checks.hpp"
#include "kernels/dropout_mask.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {

using reference::View;

void ReferenceOperations::dropout(const Tensor& x, double rate, uint64_t key, std::span<const uint64_t> rows,
                                  int64_t first_column, Tensor& out) {
  check::dropout(dtype(), x, rate, rows, first_column, out);
  const DropoutMask mask = dropout_mask(key, rate);
  const View xv(x), ov(out);
  for (int64_t t = 0; t < xv.rows(); ++t) {
    const uint64_t row = rows[static_cast<size_t>(t)];
    for (int64_t j = 0; j < xv.width(); ++j) {
      const int64_t column = first_column + j;
      const auto words = philox4x32({static_cast<uint32_t>(row), static_cast<uint32_t>(row >> 32),
                                     static_cast<uint32_t>(column / 4), 0},
                                    {static_cast<uint32_t>(mask.key), static_cast<uint32_t>(mask.key >> 32)});
      ov(t, j) = words[static_cast<size_t>(column % 4)] < mask.dropped ? 0 : xv(t, j) * mask.factor;
    }
  }
}

}  // namespace collie
