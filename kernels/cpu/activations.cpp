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

using cpu::Elements;

template <class T>
HWY_INLINE void gated(const T* gate, const T* up, T* out, Activation activation, int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
      access.store(hn::Mul(function.value(access.load(gate + i)), access.load(up + i)), out + i);
    });
  });
}

template <class T>
HWY_INLINE void gated_backward(const T* gate, const T* up, const T* d_out, T* d_gate, T* d_up,
                               Activation activation, int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
      const Vec d = access.load(d_out + i), u = access.load(up + i);
      const ValueAndSlope g = function.both(access.load(gate + i));
      access.store(hn::Mul(hn::Mul(d, u), g.slope), d_gate + i);
      access.store(hn::Mul(d, g.value), d_up + i);
    });
  });
}

template <class T>
HWY_INLINE void activate(const T* x, T* out, Activation activation, int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access)
                           HWY_ATTR { access.store(function.value(access.load(x + i)), out + i); });
  });
}

template <class T>
HWY_INLINE void activate_backward(const T* x, const T* d_out, T* dx, Activation activation, int64_t n) {
  with_activation(activation, [&](auto function) HWY_ATTR {
    for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
      access.store(hn::Mul(access.load(d_out + i), function.both(access.load(x + i)).slope), dx + i);
    });
  });
}

void gated_vectors(Activation activation, Elements gate, Elements up, Elements out, int64_t n) {
  typed([&](auto... each) HWY_ATTR { gated(each..., activation, n); }, gate, up, out);
}

void gated_backward_vectors(Activation activation, Elements gate, Elements up, Elements d_out,
                            Elements d_gate, Elements d_up, int64_t n) {
  typed([&](auto... each) HWY_ATTR { gated_backward(each..., activation, n); }, gate, up, d_out, d_gate,
        d_up);
}

void activate_vectors(Activation activation, Elements x, Elements out, int64_t n) {
  typed([&](auto... each) HWY_ATTR { activate(each..., activation, n); }, x, out);
}

void activate_backward_vectors(Activation activation, Elements x, Elements d_out, Elements dx, int64_t n) {
  typed([&](auto... each) HWY_ATTR { activate_backward(each..., activation, n); }, x, d_out, dx);
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
