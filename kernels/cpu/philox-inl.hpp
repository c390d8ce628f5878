// Philox4x32 (base/random.hpp) for many counters at a time. It is included once per instruction set (see
// hwy/foreach_target.h).
#if defined(COLLIE_KERNELS_CPU_PHILOX_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef COLLIE_KERNELS_CPU_PHILOX_INL_HPP
#undef COLLIE_KERNELS_CPU_PHILOX_INL_HPP
#else
#define COLLIE_KERNELS_CPU_PHILOX_INL_HPP
#endif

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using Blocks = hn::ScalableTag<uint64_t>;  // one counter a lane
using BlockVec = hn::Vec<Blocks>;

// random_words() may write this many words more than it is asked for.
constexpr int64_t most_words_beyond = 4 * hn::MaxLanes(Blocks());

// The product of the low halves.
HWY_INLINE BlockVec product(BlockVec a, BlockVec b) {
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(Blocks(),
                 uint64_t{static_cast<uint32_t>(hn::GetLane(a))} * static_cast<uint32_t>(hn::GetLane(b)));
#else
  using Words = hn::Repartition<uint32_t, Blocks>;
  return hn::MulEven(hn::BitCast(Words(), a), hn::BitCast(Words(), b));
#endif
}

// words[i], i < count: word i % 4 of the block with the counter {low half of row, high half of row, first + i
// / 4, plane}. Each lane holds a word of one block in its low half. What is in the high halves does not
// matter before the end.
HWY_INLINE void random_words(uint64_t key, uint64_t row, uint32_t first, uint32_t plane, int64_t count,
                             uint32_t* words) {
  const Blocks d;
  const BlockVec multiplier0 = hn::Set(d, 0xD2511F53U), multiplier1 = hn::Set(d, 0xCD9E8D57U);
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < count; i += 4 * lanes) {
    BlockVec word0 = hn::Set(d, row & 0xFFFFFFFFU), word1 = hn::Set(d, row >> 32),
             word2 = hn::Iota(d, static_cast<uint64_t>(first) + static_cast<uint64_t>(i / 4)),
             word3 = hn::Set(d, plane);
    auto key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const BlockVec product0 = product(multiplier0, word0), product1 = product(multiplier1, word2);
      word0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), word1), hn::Set(d, key0));
      word1 = product1;
      word2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), word3), hn::Set(d, key1));
      word3 = product0;
      key0 += 0x9E3779B9U;
      key1 += 0xBB67AE85U;
    }
    const BlockVec low = hn::Set(d, 0xFFFFFFFFU);
    const BlockVec front = hn::Or(hn::And(word0, low), hn::ShiftLeft<32>(word1));
    const BlockVec back = hn::Or(hn::And(word2, low), hn::ShiftLeft<32>(word3));
    hn::StoreInterleaved2(front, back, d, reinterpret_cast<uint64_t*>(words + i));
  }
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
