#include <cmath>
#include <utility>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/update.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

#ifndef COLLIE_KERNELS_CPU_UPDATE_ARRAYS
#define COLLIE_KERNELS_CPU_UPDATE_ARRAYS
namespace collie {
struct UpdateArrays {
  float* weight;
  const float* gradient;
  float* states[most_states];
};
struct FloatFactors {
  float gradient;
  float of_formula[most_factors];
};
}  // namespace collie
#endif

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

// What the formulas are made of.
HWY_INLINE Vec mul(Vec a, Vec b) {
  return hn::Mul(a, b);
}
HWY_INLINE Vec mul_add(Vec a, Vec b, Vec c) {
  return hn::MulAdd(a, b, c);
}
HWY_INLINE Vec neg_mul_add(Vec a, Vec b, Vec c) {
  return hn::NegMulAdd(a, b, c);
}
HWY_INLINE Vec div(Vec a, Vec b) {
  return hn::Div(a, b);
}
HWY_INLINE Vec root(Vec a) {
  return hn::Sqrt(a);
}
HWY_INLINE Vec sign(Vec a) {
  const auto keeps = hn::Or(hn::Eq(a, hn::Zero(Floats())), hn::IsNaN(a));
  return hn::IfThenElse(keeps, a, hn::CopySign(constant(1), a));
}

#define COLLIE_FORMULA HWY_INLINE
#include "kernels/rules/formulas-inl.hpp"
#undef COLLIE_FORMULA

// The arguments come by value, so that no store can change them.
template <class Formula, size_t... Factor, size_t... State>
HWY_INLINE void update_by(UpdateArrays x, FloatFactors by, int64_t n, std::index_sequence<Factor...>,
                          std::index_sequence<State...>) {
  const Vec gradient_scale = constant(by.gradient);
  const Vec factors[] = {constant(by.of_formula[Factor])...};
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    Vec weight = access.load(x.weight + i);
    Vec states[sizeof...(State) + 1] = {access.load(x.states[State] + i)..., weight};  // the last is not used
    Formula::update(factors, weight, hn::Mul(access.load(x.gradient + i), gradient_scale), states);
    access.store(weight, x.weight + i);
    (access.store(states[State], x.states[State] + i), ...);
  });
}

void update_vectors(int formula, const UpdateArrays& x, const FloatFactors& by, int64_t n) {
  with_formula(formula, Formulas(), [&](auto each) HWY_ATTR {
    using Formula = decltype(each);
    update_by<Formula>(x, by, n, std::make_index_sequence<Formula::factors>(),
                       std::make_index_sequence<Formula::states>());
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(update_vectors);

namespace {

UpdateArrays arrays_from(const UpdateTensors& range, int64_t first) {
  UpdateArrays arrays{range.weight.data<float>() + first, range.gradient.data<float>() + first, {}};
  for (size_t i = 0; i < range.states.size(); ++i) arrays.states[i] = range.states[i].data<float>() + first;
  return arrays;
}

}  // namespace

void CpuOperations::update(std::span<UpdateTensors> ranges, const ElementwiseUpdate& step) {
  check::update(dtype(), ranges, step);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(update_vectors);
  const double gradient_factor = step.gradient_factor_on_host();
  if (std::isnan(gradient_factor)) return;
  FloatFactors factors{static_cast<float>(gradient_factor), {}};
  for (size_t i = 0; i < most_factors; ++i) factors.of_formula[i] = static_cast<float>(step.factors[i]);
  for (UpdateTensors& range : ranges) {
    arena_.for_pieces(range.weight.numel(), cpu::piece_size, [&](int64_t first, int64_t last) {
      kernel(step.formula, arrays_from(range, first), factors, last - first);
    });
    if (range.rounded.defined()) copy(range.weight, range.rounded);
  }
}

}  // namespace collie
#endif  // HWY_ONCE
