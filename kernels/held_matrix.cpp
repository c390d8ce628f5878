#include "kernels/held_matrix.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.hpp"

namespace collie {
namespace {

// Memory of the host, in which a part is put together.
class Scratch {
 public:
  Tensor like(const Tensor& x) const {
    return Tensor::host(x.shape(), x.dtype(), account_, Category::workspace);
  }

 private:
  std::shared_ptr<MemoryAccount> account_ = std::make_shared<MemoryAccount>();
};

// Columns of one row of the whole matrix, from element `first` of the flattened whole on.
void copy_codes(const WholeQuantised& whole, int64_t first, int64_t columns, uint8_t* to) {
  if (!whole.quantisation.is_in_blocks()) {
    std::copy_n(whole.codes.begin() + first, columns, to);
    return;
  }
  if (first % 2 == 0) {
    std::copy_n(whole.codes.begin() + first / 2, QuantisedMatrix::code_bytes(whole.quantisation, columns),
                to);
    return;
  }
  const auto code = [&](int64_t at) {
    const uint8_t pair = whole.codes[static_cast<size_t>(at / 2)];
    return at % 2 == 0 ? pair >> 4 : pair & 15;
  };
  for (int64_t column = 0; column < columns; column += 2) {
    const int second = column + 1 < columns ? code(first + column + 1) : 0;
    *to++ = static_cast<uint8_t>(code(first + column) << 4 | second);
  }
}

// Calls f(row of the part, row of the whole).
template <class F>
void for_each_row(const HeldPart& part, F f) {
  int64_t held = 0;
  for (const RowRun& run : part.runs)
    for (int64_t i = 0; i < run.count; ++i) f(held++, run.first + i);
}

// The scales of the blocks that each row touches, or of the row.
template <class T>
void copy_scales(const WholeQuantised& whole, const HeldPart& part, const std::vector<T>& from, Tensor& to) {
  const int64_t per_row = to.dim(1), size = whole.quantisation.block_size;
  std::fill_n(to.data<T>(), to.numel(), T{});
  for_each_row(part, [&](int64_t held, int64_t row) {
    const bool in_blocks = whole.quantisation.is_in_blocks();
    const int64_t element = row * whole.columns + part.first_column, first = in_blocks ? element / size : row,
                  last = in_blocks ? (element + part.columns - 1) / size : row;
    COLLIE_ASSERT(last - first < per_row, "blocks {} to {} of a row, which has {}", first, last, per_row);
    std::copy(from.begin() + first, from.begin() + last + 1, to.data<T>() + held * per_row);
  });
}

}  // namespace

int64_t HeldPart::rows() const {
  int64_t rows = 0;
  for (const RowRun& run : runs) rows += run.count;
  return rows;
}

QuantisedMatrix make_quantised_matrix(Operations& operations, const Quantisation& quantisation,
                                      const HeldPart& part) {
  QuantisedMatrix matrix{quantisation, part.rows(), part.columns, {}, {}, {}, {}, 0};
  const auto memory = [&](const Shape& shape, DType dtype) {
    return operations.empty(shape, dtype, Category::weights);
  };
  matrix.codes = memory({matrix.rows, QuantisedMatrix::code_bytes(quantisation, matrix.columns)}, DType::u8);
  const int64_t blocks =
      QuantisedMatrix::blocks_of_row(quantisation, part.whole_columns, part.first_column, matrix.columns);
  matrix.scales = memory({matrix.rows, blocks}, quantisation.double_quant ? DType::u8 : DType::f32);
  if (quantisation.is_in_blocks()) matrix.places = memory({matrix.rows, 2}, DType::i32);
  if (quantisation.double_quant)
    matrix.nested = memory({nested_count(quantisation, part.whole_rows, part.whole_columns)}, DType::f32);
  return matrix;
}

void fill_quantised_matrix(Operations& operations, const WholeQuantised& whole, const HeldPart& part,
                           QuantisedMatrix& matrix) {
  COLLIE_ASSERT(whole.rows == part.whole_rows && whole.columns == part.whole_columns &&
                    whole.quantisation == matrix.quantisation,
                "a part of [{}, {}] filled from [{}, {}]", part.whole_rows, part.whole_columns, whole.rows,
                whole.columns);
  const Scratch scratch;
  Tensor codes = scratch.like(matrix.codes);
  for_each_row(part, [&](int64_t held, int64_t row) {
    copy_codes(whole, row * whole.columns + part.first_column, part.columns,
               codes.data<uint8_t>() + held * codes.dim(1));
  });
  operations.from_host(codes, matrix.codes);
  Tensor scales = scratch.like(matrix.scales);
  if (matrix.quantisation.double_quant)
    copy_scales(whole, part, whole.scale_codes, scales);
  else
    copy_scales(whole, part, whole.scales, scales);
  operations.from_host(scales, matrix.scales);
  if (!matrix.quantisation.is_in_blocks()) return;
  const int64_t size = matrix.quantisation.block_size;
  COLLIE_ASSERT(
      scale_count(matrix.quantisation, whole.rows, whole.columns) <= std::numeric_limits<int32_t>::max(),
      "a matrix [{}, {}] of too many blocks", whole.rows, whole.columns);
  Tensor places = scratch.like(matrix.places);
  for_each_row(part, [&](int64_t held, int64_t row) {
    const int64_t element = row * whole.columns + part.first_column;
    places.data<int32_t>()[2 * held] = static_cast<int32_t>(element / size);
    places.data<int32_t>()[2 * held + 1] = static_cast<int32_t>(element % size);
  });
  operations.from_host(places, matrix.places);
  if (!matrix.quantisation.double_quant) return;
  Tensor nested = scratch.like(matrix.nested);
  std::copy(whole.nested_scales.begin(), whole.nested_scales.end(), nested.data<float>());
  operations.from_host(nested, matrix.nested);
  matrix.offset = whole.offset;
}

}  // namespace collie
