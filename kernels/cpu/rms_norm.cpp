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

using cpu::Elements;

// One token. Returns its inverse_rms.
template <class T>
HWY_INLINE float rms_norm_of(const T* x, const T* weight, double weight_offset, double eps, T* y,
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

float rms_norm_row(Elements x, Elements weight, double weight_offset, double eps, Elements y,
                   int64_t hidden) {
  return typed([&](auto* in, auto* by, auto* out)
                   HWY_ATTR { return rms_norm_of(in, by, weight_offset, eps, out, hidden); },
               x, weight, y);
}

// One token, with the weight's offset in w: dx = r (w dy - x r²/hidden · sum(dy w x)) + d_residual, if there
// is one.
template <class T>
HWY_INLINE void rms_norm_backward_of(const T* dy, const T* x, const T* weight, const T* d_residual, T* dx,
                                     double weight_offset, float inverse_rms, int64_t hidden) {
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

void rms_norm_backward_row(Elements dy, Elements x, Elements weight, Elements d_residual, Elements dx,
                           double weight_offset, float inverse_rms, int64_t hidden) {
  typed([&](auto... each) HWY_ATTR { rms_norm_backward_of(each..., weight_offset, inverse_rms, hidden); }, dy,
        x, weight, d_residual, dx);
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
      inverse[t] = kernel(at(x, t), cpu::elements_of(weight), weight_offset, eps, at(y, t), hidden);
  });
}

void CpuOperations::rms_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                            double weight_offset, const Tensor& inverse_rms,
                                            const Tensor& d_residual, Tensor& dx) {
  check::rms_norm_backward_input(dtype(), dy, x, weight, inverse_rms, d_residual, dx);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(rms_norm_backward_row);
  const int64_t hidden = x.dim(1);
  const float* const inverse = inverse_rms.data<float>();
  const cpu::Elements no_residual{nullptr, dtype() == DType::bf16};
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(hidden), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(dy, t), at(x, t), cpu::elements_of(weight),
             d_residual.defined() ? at(d_residual, t) : no_residual, at(dx, t), weight_offset, inverse[t],
             hidden);
  });
}

}  // namespace collie
#endif  // HWY_ONCE
