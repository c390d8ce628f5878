// Makes codes of numbers, and numbers of codes, of whole matrices in the host's memory. Codes and scales have
// the bits of bitsandbytes' functions for the CPU (version 0.50; with PyTorch on one thread, whose sum the
// offset depends on).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "kernels/quantised_matrix.hpp"

namespace collie {

// A whole matrix [rows, columns], as bitsandbytes stores it.
struct WholeQuantised {
  Quantisation quantisation;
  int64_t rows = 0, columns = 0;
  // 4 bits: [elements / 2, rounded up], of each two the first in the upper half; int8: [elements], signed.
  std::vector<uint8_t> codes;
  std::vector<float> scales;         // [blocks], [rows] of int8; empty with double_quant
  std::vector<uint8_t> scale_codes;  // [blocks], with double_quant
  std::vector<float> nested_scales;  // [blocks of scales], with double_quant
  float offset = 0;                  // with double_quant

  int64_t elements() const { return rows * columns; }
  // Of a block, or of a row of int8.
  float scale(int64_t index) const;
  // Values [begin, begin + values.size()) of the flattened matrix, in float32.
  void decode(int64_t begin, std::span<float> values) const;
};

// How many scales, and scales of scales, such a matrix has.
int64_t scale_count(const Quantisation& quantisation, int64_t rows, int64_t columns);
int64_t nested_count(const Quantisation& quantisation, int64_t rows, int64_t columns);

// Fills `values` with the elements [begin, begin + values.size()) of the flattened matrix.
using ReadElements = std::function<void(int64_t begin, std::span<float> values)>;
// Calls f(first, last) for pieces of [0, count), each `piece` long but the last, on as many threads as there
// are.
using OnPieces = std::function<void(int64_t count, int64_t piece,
                                    const std::function<void(int64_t first, int64_t last)>& f)>;

// Reads the elements from the first to the last, some millions at a time. What is not finite gets any code;
// the result's scales are not finite then.
WholeQuantised quantise(const Quantisation& quantisation, int64_t rows, int64_t columns,
                        const ReadElements& read, const OnPieces& on_pieces);

// Of one block: its codes, one a byte, and its scale. `is_whole`: it has block_size elements.
float encode_block(QuantisedKind kind, std::span<const float> values, bool is_whole,
                   std::span<uint8_t> codes);
// Of one row of int8.
float encode_row(std::span<const float> values, std::span<uint8_t> codes);
// Makes codes of all scales of a matrix.
void quantise_scales(WholeQuantised& whole, std::span<const float> scales);

}  // namespace collie
