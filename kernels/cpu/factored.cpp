// Tasks are blocks of rows of a tile. Each combines what it found of its lines with the other tasks' under a
// lock: maxima and rounded sums have the same bits in any order (kernels/exact_sum.hpp).
#include <algorithm>
#include <cmath>
#include <mutex>
#include <vector>

#include "kernels/checks.hpp"
#include "kernels/cpu/cpu_operations.hpp"
#include "kernels/cpu/pieces.hpp"
#include "kernels/cpu/rounder.hpp"
#include "kernels/exact_sum.hpp"
#include "kernels/host_factored.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/factored.cpp"
#include "hwy/foreach_target.h"

#include "kernels/cpu/vector-inl.hpp"

#ifndef COLLIE_KERNELS_CPU_FACTORED_ARRAYS
#define COLLIE_KERNELS_CPU_FACTORED_ARRAYS
namespace collie {
// What multiplies the elements of a row.
struct RowScales {
  float factor, row;
  const float* columns;  // null: nothing
};
struct FactoredRow {
  float *weight, *momentum;  // momentum may be null
  const float* gradient;
};
struct FactoredRates {
  float decay, rate, kept, rest;  // of the weight; of the direction; of the running mean
};
}  // namespace collie
#endif

HWY_BEFORE_NAMESPACE();
namespace collie::HWY_NAMESPACE {

// The largest |x · factor|, and the columns' raised to theirs; columns may be null.
float maxima_of_row(const float* x, int64_t n, float factor, float* columns) {
  const Vec scale = constant(factor);
  Vec most = constant(0);
  for_each_vector(n, [&](int64_t j, auto access) HWY_ATTR {
    const Vec size = hn::Abs(hn::Mul(access.load(x + j), scale));
    const Vec found = hn::IfThenElse(hn::IsNaN(size), constant(0), size);
    most = hn::Max(most, found);
    if (columns != nullptr) access.store(hn::Max(access.load(columns + j), found), columns + j);
  });
  return max_of_lanes(most);
}

// The sum of the squares of x · scales, and the columns' increased by theirs, each rounded by its anchor.
double squares_of_row(const float* x, int64_t n, const RowScales& scales, double anchor,
                      const double* column_anchors, double* columns) {
  const hn::ScalableTag<double> doubles;
  const hn::Rebind<float, decltype(doubles)> floats;
  using Values = hn::Vec<decltype(doubles)>;
  const auto lanes = static_cast<int64_t>(hn::Lanes(doubles));
  const Values of_row = hn::Set(doubles, anchor);
  Values sum = hn::Zero(doubles);
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    auto value = hn::Mul(hn::Mul(hn::LoadU(floats, x + j), hn::Set(floats, scales.factor)),
                         hn::Set(floats, scales.row));
    if (scales.columns != nullptr) value = hn::Mul(value, hn::LoadU(floats, scales.columns + j));
    const Values wide = hn::PromoteTo(doubles, value);
    const Values square = hn::Mul(wide, wide);  // exact, so that it may be fused with what follows
    sum = hn::Add(sum, hn::Sub(hn::Add(square, of_row), of_row));
    if (columns == nullptr) continue;
    const Values of_columns = hn::LoadU(doubles, column_anchors + j);
    const Values rounded = hn::Sub(hn::Add(square, of_columns), of_columns);
    hn::StoreU(hn::Add(hn::LoadU(doubles, columns + j), rounded), doubles, columns + j);
  }
  double total = hn::GetLane(hn::SumOfLanes(doubles, sum));
  for (; j < n; ++j) {
    float value = x[j] * scales.factor;
    value *= scales.row;
    if (scales.columns != nullptr) value *= scales.columns[j];
    const double square = static_cast<double>(value) * static_cast<double>(value);
    total += rounded_term(square, anchor);
    if (columns != nullptr) columns[j] += rounded_term(square, column_anchors[j]);
  }
  return total;
}

void update_row(const FactoredRow& row, int64_t n, const RowScales& scales, const FactoredRates& by) {
  const Vec factor = constant(scales.factor), of_row = constant(scales.row);
  for_each_vector(n, [&](int64_t j, auto access) HWY_ATTR {
    const Vec direction = hn::Mul(hn::Mul(hn::Mul(access.load(row.gradient + j), factor), of_row),
                                  access.load(scales.columns + j));
    Vec change = hn::Mul(direction, constant(by.rate));
    if (row.momentum != nullptr) {
      change =
          hn::MulAdd(constant(by.rest), change, hn::Mul(constant(by.kept), access.load(row.momentum + j)));
      access.store(change, row.momentum + j);
    }
    access.store(hn::Sub(hn::Mul(access.load(row.weight + j), constant(by.decay)), change), row.weight + j);
  });
}

}  // namespace collie::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace collie {

