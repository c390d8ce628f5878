#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/checks.hpp"
#include "kernels/cpu/convert.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/cpu/rounder.hpp"
#include "kernels/cpu/update_kernel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/update.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::FloatFactors;
using cpu::UpdateArrays;

// What the formulas are made of.
HWY_INLINE Vec mul(Vec a, Vec b) {
  return hn::Mul(a, b);
}
HWY_INLINE Vec sub(Vec a, Vec b) {
  return hn::Sub(a, b);
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

HWY_INLINE Vec clip(Vec a) {
  const Vec one = constant(1);
  return hn::IfThenElse(hn::Gt(hn::Abs(a), one), hn::CopySign(one, a), a);
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

using cpu::Elements;
using cpu::FloatFactors;
using cpu::UpdateArrays;
using cpu::UpdateKernel;

UpdateKernel cpu::update_kernel() {
  return &HWY_DYNAMIC_DISPATCH(update_vectors);
}

namespace {

// The elements that are converted to floats at a time, on the stack.
constexpr int64_t most_converted = 1024;

bool all_floats(const UpdateTensors& range) {
  const auto is_float = [](const Tensor& x) { return x.dtype() == DType::f32; };
  return is_float(range.weight) && is_float(range.gradient) &&
         std::all_of(range.states.begin(), range.states.end(), is_float);
}

// The elements [first, first + n) of a range of any dtypes: as floats, updated, and rounded back.
void update_converted(UpdateKernel kernel, int formula, const UpdateTensors& range, int64_t first, int64_t n,
                      const FloatFactors& factors, const cpu::Rounder& rounder) {
  float weight[most_converted], gradient[most_converted], states[most_states][most_converted];
  const auto read = [&](const Tensor& x, float* to) {
    cpu::convert(cpu::elements_of(x) + first, {to, false}, n);
  };
  UpdateArrays arrays{weight, gradient, {}};
  read(range.weight, weight);
  read(range.gradient, gradient);
  for (size_t i = 0; i < range.states.size(); ++i) {
    read(range.states[i], states[i]);
    arrays.states[i] = states[i];
  }
  kernel(formula, arrays, factors, n);
  const uint64_t index = range.first_index + static_cast<uint64_t>(first);
  rounder.store_rounded(weight, 0, index, cpu::elements_of(range.weight) + first, n);
  for (size_t i = 0; i < range.states.size(); ++i)
    rounder.store_rounded(states[i], static_cast<int>(i) + 1, index,
                          cpu::elements_of(range.states[i]) + first, n);
}

// The elements [first, last) of a range.
void update_piece(UpdateKernel kernel, int formula, const UpdateTensors& range, int64_t first, int64_t last,
                  const FloatFactors& factors, const cpu::Rounder& rounder) {
  if (!all_floats(range)) {
    for (; first < last; first += most_converted)
      update_converted(kernel, formula, range, first, std::min(most_converted, last - first), factors,
                       rounder);
    return;
  }
  UpdateArrays arrays{range.weight.data<float>() + first, range.gradient.data<float>() + first, {}};
  for (size_t i = 0; i < range.states.size(); ++i) arrays.states[i] = range.states[i].data<float>() + first;
  kernel(formula, arrays, factors, last - first);
}

// Stores the new weights in the dtype of `rounded`: to nearest, or the same bits.
void store_copy(const UpdateTensors& range, int64_t first, int64_t last) {
  const Elements from = cpu::elements_of(range.weight) + first, to = cpu::elements_of(range.rounded) + first;
  if (from.narrow == to.narrow)
    std::memcpy(to.data, from.data, static_cast<size_t>(last - first) * (to.narrow ? 2 : 4));
  else
    cpu::convert(from, to, last - first);
}

}  // namespace

void CpuOperations::update(std::span<UpdateTensors> ranges, const ElementwiseUpdate& step) {
  check::update(dtype(), ranges, step);
  const UpdateKernel kernel = cpu::update_kernel();
  const double gradient_factor = step.gradient_factor_on_host();
  if (std::isnan(gradient_factor)) return;
  const FloatFactors factors = cpu::float_factors(step, gradient_factor);
  const cpu::Rounder rounder(step.rounding);
  for (const UpdateTensors& range : ranges)
    arena_.for_pieces(range.weight.numel(), cpu::piece_size, [&](int64_t first, int64_t last) {
      update_piece(kernel, step.formula, range, first, last, factors, rounder);
      if (range.rounded.defined()) store_copy(range, first, last);
    });
}

}  // namespace collie
#endif  // HWY_ONCE
