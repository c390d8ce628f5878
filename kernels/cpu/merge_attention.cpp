#include <limits>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/merge_attention.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

// out = kept · out + added · part, for one head of one query.
template <class T>
HWY_INLINE void blend(T* out, float kept, const T* part, float added, int64_t head_dim) {
  const Vec a = constant(kept), b = constant(added);
  for_each_vector(head_dim, [&](int64_t i, auto access) HWY_ATTR {
    access.store(hn::MulAdd(a, access.load(out + i), hn::Mul(b, access.load(part + i))), out + i);
  });
}

// Merges one query: computes the weights of a vector of heads at a time, then blends these heads.
template <class T>
HWY_INLINE void merge(T* out, const T* part, float* log_sum_exp, const float* part_log_sum_exp, int64_t heads,
                      int64_t head_dim) {
  constexpr float of_no_keys = -std::numeric_limits<float>::infinity();
  HWY_ALIGN float before[hn::MaxLanes(Floats())], added[hn::MaxLanes(Floats())];
  HWY_ALIGN float weight_before[hn::MaxLanes(Floats())], weight_added[hn::MaxLanes(Floats())];
  const Vec one = constant(1);
  for_each_vector(heads, [&](int64_t first, auto access) HWY_ATTR {
    const Floats f;
    const Vec l = access.load(log_sum_exp + first), m = access.load(part_log_sum_exp + first);
    hn::Store(l, f, before);
    hn::Store(m, f, added);
    // Equal values are handled first, since the difference of two infinities is not a number.
    const Vec difference = hn::IfThenZeroElse(hn::Eq(l, m), hn::Sub(m, l));
    const Vec ratio = exp_of(hn::Neg(hn::Abs(difference)));  // the ratio of the smaller to the larger
    const Vec larger = hn::Div(one, hn::Add(one, ratio)), smaller = hn::Mul(ratio, larger);
    const auto part_is_larger = hn::Gt(m, l);
    hn::Store(hn::IfThenElse(part_is_larger, smaller, larger), f, weight_before);
    hn::Store(hn::IfThenElse(part_is_larger, larger, smaller), f, weight_added);
    access.store(hn::Add(hn::IfThenElse(part_is_larger, m, l), hn::Log1p(f, ratio)), log_sum_exp + first);
    const auto count = HWY_MIN(heads - first, static_cast<int64_t>(hn::Lanes(f)));
    for (int64_t i = 0; i < count; ++i) {
      T* const head_out = out + (first + i) * head_dim;
      const T* const head_part = part + (first + i) * head_dim;
      if (added[i] == of_no_keys) continue;
      if (before[i] == of_no_keys)
        std::memcpy(head_out, head_part, static_cast<size_t>(head_dim) * sizeof(T));
      else
        blend(head_out, weight_before[i], head_part, weight_added[i], head_dim);
    }
  });
}

void merge_row(cpu::Elements out, cpu::Elements part, float* log_sum_exp, const float* part_log_sum_exp,
               int64_t heads, int64_t head_dim) {
  typed([&](auto* to, auto* from)
            HWY_ATTR { merge(to, from, log_sum_exp, part_log_sum_exp, heads, head_dim); },
        out, part);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(merge_row);

using cpu::at;

void CpuOperations::merge_attention(Tensor& out, Tensor& log_sum_exp, const Tensor& part,
                                    const Tensor& part_log_sum_exp) {
  check::merge_attention(dtype(), out, log_sum_exp, part, part_log_sum_exp);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(merge_row);
  const int64_t heads = out.dim(1), head_dim = out.dim(2);
  arena_.for_pieces(out.dim(0), cpu::rows_per_piece(heads * head_dim), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t)
      kernel(at(out, t), at(part, t), log_sum_exp.data<float>() + t * heads,
             part_log_sum_exp.data<float>() + t * heads, heads, head_dim);
  });
}

}  // namespace collie
#endif  // HWY_ONCE
