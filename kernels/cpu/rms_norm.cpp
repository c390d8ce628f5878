#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/weight_offset.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rms_norm.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

// One token. Returns its inverse_rms.
float rms_norm_row(const float* x, const float* weight, double weight_offset, double eps, float* y,
                   int64_t hidden) {
  const Vec offset = constant(addend_of<float>(weight_offset));
  Vec squares = constant(0);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec v = access.load(x + i);
    squares = hn::MulAdd(v, v, squares);
  });
  const double mean = static_cast<double>(sum_of_lanes(squares)) / static_cast<double>(hidden);
  const auto inverse_rms = static_cast<float>(1 / std::sqrt(mean + eps));
  const Vec r = constant(inverse_rms);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec w = hn::Add(access.load(weight + i), offset);
    access.store(hn::Mul(hn::Mul(access.load(x + i), r), w), y + i);
  });
  return inverse_rms;
}

// One token, with the weight's offset in w: dx = r (w dy - x r²/hidden · sum(dy w x)) + d_residual, if there
// is one.
void rms_norm_backward_row(const float* dy, const float* x, const float* weight, double weight_offset,
                           float inverse_rms, const float* d_residual, float* dx, int64_t hidden) {
  const Vec offset = constant(addend_of<float>(weight_offset));
  Vec products = constant(0);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec w = hn::Add(access.load(weight + i), offset);
    products = hn::MulAdd(hn::Mul(access.load(dy + i), w), access.load(x + i), products);
  });
  const double square = static_cast<double>(inverse_rms) * static_cast<double>(inverse_rms);
  const Vec slope =
      constant(static_cast<float>(sum_of_lanes(products) * square / static_cast<double>(hidden)));
  const Vec r = constant(inverse_rms);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec direct = hn::Mul(access.load(dy + i), hn::Add(access.load(weight + i), offset));
    Vec d = hn::Mul(r, hn::NegMulAdd(access.load(x + i), slope, direct));
    if (d_residual != nullptr) d = hn::Add(d, access.load(d_residual + i));
    access.store(d, dx + i);
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(rms_norm_row);
HWY_EXPORT(rms_norm_backward_row);

using cpu::at;

void CpuOperations::rms_norm(const Tensor& x, const Tensor& weight, double weight_offset, double eps,
                             Tensor& y, Tensor& inverse_rms) {
  check::rms_norm(dtype(), x, weight, y, inverse_rms);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(rms_norm_row);
  const int64_t hidden = x.dim(1);
  float* const inverse = inverse_rms.data<float>();
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(hidden), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      inverse[t] = kernel(at(x, t), weight.data<float>(), weight_offset, eps, at(y, t), hidden);
  });
}

void CpuOperations::rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                            double weight_offset, const Tensor& inverse_rms,
                                            const Tensor& d_residual, Tensor& dx) {
  check::rms_norm_backward_input(dtype(), dy, x, weight, inverse_rms, d_residual, dx);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(rms_norm_backward_row);
  const int64_t hidden = x.dim(1);
  const float* const inverse = inverse_rms.data<float>();
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(hidden), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(dy, t), at(x, t), weight.data<float>(), weight_offset, inverse[t],
             d_residual.defined() ? at(d_residual, t) : nullptr, at(dx, t), hidden);
  });
}

}  // namespace collie
#endif  // HWY_ONCE
