#include <cmath>

#include "kernels/adamw_factors.hpp"
#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/adamw.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

void adamw_vectors(float* weight, const float* gradient, float* exp_avg, float* exp_avg_sq,
                   float gradient_factor, const AdamWFactors& f, int64_t n) {
  const Vec gradient_scale = constant(gradient_factor), decay = constant(f.decay), rate = constant(f.rate);
  const Vec beta1 = constant(f.beta1), one_minus_beta1 = constant(f.one_minus_beta1);
  const Vec beta2 = constant(f.beta2), one_minus_beta2 = constant(f.one_minus_beta2);
  const Vec root_scale = constant(f.root_scale), eps = constant(f.eps);
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    const Vec g = hn::Mul(access.load(gradient + i), gradient_scale);
    const Vec m = hn::MulAdd(one_minus_beta1, g, hn::Mul(beta1, access.load(exp_avg + i)));
    const Vec v = hn::MulAdd(hn::Mul(one_minus_beta2, g), g, hn::Mul(beta2, access.load(exp_avg_sq + i)));
    const Vec denominator = hn::MulAdd(hn::Sqrt(v), root_scale, eps);
    const Vec w = hn::Mul(access.load(weight + i), decay);
    access.store(hn::NegMulAdd(rate, hn::Div(m, denominator), w), weight + i);
    access.store(m, exp_avg + i);
    access.store(v, exp_avg_sq + i);
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(adamw_vectors);

void CpuOperations::adamw(std::span<AdamWTensors> ranges, const AdamWArguments& arguments) {
  check::adamw(dtype(), ranges, arguments);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(adamw_vectors);
  const double gradient_factor = gradient_factor_on_host(arguments);
  if (std::isnan(gradient_factor)) return;
  const AdamWFactors factors = adamw_factors(arguments);
  for (AdamWTensors& range : ranges) {
    arena_.for_pieces(range.weight.numel(), cpu::piece_size, [&](int64_t first, int64_t last) {
      kernel(range.weight.data<float>() + first, range.gradient.data<float>() + first,
             range.exp_avg.data<float>() + first, range.exp_avg_sq.data<float>() + first,
             static_cast<float>(gradient_factor), factors, last - first);
    });
    if (range.rounded.defined()) copy(range.weight, range.rounded);
  }
}

}  // namespace collie
#endif  // HWY_ONCE
