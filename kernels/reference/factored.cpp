#include <algorithm>
#include <cmath>

#include "kernels/checks.hpp"
#include "kernels/host_factored.hpp"
#include "kernels/reference/reference_operations.hpp"

namespace collie {

namespace {

// Calls f(value, row, column) for every element, multiplied by all that the tile says.
template <class F>
void for_elements(const MatrixTile& tile, const Tensor& factor, const double* scales, F&& f) {
  const double clip = tile.clipped ? host::value_of_factor(factor) : 1;
  const int64_t columns = tile.values.dim(1);
  for (int64_t i = 0; i < tile.values.dim(0); ++i)
    for (int64_t j = 0; j < columns; ++j) {
      double value = tile.values.data<double>()[i * columns + j] * clip;
      if (tile.row_scale >= 0) value *= scales[tile.row_scale + i];
      if (tile.column_scale >= 0) value *= scales[tile.column_scale + j];
      f(value, i, j);
    }
}

}  // namespace

void ReferenceOperations::line_maxima(std::span<const MatrixTile> tiles, const Tensor& factor,
                                      Tensor& maxima) {
  check::line_maxima(dtype(), tiles, factor, maxima);
  double* const all = maxima.data<double>();
  for (const MatrixTile& tile : tiles)
    for_elements(tile, factor, nullptr, [&](double value, int64_t row, int64_t column) {
      const auto raise = [&](int64_t first, int64_t line) {
        if (first >= 0 && std::abs(value) > all[first + line]) all[first + line] = std::abs(value);
      };
      raise(tile.row_line, row);
      raise(tile.column_line, column);
    });
}

void ReferenceOperations::line_sums_of_squares(std::span<const MatrixTile> tiles, const Tensor& factor,
                                               const Tensor& scales, const Tensor& bounds, Tensor& sums) {
  check::line_sums_of_squares(dtype(), tiles, factor, scales, bounds, sums);
  double* const all = sums.data<double>();
  for (const MatrixTile& tile : tiles)
    for_elements(tile, factor, scales.defined() ? scales.data<double>() : nullptr,
                 [&](double value, int64_t row, int64_t column) {
                   if (tile.row_line >= 0) all[tile.row_line + row] += value * value;
                   if (tile.column_line >= 0) all[tile.column_line + column] += value * value;
                 });
}

void ReferenceOperations::factored_moments(std::span<FactoredMatrix> matrices, const FactoredStep& step,
                                           const Tensor& factor, const Tensor& maxima, const Tensor& sums,
                                           Tensor& scales, Tensor& bounds) {
  check::factored_moments(dtype(), matrices, factor, maxima, sums, scales, bounds);
  for (const FactoredMatrix& matrix : matrices)
    host::factored_moments(matrix, step, host::value_of_factor(factor), maxima.data<double>(),
                           sums.data<double>(), scales.data<double>(), bounds.data<double>());
}

void ReferenceOperations::factored_rates(std::span<const FactoredMatrix> matrices, const FactoredStep& step,
                                         const Tensor& directions, const Tensor& weights, Tensor& rates) {
  check::factored_rates(dtype(), matrices, directions, weights, rates);
  double* of_matrix = rates.data<double>();
  for (const FactoredMatrix& matrix : matrices) {
    host::factored_rates(matrix, step, directions.data<double>(), weights.data<double>(), of_matrix);
    of_matrix += 2;
  }
}

void ReferenceOperations::factored_update(std::span<FactoredTile> tiles, const FactoredStep& step,
                                          const Tensor& factor, const Tensor& scales, const Tensor& rates,
                                          const Rounding&) {
  check::factored_update(dtype(), tiles, step, factor, scales, rates);
  if (std::isnan(host::value_of_factor(factor))) return;
  for (FactoredTile& tile : tiles) {
    const double* const by = rates.data<double>() + 2 * tile.matrix;
    double* const weight = tile.weight.data<double>();
    const MatrixTile gradient{
        .values = tile.gradient, .row_scale = tile.row_scale, .column_scale = tile.column_scale};
    for_elements(gradient, factor, scales.data<double>(), [&](double direction, int64_t row, int64_t column) {
      const int64_t at = row * tile.weight.dim(1) + column;
      double change = direction * by[1];
      if (tile.momentum.defined()) {
        double& mean = tile.momentum.data<double>()[at];
        change = mean = step.momentum * mean + (1 - step.momentum) * change;
      }
      weight[at] = weight[at] * by[0] - change;
    });
    if (tile.rounded.defined()) copy(tile.weight, tile.rounded);
  }
}

}  // namespace collie
