#include "kernels/activation.hpp"
#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activations.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/activations-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

void gated_vectors(Activation activation, const float* gate, const float* up, float* out, int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
      access.store(hn::Mul(function.value(access.load(gate + i)), access.load(up + i)), out + i);
    });
  });
}

void gated_backward_vectors(Activation activation, const float* gate, const float* up, const float* d_out,
                            float* d_gate, float* d_up, int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
      const Vec d = access.load(d_out + i), u = access.load(up + i);
      const ValueAndSlope g = function.both(access.load(gate + i));
      access.store(hn::Mul(hn::Mul(d, u), g.slope), d_gate + i);
      access.store(hn::Mul(d, g.value), d_up + i);
    });
  });
}

void activate_vectors(Activation activation, const float* x, float* out, int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access)
                           HWY_ATTR { access.store(function.value(access.load(x + i)), out + i); });
  });
}

void activate_backward_vectors(Activation activation, const float* x, const float* d_out, float* dx,
                               int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
      access.store(hn::Mul(access.load(d_out + i), function.both(access.load(x + i)).slope), dx + i);
    });
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(gated_vectors);
HWY_EXPORT(gated_backward_vectors);
HWY_EXPORT(activate_vectors);
HWY_EXPORT(activate_backward_vectors);

using cpu::at;

void CpuOperations::gated(Activation activation, const Tensor& gate, const Tensor& up, Tensor& out) {
  check::gated(dtype(), gate, up, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(gated_vectors);
  cpu::for_each_piece(
      arena_, cpu::common_layout({&gate, &up, &out}), [&](int64_t row, int64_t first, int64_t count) {
        kernel(activation, at(gate, row, first), at(up, row, first), at(out, row, first), count);
      });
}

void CpuOperations::gated_backward(Activation activation, const Tensor& gate, const Tensor& up,
                                   const Tensor& d_out, Tensor& d_gate, Tensor& d_up) {
  check::gated_backward(dtype(), gate, up, d_out, d_gate, d_up);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(gated_backward_vectors);
  cpu::for_each_piece(arena_, cpu::common_layout({&gate, &up, &d_out, &d_gate, &d_up}),
                      [&](int64_t row, int64_t first, int64_t count) {
                        kernel(activation, at(gate, row, first), at(up, row, first), at(d_out, row, first),
                               at(d_gate, row, first), at(d_up, row, first), count);
                      });
}

void CpuOperations::activate(Activation activation, const Tensor& x, Tensor& out) {
  check::activate(dtype(), x, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(activate_vectors);
  cpu::for_each_piece(arena_, cpu::common_layout({&x, &out}), [&](int64_t row, int64_t first, int64_t count) {
    kernel(activation, at(x, row, first), at(out, row, first), count);
  });
}

void CpuOperations::activate_backward(Activation activation, const Tensor& x, const Tensor& d_out,
                                      Tensor& dx) {
  check::activate_backward(dtype(), x, d_out, dx);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(activate_backward_vectors);
  cpu::for_each_piece(
      arena_, cpu::common_layout({&x, &d_out, &dx}), [&](int64_t row, int64_t first, int64_t count) {
        kernel(activation, at(x, row, first), at(d_out, row, first), at(dx, row, first), count);
      });
}

}  // namespace collie
#endif  // HWY_ONCE
