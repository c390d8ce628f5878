// Vector loops for the kernels. It is included once per instruction set (see hwy/foreach_target.h).
#if defined(COLLIE_KERNELS_CPU_VECTOR_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef COLLIE_KERNELS_CPU_VECTOR_INL_HPP
#undef COLLIE_KERNELS_CPU_VECTOR_INL_HPP
#else
#define COLLIE_KERNELS_CPU_VECTOR_INL_HPP
#endif

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
#include "kernels/cpu/elements.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Floats = hn::ScalableTag<float>;
using Vec = hn::Vec<Floats>;
using Halves = hn::Rebind<uint16_t, Floats>;  // the bits of as many bfloat16 numbers

HWY_INLINE Vec widened(hn::Vec<Halves> bits) {
  const hn::RebindToUnsigned<Floats> words;
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(words, bits)));
}

// Rounds to nearest even. NaN stays NaN.
HWY_INLINE hn::Vec<Halves> narrowed(Vec v) {
  const hn::RebindToUnsigned<Floats> words;
  const hn::RebindToSigned<Floats> integers;
  const auto bits = hn::BitCast(words, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1));
  const auto nearest = hn::Add(bits, hn::Add(odd, hn::Set(words, 0x7FFF)));
  const auto quiet = hn::Or(bits, hn::Set(words, 0x400000));
  const Vec kept = hn::IfThenElse(hn::IsNaN(v), hn::BitCast(Floats(), quiet), hn::BitCast(Floats(), nearest));
  const auto upper = hn::ShiftRight<16>(hn::BitCast(words, kept));
  return hn::DemoteTo(Halves(), hn::BitCast(integers, upper));
}

// Loads and stores of whole vectors.
struct Whole {
  HWY_INLINE Vec load(const float* p) const { return hn::LoadU(Floats(), p); }
  HWY_INLINE void store(Vec v, float* p) const { hn::StoreU(v, Floats(), p); }
  HWY_INLINE Vec load(const bfloat16* p) const { return widened(hn::LoadU(Halves(), &p->bits)); }
  HWY_INLINE void store(Vec v, bfloat16* p) const { hn::StoreU(narrowed(v), Halves(), &p->bits); }
  // Returns v, with `other` in lanes past the end, of which there are none here.
  HWY_INLINE Vec keep(Vec v, Vec) const { return v; }
};

// The last `count` elements of an array, fewer than a vector. Lanes past the end read as 0 and are not
// written.
struct Part {
  size_t count;
  HWY_INLINE Vec load(const float* p) const {
#if HWY_TARGET <= HWY_AVX2
    return hn::MaskedLoad(hn::FirstN(Floats(), count), Floats(), p);
#else
    HWY_ALIGN float lanes[hn::MaxLanes(Floats())] = {};
    std::memcpy(lanes, p, count * sizeof(float));
    return hn::Load(Floats(), lanes);
#endif
  }
  HWY_INLINE void store(Vec v, float* p) const {
#if HWY_TARGET <= HWY_AVX2
    hn::BlendedStore(v, hn::FirstN(Floats(), count), Floats(), p);
#else
    HWY_ALIGN float lanes[hn::MaxLanes(Floats())];
    hn::Store(v, Floats(), lanes);
    std::memcpy(p, lanes, count * sizeof(float));
#endif
  }
  HWY_INLINE Vec load(const bfloat16* p) const {
    HWY_ALIGN uint16_t lanes[hn::MaxLanes(Halves())] = {};
    std::memcpy(lanes, p, count * sizeof(bfloat16));
    return widened(hn::Load(Halves(), lanes));
  }
  HWY_INLINE void store(Vec v, bfloat16* p) const {
    HWY_ALIGN uint16_t lanes[hn::MaxLanes(Halves())];
    hn::Store(narrowed(v), Halves(), lanes);
    std::memcpy(p, lanes, count * sizeof(bfloat16));
  }
  HWY_INLINE Vec keep(Vec v, Vec other) const {
    return hn::IfThenElse(hn::FirstN(Floats(), count), v, other);
  }
};

// Calls body(i, access) for i = 0, lanes, 2·lanes, ... below n; access is Whole, or Part at the end.
template <class Body>
HWY_INLINE void for_each_vector(int64_t n, Body body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) body(i, Whole());
  if (i < n) body(i, Part{static_cast<size_t>(n - i)});
}

// Calls f with pointers to the elements, which must all be of one type.
template <class F, class... Same>
HWY_INLINE auto typed(F f, cpu::Elements first, Same... rest) {
  if (first.narrow) return f(static_cast<bfloat16*>(first.data), static_cast<bfloat16*>(rest.data)...);
  return f(static_cast<float*>(first.data), static_cast<float*>(rest.data)...);
}

HWY_INLINE Vec constant(float value) {
  return hn::Set(Floats(), value);
}

HWY_INLINE float sum_of_lanes(Vec v) {
  return hn::GetLane(hn::SumOfLanes(Floats(), v));
}
HWY_INLINE float max_of_lanes(Vec v) {
  return hn::GetLane(hn::MaxOfLanes(Floats(), v));
}

// e^x; NaN stays NaN, so that a broken run shows.
HWY_INLINE Vec exp_of(Vec x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(Floats(), x));
}

// 1 / (1 + e^-x), without overflow for any x.
HWY_INLINE Vec sigmoid(Vec x) {
  const Vec one = constant(1);
  const Vec e = exp_of(hn::Neg(hn::Abs(x)));
  const Vec numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(Floats())), e, one);
  return hn::Div(numerator, hn::Add(one, e));
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
