#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using cpu::Elements;

// Splits the 2 count elements of count pairs, which are neighbours, and puts them together again.
template <class T>
HWY_INLINE void split_pairs(const T* pairs, int64_t count, float* first, float* second) {
  for (int64_t i = 0; i < count; ++i) {
    first[i] = to_float(pairs[2 * i]);
    second[i] = to_float(pairs[2 * i + 1]);
  }
}

template <class T>
HWY_INLINE void join_pairs(const float* first, const float* second, int64_t count, T* pairs) {
  for (int64_t i = 0; i < count; ++i) {
    collie::store(first[i], pairs + 2 * i);
    collie::store(second[i], pairs + 2 * i + 1);
  }
}

// Turns all heads of one token, whose pairs are neighbours. direction: 1 turns by the angle, -1 back.
template <class T>
HWY_INLINE void turn_neighbours(T* x, int64_t heads, int64_t head_dim, const float* cosines,
                                const float* sines, int64_t half, float direction) {
  constexpr int64_t at_once = 64;
  HWY_ALIGN float first[at_once], second[at_once];
  const Vec sign = constant(direction);
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t begin = 0; begin < half; begin += at_once) {
      const int64_t count = half - begin < at_once ? half - begin : at_once;
      T* const pairs = x + h * head_dim + 2 * begin;
      split_pairs(pairs, count, first, second);
      for_each_vector(count, [&](int64_t i, auto access) HWY_ATTR {
        const Vec c = access.load(cosines + begin + i), s = hn::Mul(access.load(sines + begin + i), sign);
        const Vec a = access.load(first + i), b = access.load(second + i);
        access.store(hn::NegMulAdd(b, s, hn::Mul(a, c)), first + i);
        access.store(hn::MulAdd(a, s, hn::Mul(b, c)), second + i);
      });
      join_pairs(first, second, count, pairs);
    }
}

// The same where pairs are an element of the first half and one of the second.
template <class T>
HWY_INLINE void turn(T* x, int64_t heads, int64_t head_dim, const float* cosines, const float* sines,
                     int64_t half, float direction) {
  const Vec sign = constant(direction);
  for_each_vector(half, [&](int64_t i, auto access) HWY_ATTR {
    const Vec c = access.load(cosines + i), s = hn::Mul(access.load(sines + i), sign);
    for (int64_t h = 0; h < heads; ++h) {
      T* const head = x + h * head_dim;
      const Vec first = access.load(head + i), second = access.load(head + half + i);
      access.store(hn::NegMulAdd(second, s, hn::Mul(first, c)), head + i);
      access.store(hn::MulAdd(first, s, hn::Mul(second, c)), head + half + i);
    }
  });
}

void rope_token(Elements x, int64_t heads, int64_t head_dim, const float* cosines, const float* sines,
                int64_t half, float direction, bool neighbours) {
  typed(
      [&](auto* token) HWY_ATTR {
        if (neighbours) return turn_neighbours(token, heads, head_dim, cosines, sines, half, direction);
        turn(token, heads, head_dim, cosines, sines, half, direction);
      },
      x);
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(rope_token);

using cpu::at, cpu::float_at;

void CpuOperations::rope(Tensor& x, const Tensor& cosines, const Tensor& sines,
                         std::span<const int32_t> positions, bool inverse, RotaryPairs pairs) {
  check::rope(dtype(), x, cosines, sines, positions);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(rope_token);
  const int64_t heads = x.dim(1), head_dim = x.dim(2), half = cosines.dim(1);
  arena_.for_pieces(x.dim(0), cpu::rows_per_piece(heads * 2 * half), [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const int32_t position = positions[static_cast<size_t>(t)];
      kernel(at(x, t), heads, head_dim, float_at(cosines, position), float_at(sines, position), half,
             inverse ? -1.0F : 1.0F, pairs == RotaryPairs::neighbours);
    }
  });
}

}  // namespace collie
#endif  // HWY_ONCE
