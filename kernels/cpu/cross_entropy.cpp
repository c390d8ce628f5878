#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::Elements;

// One token's logits become its gradient. Returns the token's loss.
template <class T>
HWY_INLINE double cross_entropy_of(T* logits, int64_t vocab, int32_t label, float gradient_scale) {
  // Exponentials are kept in the logits' place if that does not round them. Otherwise they are taken again,
  // so that each gradient is rounded once.
  constexpr bool narrow = std::is_same_v<T, bfloat16>;
  const Vec lowest = constant(-std::numeric_limits<float>::infinity());
  Vec largest = lowest;
  for_each_vector(vocab, [&](int64_t i, auto access) HWY_ATTR {
    largest = hn::Max(largest, access.keep(access.load(logits + i), lowest));
  });
  const float maximum = max_of_lanes(largest);
  const double target = static_cast<double>(to_float(logits[label]));
  const Vec shift = constant(maximum), zero = constant(0);
  Vec sums = zero;
  for_each_vector(vocab, [&](int64_t i, auto access) HWY_ATTR {
    const Vec e = exp_of(hn::Sub(access.load(logits + i), shift));
    sums = hn::Add(sums, access.keep(e, zero));
    if constexpr (!narrow) access.store(e, logits + i);
  });
  const double sum = static_cast<double>(sum_of_lanes(sums));
  const Vec factor = constant(static_cast<float>(static_cast<double>(gradient_scale) / sum));
  const Vec of_label = exp_of(hn::Sub(constant(static_cast<float>(target)), shift));
  for_each_vector(vocab, [&](int64_t i, auto access) HWY_ATTR {
    Vec e = access.load(logits + i);
    if constexpr (narrow) e = exp_of(hn::Sub(e, shift));
    access.store(hn::Mul(e, factor), logits + i);
  });
  if constexpr (narrow)
    store(hn::GetLane(hn::Mul(of_label, factor)) - gradient_scale, logits + label);
  else
    logits[label] -= gradient_scale;
  return std::log(sum) + static_cast<double>(maximum) - target;
}

double cross_entropy_row(Elements logits, int64_t vocab, int32_t label, float gradient_scale) {
  return typed([&](auto* row) HWY_ATTR { return cross_entropy_of(row, vocab, label, gradient_scale); },
               logits);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(cross_entropy_row);

using cpu::at;

void CpuOperations::cross_entropy(Tensor& logits, std::span<const int32_t> labels, double gradient_scale,
                                  Tensor& loss_sum) {
  check::cross_entropy(dtype(), logits, labels, loss_sum);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(cross_entropy_row);
  const int64_t vocab = logits.dim(1);
  std::vector<double> losses(labels.size());
  arena_.for_pieces(logits.dim(0), cpu::rows_per_piece(vocab), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const int32_t label = labels[static_cast<size_t>(t)];
      if (label == ignored_label)
        cpu::clear(at(logits, t), vocab);
      else
        losses[static_cast<size_t>(t)] =
            kernel(at(logits, t), vocab, label, static_cast<float>(gradient_scale));
    }
  });
  double sum = 0;
  for (const double loss : losses) sum += loss;
  *loss_sum.data<double>() += sum;
}

}  // namespace collie
#endif  // HWY_ONCE
