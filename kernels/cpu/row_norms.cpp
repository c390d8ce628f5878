// The norms of a matrix's rows, in two steps, between which the ranks that share its columns add theirs.
#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_norms.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::Elements;

// Blocks of elements are summed first and then added up in double, which keeps float32 accurate over long
// rows.
float row_sum_of_squares(Elements row, int64_t n) {
  constexpr int64_t block = 1024;
  return typed(
      [&](auto* x) HWY_ATTR {
        double total = 0;
        for (int64_t first = 0; first < n; first += block) {
          Vec squares = constant(0);
          for_each_vector(HWY_MIN(block, n - first), [&](int64_t i, auto access) HWY_ATTR {
            const Vec v = access.load(x + first + i);
            squares = hn::MulAdd(v, v, squares);
          });
          total += static_cast<double>(sum_of_lanes(squares));
        }
        return static_cast<float>(total);
      },
      row);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(row_sum_of_squares);

using cpu::at;

void CpuOperations::row_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::row_sums_of_squares(dtype(), x, sums);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(row_sum_of_squares);
  float* const out = sums.data<float>();
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(x.dim(1)), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) out[i] = kernel(at(x, i), x.dim(1));
  });
}

void CpuOperations::inverse_roots(Tensor& x) {
  check::inverse_roots(dtype(), x);
  float* const values = x.data<float>();
  for (int64_t i = 0; i < x.numel(); ++i) values[i] = values[i] == 0 ? 0 : 1 / std::sqrt(values[i]);
}

}  // namespace collie
#endif  // HWY_ONCE
