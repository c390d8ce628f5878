#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/swiglu.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

void swiglu_vectors(const float* gate, const float* up, float* out, int64_t n) {
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    const Vec g = access.load(gate + i);
    access.store(hn::Mul(hn::Mul(g, sigmoid(g)), access.load(up + i)), out + i);
  });
}

// With s = sigmoid(g): d_gate = d u s (1 + g (1 - s)), d_up = d g s.
void swiglu_backward_vectors(const float* gate, const float* up, const float* d_out, float* d_gate,
                             float* d_up, int64_t n) {
  const Vec one = constant(1);
  for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
    const Vec g = access.load(gate + i), d = access.load(d_out + i), u = access.load(up + i);
    const Vec s = sigmoid(g);
    const Vec slope = hn::Mul(s, hn::MulAdd(g, hn::Sub(one, s), one));
    access.store(hn::Mul(hn::Mul(d, u), slope), d_gate + i);
    access.store(hn::Mul(d, hn::Mul(g, s)), d_up + i);
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(swiglu_vectors);
HWY_EXPORT(swiglu_backward_vectors);

using cpu::at;

void CpuOperations::swiglu(const Tensor& gate, const Tensor& up, Tensor& out) {
  check::swiglu(dtype(), gate, up, out);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(swiglu_vectors);
  cpu::for_each_piece(arena_, cpu::common_layout({&gate, &up, &out}),
                      [&](int64_t row, int64_t first, int64_t count) {
                        kernel(at(gate, row, first), at(up, row, first), at(out, row, first), count);
                      });
}

void CpuOperations::swiglu_backward(const Tensor& gate, const Tensor& up, const Tensor& d_out, Tensor& d_gate,
                                    Tensor& d_up) {
  check::swiglu_backward(dtype(), gate, up, d_out, d_gate, d_up);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(swiglu_backward_vectors);
  cpu::for_each_piece(arena_, cpu::common_layout({&gate, &up, &d_out, &d_gate, &d_up}),
                      [&](int64_t row, int64_t first, int64_t count) {
                        kernel(at(gate, row, first), at(up, row, first), at(d_out, row, first),
                               at(d_gate, row, first), at(d_up, row, first), count);
                      });
}

}  // namespace collie
#endif  // HWY_ONCE
