// The moments and rates of factored rules, of tables that compute on the host: vectors alone, and few of them
// beside the elements of matrices. T is accumulation_dtype().
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/matrix_tiles.hpp"

namespace collie::host {

// A step's factor of the gradients; 1 if there is none.
inline double value_of_factor(const Tensor& factor) {
  return factor.defined() ? *factor.data<double>() : 1;
}

// moments = beta · moments + (1 - beta) · (means of the squares + eps), the means over `count` elements.
template <class T>
void move_moments(const FactoredStep& step, bool moves, const double* sums, int64_t lines, int64_t count,
                  T* moments) {
  if (!moves) return;
  for (int64_t i = 0; i < lines; ++i) {
    const double mean = sums[i] / static_cast<double>(count) + step.eps;
    moments[i] = static_cast<T>(step.beta * static_cast<double>(moments[i]) + (1 - step.beta) * mean);
  }
}

template <class T>
void factored_moments(const FactoredMatrix& matrix, const FactoredStep& step, double factor, const T* maxima,
                      const double* sums, T* scales, T* bounds) {
  const int64_t rows = matrix.rows, columns = matrix.columns, first = matrix.first_line;
  const bool moves = !std::isnan(factor);
  T* const of_columns = matrix.column_moments.data<T>();
  move_moments(step, moves, sums + first + rows, columns, rows, of_columns);
  const T* const column_maxima = maxima + first + rows;
  T* const column_scales = scales + first + rows;
  double largest = 0, largest_scale = 0;
  for (int64_t j = 0; j < columns; ++j) {
    column_scales[j] = static_cast<T>(1 / std::sqrt(static_cast<double>(of_columns[j])));
    const auto scale = static_cast<double>(column_scales[j]);
    largest = std::max(largest, static_cast<double>(column_maxima[j]) * scale);
    largest_scale = std::max(largest_scale, scale);
  }
  double mean = 0;
  T* const of_rows = matrix.row_moments.defined() ? matrix.row_moments.data<T>() : nullptr;
  if (of_rows != nullptr) {
    move_moments(step, moves, sums + first, rows, columns, of_rows);
    for (int64_t i = 0; i < rows; ++i) mean += static_cast<double>(of_rows[i]);
    mean /= static_cast<double>(rows);
  }
  constexpr double slack = 1.0001;  // for the rounding of directions
  for (int64_t i = 0; i < rows; ++i) {
    const double scale = of_rows == nullptr ? 1 : std::sqrt(mean / static_cast<double>(of_rows[i]));
    scales[first + i] = static_cast<T>(scale);
    const double by_columns = scale * largest,
                 by_row = scale * static_cast<double>(maxima[first + i]) * largest_scale;
    bounds[matrix.first_row + i] = static_cast<T>(std::min(by_columns, by_row) * slack);
  }
}

template <class T>
void factored_rates(const FactoredMatrix& matrix, const FactoredStep& step, const double* directions,
                    const double* weights, T* rates) {
  const auto root_mean_square = [&](const double* squares) {
    double sum = 0;
    for (int64_t i = 0; i < matrix.rows; ++i) sum += squares[matrix.first_row + i];
    return std::sqrt(sum / static_cast<double>(matrix.rows * matrix.columns));
  };
  const double scale = step.least_scale < 0 ? 1 : std::max(step.least_scale, root_mean_square(weights));
  const double rate = step.rate * scale;
  const double too_large = std::max(1.0, root_mean_square(directions) / step.clip_threshold);
  rates[0] = static_cast<T>(1 - rate * step.weight_decay);
  rates[1] = static_cast<T>(rate / too_large);
}

}  // namespace collie::host
