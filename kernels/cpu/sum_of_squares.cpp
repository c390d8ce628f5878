#include <algorithm>

#include "kernels/checks.hpp"
#include "kernels/clip_factor.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/host_sums.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sum_of_squares.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::Elements;

template <class D>
HWY_INLINE auto load_as_floats(D floats, const float* x) {
  return hn::LoadU(floats, x);
}
template <class D>
HWY_INLINE auto load_as_floats(D floats, const bfloat16* x) {
  const hn::RebindToUnsigned<D> words;
  const hn::Rebind<uint16_t, D> halves;
  return hn::BitCast(floats, hn::ShiftLeft<16>(hn::PromoteTo(words, hn::LoadU(halves, &x->bits))));
}

// Squares one block and sums it in double.
template <class T>
HWY_INLINE double sum_of_squares(const T* x, int64_t n) {
  const hn::ScalableTag<double> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  const auto lanes = static_cast<int64_t>(hn::Lanes(doubles));
  auto even = hn::Zero(doubles), odd = hn::Zero(doubles);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto a = hn::PromoteTo(doubles, load_as_floats(floats, x + i));
    const auto b = hn::PromoteTo(doubles, load_as_floats(floats, x + i + lanes));
    even = hn::MulAdd(a, a, even);
    odd = hn::MulAdd(b, b, odd);
  }
  double sum = hn::GetLane(hn::SumOfLanes(doubles, hn::Add(even, odd)));
  for (; i < n; ++i) sum += static_cast<double>(to_float(x[i])) * static_cast<double>(to_float(x[i]));
  return sum;
}

double sum_of_squares_of_block(Elements x, int64_t n) {
  return typed([&](auto* block) HWY_ATTR { return sum_of_squares(block, n); }, x);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(sum_of_squares_of_block);

void CpuOperations::block_sums_of_squares(const Tensor& x, Tensor& sums) {
  check::block_sums_of_squares(dtype(), x, sums);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(sum_of_squares_of_block);
  const cpu::Elements data = cpu::elements_of(x);
  double* const out = sums.data<double>();
  const int64_t n = x.numel();
  arena_.for_pieces(sums.numel(), cpu::rows_per_piece(reduction_block), [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t start = block * reduction_block;
      out[block] = kernel(data + start, std::min(reduction_block, n - start));
    }
  });
}

void CpuOperations::ordered_sums(const Tensor& values, const OrderedRuns& runs, Tensor& sums) {
  check::ordered_sums(values, runs, sums);
  double* const out = sums.data<double>();
  arena_.for_each(sums.numel(), [&](int64_t which) { out[which] = host::ordered_sum(values, runs, which); });
}

void CpuOperations::tree_sums(const Tensor& values, const TreeRuns& runs, Tensor& sums) {
  check::tree_sums(values, runs, sums);
  double* const out = sums.data<double>();
  arena_.for_each(sums.numel(), [&](int64_t which) { out[which] = host::tree_sum(values, runs, which); });
}

void CpuOperations::keep_if_finite(const Tensor& factor, const Tensor& value, Tensor& kept) {
  check::keep_if_finite(factor, value, kept);
  *kept.data<double>() = factor_if_finite(*factor.data<double>(), *value.data<double>());
}

void CpuOperations::step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares,
                                 const StepBounds& bounds, Tensor& outcome) {
  check::step_outcome(loss_sum, sum_of_squares, outcome);
  host::step_outcome(loss_sum, sum_of_squares, bounds, outcome);
}

}  // namespace collie
#endif  // HWY_ONCE