HWY_EXPORT(maxima_of_row);
HWY_EXPORT(squares_of_row);
HWY_EXPORT(update_row);

namespace {

// A task has enough rows that combining its columns with other tasks' costs little.
int64_t rows_per_task(const Tensor& tile) {
  constexpr int64_t fewest_rows = 16;
  return std::max(fewest_rows, cpu::rows_per_piece(tile.dim(1)));
}

// Row `row` as floats: in place, or in `converted`.
const float* floats_of_row(const Tensor& x, int64_t row, std::vector<float>& converted) {
  const cpu::Elements elements = cpu::elements_of(x) + row * x.dim(1);
  if (!elements.narrow) return static_cast<const float*>(elements.data);
  converted.resize(static_cast<size_t>(x.dim(1)));
  cpu::convert(elements, {converted.data(), false}, x.dim(1));
  return converted.data();
}

float clip_of(const MatrixTile& tile, const Tensor& factor) {
  return tile.clipped ? static_cast<float>(host::value_of_factor(factor)) : 1.0F;
}

RowScales scales_of(const MatrixTile& tile, float clip, const float* scales, int64_t row) {
  return {clip, tile.row_scale >= 0 ? scales[tile.row_scale + row] : 1.0F,
          tile.column_scale >= 0 ? scales + tile.column_scale : nullptr};
}

// A lock for each vector of lines would not be faster: a task takes it once.
void raise(const std::vector<float>& found, float* maxima) {
  for (size_t i = 0; i < found.size(); ++i) maxima[i] = std::max(maxima[i], found[i]);
}

std::vector<double> anchors(const float* bounds, int64_t lines, int64_t elements) {
  std::vector<double> all(static_cast<size_t>(lines));
  for (size_t i = 0; i < all.size(); ++i) all[i] = rounding_anchor(static_cast<double>(bounds[i]), elements);
  return all;
}

}  // namespace

void CpuOperations::line_maxima(std::span<const MatrixTile> tiles, const Tensor& factor, Tensor& maxima) {
  check::line_maxima(dtype(), tiles, factor, maxima);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(maxima_of_row);
  float* const all = maxima.data<float>();
  std::mutex combining;
  for (const MatrixTile& tile : tiles) {
    const int64_t columns = tile.values.dim(1);
    const float clip = clip_of(tile, factor);
    arena_.for_pieces(tile.values.dim(0), rows_per_task(tile.values), [&](int64_t first, int64_t last) {
      std::vector<float> converted, of_rows, of_columns;
      if (tile.column_line >= 0) of_columns.resize(static_cast<size_t>(columns));
      for (int64_t row = first; row < last; ++row)
        of_rows.push_back(kernel(floats_of_row(tile.values, row, converted), columns, clip,
                                 of_columns.empty() ? nullptr : of_columns.data()));
      const std::lock_guard lock(combining);
      if (tile.row_line >= 0) raise(of_rows, all + tile.row_line + first);
      if (tile.column_line >= 0) raise(of_columns, all + tile.column_line);
    });
  }
}

void CpuOperations::line_sums_of_squares(std::span<const MatrixTile> tiles, const Tensor& factor,
                                         const Tensor& scales, const Tensor& bounds, Tensor& sums) {
  check::line_sums_of_squares(dtype(), tiles, factor, scales, bounds, sums);
  const auto kernel = &HWY_DYNAMIC_DISPATCH(squares_of_row);
  const float* const of_scales = scales.defined() ? scales.data<float>() : nullptr;
  const float* const of_bounds = bounds.data<float>();
  double* const all = sums.data<double>();
  std::mutex combining;
  for (const MatrixTile& tile : tiles) {
    const int64_t columns = tile.values.dim(1);
    const float clip = clip_of(tile, factor);
    const bool has_rows = tile.row_line >= 0, has_columns = tile.column_line >= 0;
    const std::vector<double> column_anchors =
        has_columns ? anchors(of_bounds + tile.column_line, columns, tile.column_elements)
                    : std::vector<double>();
    arena_.for_pieces(tile.values.dim(0), rows_per_task(tile.values), [&](int64_t first, int64_t last) {
      std::vector<float> converted;
      std::vector<double> of_rows, of_columns(column_anchors.size());
      for (int64_t row = first; row < last; ++row) {
        const double anchor =
            has_rows ? rounding_anchor(static_cast<double>(of_bounds[tile.row_line + row]), tile.row_elements)
                     : 0;
        of_rows.push_back(kernel(floats_of_row(tile.values, row, converted), columns,
                                 scales_of(tile, clip, of_scales, row), anchor, column_anchors.data(),
                                 has_columns ? of_columns.data() : nullptr));
      }
      const std::lock_guard lock(combining);
      for (size_t i = 0; has_rows && i < of_rows.size(); ++i)
        all[tile.row_line + first + static_cast<int64_t>(i)] += of_rows[i];
      for (size_t i = 0; i < of_columns.size(); ++i)
        all[tile.column_line + static_cast<int64_t>(i)] += of_columns[i];
    });
  }
}

