#include "kernels/cpu/attention_scores.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_scores.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/philox-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

void cap_vectors(float* scores, int64_t count, float scale, float cap, float* slopes) {
  const Vec inner = constant(scale / cap), outer = constant(cap), steepest = constant(scale);
  for_each_vector(count, [&](int64_t i, auto access) HWY_ATTR {
    const Vec x = hn::Mul(access.load(scores + i), inner);
    const Vec t = hn::IfThenElse(hn::IsNaN(x), x, hn::Tanh(Floats(), x));
    access.store(hn::Mul(t, outer), scores + i);
    if (slopes == nullptr) return;
    access.store(hn::NegMulAdd(hn::Mul(t, t), steepest, steepest), slopes + i);
  });
}

constexpr int64_t keys_at_a_time = 512;

// One row of a tile. The words of four keys come together, so they begin at or before the first key.
void factor_row(const DropoutMask& mask, uint64_t query, uint32_t head, uint64_t first_key, int64_t keys,
                float* factors) {
  HWY_ALIGN uint32_t words[keys_at_a_time + 4 + most_words_beyond + hn::MaxLanes(Floats())];
  const hn::ScalableTag<uint32_t> words_tag;
  const auto last_dropped = hn::Set(words_tag, static_cast<uint32_t>(mask.dropped - 1));
  const Vec factor = constant(static_cast<float>(mask.factor));
  for (int64_t first = 0; first < keys; first += keys_at_a_time) {
    const int64_t count = HWY_MIN(keys_at_a_time, keys - first);
    const uint64_t key = first_key + static_cast<uint64_t>(first);
    const auto before = static_cast<int64_t>(key % 4);
    random_words(mask.key, query, static_cast<uint32_t>(key / 4), head, before + count, words);
    for_each_vector(count, [&](int64_t i, auto access) HWY_ATTR {
      const auto above = hn::Gt(hn::LoadU(words_tag, words + before + i), last_dropped);
      access.store(hn::IfThenElseZero(hn::RebindMask(Floats(), above), factor), factors + first + i);
    });
  }
}

void multiply_vectors(float* x, const float* factors, int64_t count) {
  for_each_vector(count, [&](int64_t i, auto access) HWY_ATTR {
    access.store(hn::Mul(access.load(x + i), access.load(factors + i)), x + i);
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(cap_vectors);
HWY_EXPORT(factor_row);
HWY_EXPORT(multiply_vectors);

void cpu::cap_scores(float* scores, int64_t count, float scale, float cap, float* slopes) {
  HWY_DYNAMIC_DISPATCH(cap_vectors)(scores, count, scale, cap, slopes);
}

void cpu::weight_factors(const WeightRows& rows, const DropoutMask& mask, float* factors) {
  const auto row = &HWY_DYNAMIC_DISPATCH(factor_row);
  for (int64_t i = 0; i < rows.count; ++i)
    row(mask, rows.queries[i], rows.head, rows.first_key, rows.keys, factors + i * rows.keys);
}

void cpu::multiply_by(float* x, const float* factors, int64_t count) {
  HWY_DYNAMIC_DISPATCH(multiply_vectors)(x, factors, count);
}

}  // namespace collie
#endif  // HWY_ONCE
