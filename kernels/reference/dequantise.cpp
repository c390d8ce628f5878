#include "kernels/checks.hpp"
#include "kernels/dynamic_map.hpp"
#include "kernels/reference/reference_operations.hpp"
#include "kernels/reference/view.hpp"

namespace collie {
namespace {

double scale_at(const QuantisedMatrix& matrix, int64_t row, int64_t block) {
  const int64_t at = row * matrix.scales.dim(1) + block;
  if (!matrix.quantisation.double_quant) return static_cast<double>(matrix.scales.data<float>()[at]);
  const int64_t of_whole = matrix.places.data<int32_t>()[2 * row] + block;
  const float rest = dynamic_map(true).values[matrix.scales.data<uint8_t>()[at]];
  return static_cast<double>(rest) *
             static_cast<double>(matrix.nested.data<float>()[of_whole / nested_block]) +
         static_cast<double>(matrix.offset);
}

double element_of(const QuantisedMatrix& matrix, int64_t row, int64_t column) {
  const uint8_t* const codes = matrix.codes.data<uint8_t>() + row * matrix.codes.dim(1);
  if (!matrix.quantisation.is_in_blocks())
    return static_cast<double>(static_cast<int8_t>(codes[column])) * scale_at(matrix, row, 0) *
           static_cast<double>(scale_of_int8);
  const uint8_t pair = codes[column / 2];
  const int64_t place = matrix.places.data<int32_t>()[2 * row + 1] + column;
  return static_cast<double>(
             values_of_codes(matrix.quantisation.kind)[column % 2 == 0 ? pair >> 4 : pair & 15]) *
         scale_at(matrix, row, place / matrix.quantisation.block_size);
}

}  // namespace

void ReferenceOperations::dequantise(const QuantisedMatrix& matrix, int64_t first_row, int64_t first_column,
                                     Tensor& tile) {
  check::dequantise(dtype(), matrix, first_row, first_column, tile);
  const reference::View values(tile);
  for (int64_t i = 0; i < tile.dim(0); ++i)
    for (int64_t j = 0; j < tile.dim(1); ++j)
      values(i, j) = element_of(matrix, first_row + i, first_column + j);
}

}  // namespace collie