void CpuOperations::factored_moments(std::span<FactoredMatrix> matrices, const FactoredStep& step,
                                     const Tensor& factor, const Tensor& maxima, const Tensor& sums,
                                     Tensor& scales, Tensor& bounds) {
  check::factored_moments(dtype(), matrices, factor, maxima, sums, scales, bounds);
  arena_.for_each(static_cast<int64_t>(matrices.size()), [&](int64_t i) {
    host::factored_moments(matrices[static_cast<size_t>(i)], step, host::value_of_factor(factor),
                           maxima.data<float>(), sums.data<double>(), scales.data<float>(),
                           bounds.data<float>());
  });
}

void CpuOperations::factored_rates(std::span<const FactoredMatrix> matrices, const FactoredStep& step,
                                   const Tensor& directions, const Tensor& weights, Tensor& rates) {
  check::factored_rates(dtype(), matrices, directions, weights, rates);
  arena_.for_each(static_cast<int64_t>(matrices.size()), [&](int64_t i) {
    host::factored_rates(matrices[static_cast<size_t>(i)], step, directions.data<double>(),
                         weights.data<double>(), rates.data<float>() + 2 * i);
  });
}

namespace {

// A row of a tile whose numbers may be bfloat16: as floats, updated, and rounded back.
class FactoredRowBuffers {
 public:
  FactoredRow open(const FactoredTile& tile, int64_t row) {
    const auto floats = [&](const Tensor& x, std::vector<float>& buffer) {
      return x.defined() ? const_cast<float*>(floats_of_row(x, row, buffer)) : nullptr;
    };
    return {floats(tile.weight, weight_), floats(tile.momentum, momentum_), floats(tile.gradient, gradient_)};
  }
  void close(const FactoredTile& tile, int64_t row, const FactoredRow& values, const cpu::Rounder& rounder) {
    const int64_t columns = tile.weight.dim(1), at = row * columns;
    const uint64_t index = tile.first_index + static_cast<uint64_t>(at);
    const auto store = [&](const float* from, int number, const Tensor& to) {
      const cpu::Elements target = cpu::elements_of(to) + at;
      if (target.narrow) rounder.store_rounded(from, number, index, target, columns);
    };
    store(values.weight, 0, tile.weight);
    if (tile.momentum.defined()) store(values.momentum, 1, tile.momentum);
    if (!tile.rounded.defined()) return;
    // As stored, so that weight and copy agree.
    const cpu::Elements from = cpu::elements_of(tile.weight) + at, to = cpu::elements_of(tile.rounded) + at;
    if (from.narrow == to.narrow)
      std::memcpy(to.data, from.data, static_cast<size_t>(columns) * (to.narrow ? 2 : 4));
    else
      cpu::convert(from, to, columns);
  }

 private:
  std::vector<float> weight_, gradient_, momentum_;
};

}  // namespace

void CpuOperations::factored_update(std::span<FactoredTile> tiles, const FactoredStep& step,
                                    const Tensor& factor, const Tensor& scales, const Tensor& rates,
                                    const Rounding& rounding) {
  check::factored_update(dtype(), tiles, step, factor, scales, rates);
  const double clip = host::value_of_factor(factor);
  if (std::isnan(clip)) return;
  const auto kernel = &HWY_DYNAMIC_DISPATCH(update_row);
  const cpu::Rounder rounder(rounding);
  const float* const all = scales.data<float>();
  for (const FactoredTile& tile : tiles) {
    const float* const of_matrix = rates.data<float>() + 2 * tile.matrix;
    const FactoredRates by{of_matrix[0], of_matrix[1], static_cast<float>(step.momentum),
                           static_cast<float>(1 - step.momentum)};
    const int64_t columns = tile.weight.dim(1);
    arena_.for_pieces(tile.weight.dim(0), rows_per_task(tile.weight), [&](int64_t first, int64_t last) {
      FactoredRowBuffers buffers;
      for (int64_t row = first; row < last; ++row) {
        const FactoredRow values = buffers.open(tile, row);
        kernel(values, columns,
               {static_cast<float>(clip), all[tile.row_scale + row], all + tile.column_scale}, by);
        buffers.close(tile, row, values, rounder);
      }
    });
  }
}

}  // namespace collie
#endif  // HWY_ONCE
