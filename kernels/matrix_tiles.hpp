// What operations on matrices take that ranks share: a rank holds some rectangles of a matrix, its tiles.
// What is computed of whole rows and columns stands in vectors that have an element per line, which is a row
// or a column of one of many matrices. Ranks combine these vectors and never the matrices.
#pragma once

#include <cstdint>

#include "kernels/rounding.hpp"
#include "kernels/tensor.hpp"

namespace collie {

// A rectangle of a matrix. If it is stored transposed, its rows are the matrix's columns, and the lines of
// its rows are the lines of these columns.
struct MatrixTile {
  Tensor values;  // [rows, columns], contiguous, in dtype() or accumulation_dtype()
  // Where the lines of its first row and column stand; the next ones follow. -1: there are none.
  int64_t row_line = -1, column_line = -1;
  // How many elements of the whole matrix are in such a line.
  int64_t row_elements = 0, column_elements = 0;
  // The elements are multiplied by these two of the scales, of their row and column; -1: they are not.
  int64_t row_scale = -1, column_scale = -1;
  bool clipped = true;  // they are multiplied by the factor, too
};

// A matrix with a factored second moment (Shazeer & Stern, arXiv 1804.04235), of which ranks hold tiles. A
// vector is a matrix with one row; it has no row_moments, because a mean of one row has nothing to divide by.
struct FactoredMatrix {
  int64_t rows = 0, columns = 0;       // of the whole matrix
  int64_t first_line = 0;              // the lines of its rows, then those of its columns
  int64_t first_row = 0;               // the lines of its rows in vectors that have rows alone
  Tensor row_moments, column_moments;  // [rows], [columns] in accumulation_dtype()
};

// One step of a rule with factored second moments (kernels/update_rule.hpp).
struct FactoredStep {
  double beta = 0;            // what is kept of the moments
  double eps = 0;             // added to the squares
  double clip_threshold = 1;  // the highest root mean square that a direction has
  double rate = 0;            // the learning rate
  double least_scale = -1;    // rate is of the weights' root mean square, or of this if it is more; -1: of 1
  double weight_decay = 0;    // of the rate and scale in force
  double momentum = 0;        // 0: none, and there is no state for it
};

// A rectangle of a matrix that a factored rule updates.
struct FactoredTile {
  Tensor weight, gradient;  // [rows, columns], contiguous, each in dtype() or accumulation_dtype()
  Tensor momentum;          // the same, or bfloat16; undefined if the step has none
  Tensor rounded;           // if defined: gets the new weight in dtype(), rounded to nearest
  int64_t row_scale = 0, column_scale = 0;  // as in MatrixTile
  int64_t matrix = 0;                       // the index of its rates
  uint64_t first_index = 0;                 // of UpdateTensors
};

}  // namespace collie
