// Matrices that are held as codes (kernels/quantised_matrix.hpp).
#pragma once

#include <memory>

#include "models/linear.hpp"

namespace collie {

// weight [out, in], quantised and frozen; bias [out], or none. The products take some rows, or columns, of
// the weight at a time, as numbers of the operations' dtype: never the whole matrix. The sums are those of a
// dense matrix: a tile has whole rows where rows are multiplied, and whole columns where these are. Asserts
// that the matrix is quantised.
std::unique_ptr<Linear> make_quantised_linear(const MatrixIds& matrix);

// The elements of a tile of rows [.., in] or columns [out, ..], at most (but for the least number of them).
inline constexpr int64_t most_tile_elements = int64_t{1} << 21;

}  // namespace collie
