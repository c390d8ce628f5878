// Matrices whose elements are codes of 4 or 8 bits, as bitsandbytes stores them (QLoRA: Dettmers et al.,
// arXiv 2305.14314; LLM.int8(): Dettmers et al., arXiv 2208.07339), and what a rank holds of one.
//
// With 4 bits, consecutive elements of the flattened whole matrix [out, in] are a block, whichever rows they
// are of. An element is the number that its code stands for times its block's scale. With `double_quant` the
// scales are themselves codes of a DynamicMap (kernels/dynamic_map.hpp), in blocks of `nested_block`, of what
// is left of a scale when `offset` is taken off it. With int8 a row has one scale, its largest absolute
// value, and an element is code · scale / 127.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "kernels/tensor.hpp"

namespace collie {

enum class QuantisedKind : uint8_t { none, nf4, fp4, int8 };
std::string_view name(QuantisedKind kind);  // "nf4", ...

struct Quantisation {
  QuantisedKind kind = QuantisedKind::none;
  bool double_quant = false;  // of 4 bits alone
  int64_t block_size = 64;    // elements that share a scale; of 4 bits alone, and a multiple of 2

  bool is_there() const { return kind != QuantisedKind::none; }
  bool is_in_blocks() const { return kind == QuantisedKind::nf4 || kind == QuantisedKind::fp4; }
  bool operator==(const Quantisation&) const = default;
};

inline constexpr int64_t nested_block = 256;                   // scales that share a scale
inline constexpr int short_codes = 16;                         // numbers that 4 bits stand for
inline constexpr float scale_of_int8 = 7.874015718698502e-3F;  // 1 / 127

// The numbers that codes of nf4 and fp4 stand for, by code. Those of nf4 ascend, quantiles of a normal
// distribution; those of fp4 have a sign, two bits of an exponent and one of a mantissa, divided by 12.
const std::array<float, short_codes>& values_of_codes(QuantisedKind kind);

// Some rows of some neighbouring columns of a whole matrix [out, in].
struct QuantisedMatrix {
  Quantisation quantisation;
  int64_t rows = 0, columns = 0;  // that are held
  Tensor
      codes;  // u8 [rows, code_bytes()]: of 4 bits two in a byte, the even column's the upper; int8: signed
  Tensor places;  // i32 [rows, 2], of blocks alone: the block, in the whole, of a row's first element, and
                  // the number of that element in the block
  Tensor scales;  // f32 [rows, blocks that a row touches, at most]; with double_quant their codes, u8
  Tensor nested;  // f32 [blocks of scales of the whole]: with double_quant, the scales of scales
  float offset = 0;

  // Bytes of the codes of `columns` elements of a row.
  static int64_t code_bytes(const Quantisation& quantisation, int64_t columns);
  // The most blocks that columns [first, first + columns) of a row of `whole_columns` are of; 1 for int8.
  static int64_t blocks_of_row(const Quantisation& quantisation, int64_t whole_columns, int64_t first,
                               int64_t columns);
};

}  // namespace collie
