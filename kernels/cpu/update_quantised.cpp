// A piece of a range is decoded to floats that stay in the cache, updated like any other, and encoded.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/code_table.hpp"
#include "kernels/cpu/convert.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/cpu/rounder.hpp"
#include "kernels/cpu/update_kernel.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/update_quantised.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

using Integers = hn::RebindToSigned<Floats>;
using Words = hn::RebindToUnsigned<Floats>;
using Codes = hn::Rebind<uint8_t, Floats>;

// A block's values [quantisation_block].
void decode_block(const DynamicMap& map, const uint8_t* codes, float absmax, float* values) {
  const Vec scale = constant(absmax);
  for (int64_t i = 0; i < quantisation_block; i += static_cast<int64_t>(hn::Lanes(Floats()))) {
    const auto code = hn::PromoteTo(Integers(), hn::LoadU(Codes(), codes + i));
    hn::StoreU(hn::Mul(hn::GatherIndex(Floats(), map.values.data(), code), scale), Floats(), values + i);
  }
}

// The codes of a block's values [quantisation_block]. Returns the largest absolute value.
float encode_block(const DynamicMap& map, const cpu::CodeTable& table, const float* values, uint8_t* codes) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  Vec largest = hn::Zero(Floats());
  for (int64_t i = 0; i < quantisation_block; i += lanes)
    largest = hn::Max(largest, hn::Abs(hn::LoadU(Floats(), values + i)));
  const float absmax = max_of_lanes(largest);
  const Vec divisor = constant(absmax == 0 ? 1 : absmax);
  const Integers integers;
  for (int64_t i = 0; i < quantisation_block; i += lanes) {
    const Vec x = hn::Div(hn::LoadU(Floats(), values + i), divisor);
    const auto upper =
        hn::BitCast(integers, hn::ShiftRight<cpu::CodeTable::shift>(hn::BitCast(Words(), hn::Abs(x))));
    const auto cell =
        hn::Min(hn::Max(hn::Sub(upper, hn::Set(integers, cpu::CodeTable::first_cell)), hn::Zero(integers)),
                hn::Set(integers, cpu::CodeTable::cells - 1));
    const auto negative = hn::Lt(hn::BitCast(integers, x), hn::Zero(integers));
    const auto place = hn::Add(cell, hn::IfThenElseZero(negative, hn::Set(integers, cpu::CodeTable::cells)));
    const auto lowest = hn::GatherIndex(integers, table.lowest.data(), place);
    const auto above = hn::Gt(x, hn::GatherIndex(Floats(), map.midpoints.data(), lowest));
    const auto code =
        hn::Add(lowest, hn::IfThenElseZero(hn::RebindMask(integers, above), hn::Set(integers, 1)));
    const auto known = hn::IfThenZeroElse(hn::RebindMask(integers, hn::IsNaN(x)), code);
    hn::StoreU(hn::DemoteTo(Codes(), known), Codes(), codes + i);
  }
  return absmax;
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(decode_block);
HWY_EXPORT(encode_block);

namespace {

constexpr int64_t elements_at_a_time = 1024;
static_assert(cpu::piece_size % elements_at_a_time == 0 && elements_at_a_time % quantisation_block == 0);

// One state of a range.
class QuantisedState {
 public:
  QuantisedState(const QuantisedTensors& range, size_t which)
      : map_(dynamic_map(quantised_with_signs[which])),
        table_(cpu::code_table(quantised_with_signs[which])),
        codes_(range.codes[which].data<uint8_t>()),
        absmax_(range.absmax[which].data<float>()) {}

  // The elements [first, first + n), where a block begins. Both have room for whole blocks.
  void decode(int64_t first, int64_t n, float* values) const {
    for_blocks(n, [&](int64_t at, int64_t count) {
      uint8_t codes[quantisation_block] = {};
      std::memcpy(codes, codes_ + first + at, static_cast<size_t>(count));
      decode_(map_, codes, absmax_[(first + at) / quantisation_block], values + at);
    });
  }
  void encode(int64_t first, int64_t n, float* values) const {
    for_blocks(n, [&](int64_t at, int64_t count) {
      uint8_t codes[quantisation_block];
      std::fill(values + at + count, values + at + quantisation_block, 0.0F);
      absmax_[(first + at) / quantisation_block] = encode_(map_, table_, values + at, codes);
      std::memcpy(codes_ + first + at, codes, static_cast<size_t>(count));
    });
  }

 private:
  template <class F>
  static void for_blocks(int64_t n, F f) {
    for (int64_t at = 0; at < n; at += quantisation_block) f(at, std::min(quantisation_block, n - at));
  }

  const DynamicMap& map_;
  const cpu::CodeTable& table_;
  uint8_t* codes_;
  float* absmax_;
  decltype(&HWY_DYNAMIC_DISPATCH(decode_block)) decode_ = &HWY_DYNAMIC_DISPATCH(decode_block);
  decltype(&HWY_DYNAMIC_DISPATCH(encode_block)) encode_ = &HWY_DYNAMIC_DISPATCH(encode_block);
};

// The elements as floats: where they are, or converted.
float* floats_of(cpu::Elements x, int64_t n, float* buffer) {
  if (!x.narrow) return static_cast<float*>(x.data);
  cpu::convert(x, {buffer, false}, n);
  return buffer;
}

void update_quantised_piece(cpu::UpdateKernel kernel, int formula, const QuantisedTensors& range,
                            int64_t first, int64_t n, const cpu::FloatFactors& factors,
                            const cpu::Rounder& rounder) {
  float weights[elements_at_a_time], gradients[elements_at_a_time], states[2][elements_at_a_time];
  const cpu::Elements weight = cpu::elements_of(range.weight) + first;
  const QuantisedState moments[] = {{range, 0}, {range, 1}};
  for (size_t i = 0; i < 2; ++i) moments[i].decode(first, n, states[i]);
  float* const values = floats_of(weight, n, weights);
  kernel(formula,
         {values, floats_of(cpu::elements_of(range.gradient) + first, n, gradients), {states[0], states[1]}},
         factors, n);
  if (weight.narrow)
    rounder.store_rounded(values, 0, range.first_index + static_cast<uint64_t>(first), weight, n);
  for (size_t i = 0; i < 2; ++i) moments[i].encode(first, n, states[i]);
  if (range.rounded.defined()) cpu::convert(weight, cpu::elements_of(range.rounded) + first, n);
}

}  // namespace

void CpuOperations::update_quantised(std::span<QuantisedTensors> ranges, const ElementwiseUpdate& step) {
  check::update_quantised(dtype(), ranges, step);
  const double gradient_factor = step.gradient_factor_on_host();
  if (std::isnan(gradient_factor)) return;
  const cpu::UpdateKernel kernel = cpu::update_kernel();
  const cpu::FloatFactors factors = cpu::float_factors(step, gradient_factor);
  const cpu::Rounder rounder(step.rounding);
  for (const QuantisedTensors& range : ranges)
    arena_.for_pieces(range.weight.numel(), cpu::piece_size, [&](int64_t first, int64_t last) {
      for (; first < last; first += elements_at_a_time)
        update_quantised_piece(kernel, step.formula, range, first, std::min(elements_at_a_time, last - first),
                               factors, rounder);
    });
}

}  // namespace collie
#endif  // HWY_ONCE
