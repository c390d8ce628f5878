#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/layer_norm.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::Elements;

// One token. statistics [2] gets the mean and the inverse deviation. The variance is taken about the mean, in
// a second pass: a difference of sums of squares would cancel where the mean is large. A bias of nullptr
// means none.
template <class T>
HWY_INLINE void layer_norm_of(const T* x, const T* weight, const T* bias, T* y, double eps, float* statistics,
                              int64_t hidden) {
  const auto size = static_cast<double>(hidden);
  Vec sum = constant(0);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR { sum = hn::Add(sum, access.load(x + i)); });
  statistics[0] = static_cast<float>(static_cast<double>(sum_of_lanes(sum)) / size);
  const Vec mean = constant(statistics[0]);
  Vec squares = constant(0);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec centred = access.keep(hn::Sub(access.load(x + i), mean), constant(0));
    squares = hn::MulAdd(centred, centred, squares);
  });
  const double variance = static_cast<double>(sum_of_lanes(squares)) / size;
  statistics[1] = static_cast<float>(1 / std::sqrt(variance + eps));
  const Vec r = constant(statistics[1]);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec normalised = hn::Mul(hn::Sub(access.load(x + i), mean), r), w = access.load(weight + i);
    const Vec shift = bias != nullptr ? access.load(bias + i) : constant(0);
    access.store(hn::MulAdd(normalised, w, shift), y + i);
  });
}

void layer_norm_row(Elements x, Elements weight, Elements bias, Elements y, double eps, float* statistics,
                    int64_t hidden) {
  typed([&](auto... each) HWY_ATTR { layer_norm_of(each..., eps, statistics, hidden); }, x, weight, bias, y);
}

// One token. With n = (x - mean) r and g = w dy: dx = r (g - mean(g) - n mean(g n)) + d_residual, if there is
// one.
template <class T>
HWY_INLINE void layer_norm_backward_of(const T* dy, const T* x, const T* weight, const T* d_residual, T* dx,
                                       const float* statistics, int64_t hidden) {
  const auto size = static_cast<double>(hidden);
  const Vec mean = constant(statistics[0]), r = constant(statistics[1]);
  Vec sum = constant(0), products = constant(0);
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec g = hn::Mul(access.load(dy + i), access.load(weight + i));
    sum = hn::Add(sum, g);  // past the end g is 0
    products = hn::MulAdd(g, hn::Mul(hn::Sub(access.load(x + i), mean), r), products);
  });
  const Vec mean_g = constant(static_cast<float>(static_cast<double>(sum_of_lanes(sum)) / size));
  const Vec mean_product = constant(static_cast<float>(static_cast<double>(sum_of_lanes(products)) / size));
  for_each_vector(hidden, [&](int64_t i, auto access) HWY_ATTR {
    const Vec g = hn::Mul(access.load(dy + i), access.load(weight + i));
    const Vec n = hn::Mul(hn::Sub(access.load(x + i), mean), r);
    Vec d = hn::Mul(r, hn::NegMulAdd(n, mean_product, hn::Sub(g, mean_g)));
    if (d_residual != nullptr) d = hn::Add(d, access.load(d_residual + i));
    access.store(d, dx + i);
  });
}

void layer_norm_backward_row(Elements dy, Elements x, Elements weight, Elements d_residual, Elements dx,
                             const float* statistics, int64_t hidden) {
  typed([&](auto... each) HWY_ATTR { layer_norm_backward_of(each..., statistics, hidden); }, dy, x, weight,
        d_residual, dx);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(layer_norm_row);
HWY_EXPORT(layer_norm_backward_row);

using cpu::at, cpu::float_at;

void CpuOperations::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                               Tensor& y, Tensor& statistics) {
  check::layer_norm(dtype(), x, weight, bias, y, statistics);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(layer_norm_row);
  const int64_t hidden = x.dim(1);
  const cpu::Elements none{nullptr, dtype() == DType::bf16};
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(hidden), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(x, t), cpu::elements_of(weight), bias.defined() ? cpu::elements_of(bias) : none, at(y, t),
             eps, float_at(statistics, t), hidden);
  });
}

void CpuOperations::layer_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                              const Tensor& statistics, const Tensor& d_residual,
                                              Tensor& dx) {
  check::layer_norm_backward_input(dtype(), dy, x, weight, statistics, d_residual, dx);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(layer_norm_backward_row);
  const int64_t hidden = x.dim(1);
  const cpu::Elements none{nullptr, dtype() == DType::bf16};
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(hidden), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(dy, t), at(x, t), cpu::elements_of(weight), d_residual.defined() ? at(d_residual, t) : none,
             at(dx, t), float_at(statistics, t), hidden);
  });
}

}  // namespace collie
#endif  // HWY_ONCE
