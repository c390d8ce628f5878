// Codes become numbers through a table of pairs, one for each byte, and are then multiplied by their scale.
#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/dynamic_map.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dequantise.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

constexpr int64_t codes_at_a_time = 512;

// out[i] = values[i] · first · second, each product rounded.
HWY_INLINE void scale_codes(const float* values, float first, float second, cpu::Elements out, int64_t n) {
  const Vec f = constant(first), s = constant(second);
  typed(
      [&](auto* to) HWY_ATTR {
        for_each_vector(n, [&](int64_t i, auto access) HWY_ATTR {
          access.store(hn::Mul(hn::Mul(access.load(values + i), f), s), to + i);
        });
      },
      out);
}

// Eight numbers at a time, from the codes in four bytes: each lane shifts its own to its lowest bits, and
// finds the number in one of two registers. Returns how many were made.
HWY_INLINE int64_t decode_eights(const float* numbers, const uint8_t* codes, int64_t n, float scale,
                                 float* out) {
#if HWY_TARGET <= HWY_AVX2
  const hn::CappedTag<float, 8> floats;
  const hn::RebindToUnsigned<decltype(floats)> words;
  const hn::RebindToSigned<decltype(floats)> integers;
  HWY_ALIGN constexpr uint32_t shifts[8] = {4, 0, 12, 8, 20, 16, 28, 24};
  const auto shift = hn::Load(words, shifts), seven = hn::Set(words, 7), eight = hn::Set(words, 8);
  const auto low = hn::LoadU(floats, numbers), high = hn::LoadU(floats, numbers + 8);
  const auto factor = hn::Set(floats, scale);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint32_t bytes;
    std::memcpy(&bytes, codes + i / 2, sizeof(bytes));
    const auto code = hn::Shr(hn::Set(words, bytes), shift);
    const auto place = hn::IndicesFromVec(floats, hn::BitCast(integers, hn::And(code, seven)));
    const auto is_low = hn::RebindMask(floats, hn::Eq(hn::And(code, eight), hn::Zero(words)));
    const auto number =
        hn::IfThenElse(is_low, hn::TableLookupLanes(low, place), hn::TableLookupLanes(high, place));
    hn::StoreU(hn::Mul(number, factor), floats, out + i);
  }
  return i;
#else
  static_cast<void>(numbers), static_cast<void>(codes), static_cast<void>(n), static_cast<void>(scale);
  static_cast<void>(out);
  return 0;
#endif
}

// The same of any number from number `first` on. pairs: the numbers of each byte.
HWY_INLINE void decode_pairs(const float* pairs, const uint8_t* codes, int64_t first, int64_t n, float scale,
                             float* out) {
  HWY_ALIGN float values[codes_at_a_time + 2];
  const int64_t lead = first % 2;
  for (int64_t i = 0; i < (lead + n + 1) / 2; ++i)
    std::memcpy(values + 2 * i, pairs + 2 * int64_t{codes[first / 2 + i]}, 2 * sizeof(float));
  for (int64_t i = 0; i < n; ++i) out[i] = values[lead + i] * scale;
}

// Codes of 4 bits, two a byte, from number `first` on. numbers: of the codes; pairs: of each byte.
void decode_short(const float* numbers, const float* pairs, const uint8_t* codes, int64_t first, int64_t n,
                  float scale, cpu::Elements out) {
  HWY_ALIGN float values[codes_at_a_time];
  while (n > 0) {
    const int64_t count = HWY_MIN(n, codes_at_a_time);
    float* const to = out.narrow ? values : static_cast<float*>(out.data);
    const int64_t done = first % 2 == 0 ? decode_eights(numbers, codes + first / 2, count, scale, to) : 0;
    if (done < count) decode_pairs(pairs, codes, first + done, count - done, scale, to + done);
    if (out.narrow)
      for_each_vector(count, [&](int64_t i, auto access) HWY_ATTR {
        access.store(access.load(values + i), static_cast<bfloat16*>(out.data) + i);
      });
    first += count;
    n -= count;
    out = out + count;
  }
}

