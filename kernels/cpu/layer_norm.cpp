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

// One token. statistics [2] gets the mean and the inverse deviation. The variance is taken about the mean, in
// a second pass: a difference of sums of squares would cancel where the mean is large. A bias of nullptr
// means none.
void layer_norm_row(const float* x, const float* weight, const float* bias, double eps, float* y,
                    float* statistics, int64_t hidden) {
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

// One token. With n = (x - mean) r and g = w dy: dx = r (g - mean(g) - n mean(g n)) + d_residual, if there is
// one.
void layer_norm_backward_row(const float* dy, const float* x, const float* weight, const float* statistics,
                             const float* d_residual, float* dx, int64_t hidden) {
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

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(layer_norm_row);
HWY_EXPORT(layer_norm_backward_row);

using cpu::at;

void CpuOperations::layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps,
                               Tensor& y, Tensor& statistics) {
  check::layer_norm(dtype(), x, weight, bias, y, statistics);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(layer_norm_row);
  const int64_t hidden = x.dim(1);
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(hidden), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(x, t), weight.data<float>(), bias.defined() ? bias.data<float>() : nullptr, eps, at(y, t),
             at(statistics, t), hidden);
  });
}

void CpuOperations::layer_norm_backward_input(const Tensor& dy, const Tensor& x, const Tensor& weight,
                                              const Tensor& statistics, const Tensor& d_residual,
                                              Tensor& dx) {
  check::layer_norm_backward_input(dtype(), dy, x, weight, statistics, d_residual, dx);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(layer_norm_backward_row);
  const int64_t hidden = x.dim(1);
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(hidden), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(dy, t), at(x, t), weight.data<float>(), at(statistics, t),
             d_residual.defined() ? at(d_residual, t) : nullptr, at(dx, t), hidden);
  });
}

}  // namespace collie
#endif  // HWY_ONCE
