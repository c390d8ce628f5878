// The part of a quantised matrix that a rank holds, cut out of the whole.
#pragma once

#include <vector>

#include "kernels/operations.hpp"
#include "kernels/quantise.hpp"

namespace collie {

// Rows that follow each other in the whole matrix.
struct RowRun {
  int64_t first = 0, count = 0;
};

// Runs of rows, one below the other, of some neighbouring columns.
struct HeldPart {
  int64_t whole_rows = 0, whole_columns = 0;
  std::vector<RowRun> runs;
  int64_t first_column = 0, columns = 0;

  int64_t rows() const;
};

// Memory for it, charged to the weights. Its values are to be filled in.
QuantisedMatrix make_quantised_matrix(Operations& operations, const Quantisation& quantisation,
                                      const HeldPart& part);
// Asserts that the part is one of `whole`.
void fill_quantised_matrix(Operations& operations, const WholeQuantised& whole, const HeldPart& part,
                           QuantisedMatrix& matrix);

}  // namespace collie