void decode_int8(const uint8_t* codes, int64_t n, float scale, float unit, cpu::Elements out) {
  HWY_ALIGN float values[codes_at_a_time];
  for (; n > 0; n -= codes_at_a_time, codes += codes_at_a_time, out = out + codes_at_a_time) {
    const int64_t count = HWY_MIN(n, codes_at_a_time);
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(static_cast<int8_t>(codes[i]));
    scale_codes(values, scale, unit, out, count);
  }
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(decode_short);
HWY_EXPORT(decode_int8);

namespace {

using CodePairs = std::array<float, 512>;

CodePairs make_pairs(QuantisedKind kind) {
  const std::array<float, short_codes>& values = values_of_codes(kind);
  CodePairs pairs{};
  for (size_t byte = 0; byte < 256; ++byte) {
    pairs[2 * byte] = values[byte >> 4];
    pairs[2 * byte + 1] = values[byte & 15];
  }
  return pairs;
}

const float* pairs_of(QuantisedKind kind) {
  static const CodePairs normal = make_pairs(QuantisedKind::nf4), real = make_pairs(QuantisedKind::fp4);
  return (kind == QuantisedKind::nf4 ? normal : real).data();
}

// Columns of one row of a matrix in blocks.
class BlockRow {
 public:
  BlockRow(const QuantisedMatrix& matrix, int64_t row)
      : matrix_(matrix),
        codes_(matrix.codes.data<uint8_t>() + row * matrix.codes.dim(1)),
        first_scale_(row * matrix.scales.dim(1)),
        first_block_(matrix.places.data<int32_t>()[2 * row]),
        lead_(matrix.places.data<int32_t>()[2 * row + 1]) {}

  void decode(int64_t column, int64_t columns, cpu::Elements out) const {
    const auto kernel = &HWY_DYNAMIC_DISPATCH(decode_short);
    const float *const numbers = values_of_codes(matrix_.quantisation.kind).data(),
                       *const pairs = pairs_of(matrix_.quantisation.kind);
    const int64_t size = matrix_.quantisation.block_size, end = column + columns;
    for (int64_t block = (lead_ + column) / size; column < end; ++block) {
      const int64_t stop = std::min(end, (block + 1) * size - lead_);
      kernel(numbers, pairs, codes_, column, stop - column, scale(block), out);
      out = out + (stop - column);
      column = stop;
    }
  }

 private:
  float scale(int64_t block) const {
    if (!matrix_.quantisation.double_quant) return matrix_.scales.data<float>()[first_scale_ + block];
    const float rest = map_.values[matrix_.scales.data<uint8_t>()[first_scale_ + block]] *
                       matrix_.nested.data<float>()[(first_block_ + block) / nested_block];
    return rest + matrix_.offset;
  }

  const QuantisedMatrix& matrix_;
  const DynamicMap& map_ = dynamic_map(true);
  const uint8_t* codes_;
  int64_t first_scale_, first_block_, lead_;
};

}  // namespace

void CpuOperations::dequantise(const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                               Tensor& tile) {
  check::dequantise(dtype(), matrix, first_row, first_column, tile);
  const auto int8 = &HWY_DYNAMIC_DISPATCH(decode_int8);
  const int64_t columns = tile.dim(1);
  arena_.for_pieces(tile.dim(0), cpu::rows_per_piece(columns), [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const int64_t row = first_row + i;
      if (matrix.quantisation.is_in_blocks())
        BlockRow(matrix, row).decode(first_column, columns, cpu::at(tile, i));
      else
        int8(matrix.codes.data<uint8_t>() + row * matrix.columns + first_column, columns,
             matrix.scales.data<float>()[row], scale_of_int8, cpu::at(tile, i));
    }
  });
}

}  // namespace collie
#endif  // HWY_ONCE
