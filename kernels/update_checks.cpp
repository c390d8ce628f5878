// The checks of reductions and of optimizers' operations (checks.hpp).
#include <cmath>

#include "base/divide.hpp"
#include "kernels/check_parts.hpp"
#include "kernels/checks.hpp"
#include "kernels/rules/scalar_formulas.hpp"
#include "kernels/tree_sum.hpp"

namespace collie::check {

using namespace parts;

void block_sums_of_squares(DType dtype, const Tensor& x, const Tensor& sums) {
  of_either_dtype("block_sums_of_squares", "x", x, dtype);
  contiguous("block_sums_of_squares", "x", x);
  vector_for("block_sums_of_squares", "sums", sums, divide_up(x.numel(), reduction_block), "x", x,
             DType::f64);
}

void ordered_sums(const Tensor& values, const OrderedRuns& runs, const Tensor& sums) {
  doubles("ordered_sums", "values", values);
  doubles("ordered_sums", "sums", sums);
  runs_fit("ordered_sums", runs.starts, runs.firsts, runs.counts, values, sums);
}

void tree_sums(const Tensor& values, const TreeRuns& runs, const Tensor& sums) {
  doubles("tree_sums", "values", values);
  doubles("tree_sums", "sums", sums);
  runs_fit("tree_sums", runs.starts, runs.firsts, runs.counts, values, sums);
  heights_fit(runs);
}

void keep_if_finite(const Tensor& factor, const Tensor& value, const Tensor& kept) {
  doubles("keep_if_finite", "factor", factor, 1);
  doubles("keep_if_finite", "value", value, 1);
  doubles("keep_if_finite", "kept", kept, 1);
}

void step_outcome(const Tensor& loss_sum, const Tensor& sum_of_squares, const Tensor& outcome) {
  doubles("step_outcome", "loss_sum", loss_sum, 1);
  doubles("step_outcome", "sum_of_squares", sum_of_squares, 1);
  doubles("step_outcome", "outcome", outcome, 3);
}

namespace {

// States are of one dtype, which may be bfloat16, but for the wide ones, which never are.
void check_states(DType dtype, const UpdateTensors& range, const FormulaProperties& formula) {
  const Tensor* narrow = nullptr;
  for (size_t i = 0; i < range.states.size(); ++i) {
    const Tensor& state = range.states[i];
    const bool wide = (formula.wide_states >> i & 1U) != 0;
    if (dtype != DType::f32 || wide || !state.defined() || state.dtype() != DType::bf16)
      of_either_dtype(formula.name, "a state", state, wide ? accumulation_dtype(dtype) : dtype);
    contiguous(formula.name, "a state", state);
    COLLIE_ASSERT(state.numel() == range.weight.numel(), "{}: a state has shape {}, but weight has shape {}",
                  formula.name, state.shape().to_string(), range.weight.shape().to_string());
    if (wide) continue;
    if (narrow == nullptr) narrow = &state;
    COLLIE_ASSERT(state.dtype() == narrow->dtype(), "{}: states are {} and {}", formula.name,
                  name(narrow->dtype()), name(state.dtype()));
  }
}

}  // namespace

void update(DType dtype, std::span<const UpdateTensors> ranges, const ElementwiseUpdate& step) {
  const FormulaProperties formula = formula_properties(step.formula);
  if (step.gradient_factor.defined()) doubles(formula.name, "gradient_factor", step.gradient_factor, 1);
  for (const UpdateTensors& range : ranges) {
    const auto fits = [&](std::string_view what, const Tensor& x) {
      of_either_dtype(formula.name, what, x, dtype);
      contiguous(formula.name, what, x);
      COLLIE_ASSERT(x.numel() == range.weight.numel(), "{}: {} has shape {}, but weight has shape {}",
                    formula.name, what, x.shape().to_string(), range.weight.shape().to_string());
    };
    fits("weight", range.weight);
    fits("gradient", range.gradient);
    COLLIE_ASSERT(range.states.size() == static_cast<size_t>(formula.states),
                  "{}: {} states, there must be {}", formula.name, range.states.size(), formula.states);
    check_states(dtype, range, formula);
    if (!range.rounded.defined()) continue;
    fits("rounded", range.rounded);
    of_dtype(formula.name, "rounded", range.rounded, dtype);
  }
}

void update_quantised(DType dtype, std::span<const QuantisedTensors> ranges, const ElementwiseUpdate& step) {
  constexpr std::string_view op = "update_quantised";
  COLLIE_ASSERT(step.formula == scalar::index_of<scalar::AdamW>,
                "{}: by the formula {}, there is AdamW's alone", op, formula_properties(step.formula).name);
  if (step.gradient_factor.defined()) doubles(op, "gradient_factor", step.gradient_factor, 1);
  for (const QuantisedTensors& range : ranges) {
    const auto fits = [&](std::string_view what, const Tensor& x) {
      of_either_dtype(op, what, x, dtype);
      contiguous(op, what, x);
      COLLIE_ASSERT(x.numel() == range.weight.numel(), "{}: {} has shape {}, but weight has shape {}", op,
                    what, x.shape().to_string(), range.weight.shape().to_string());
    };
    fits("weight", range.weight);
    fits("gradient", range.gradient);
    for (const Tensor& codes : range.codes) {
      of_shape(op, "codes", codes, Shape{range.weight.numel()}, DType::u8);
      contiguous(op, "codes", codes);
    }
    for (const Tensor& absmax : range.absmax) {
      of_shape(op, "absmax", absmax, Shape{divide_up(range.weight.numel(), quantisation_block)},
               accumulation_dtype(dtype));
      contiguous(op, "absmax", absmax);
    }
    if (!range.rounded.defined()) continue;
    fits("rounded", range.rounded);
    of_dtype(op, "rounded", range.rounded, dtype);
  }
}

namespace {

// A vector of lines is of any length; `first` to first + count must be in it.
void vector_of_lines(std::string_view op, std::string_view what, const Tensor& x, DType dtype) {
  of_rank(op, what, x, 1, dtype);
  contiguous(op, what, x);
}
void lines_fit(std::string_view op, std::string_view what, int64_t first, int64_t count,
               const Tensor& lines) {
  COLLIE_ASSERT(first >= -1 && (first == -1 || first + count <= lines.dim(0)),
                "{}: {} lines {} to {} of a vector of {}", op, what, first, first + count, lines.dim(0));
}

void tiles_fit(std::string_view op, DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor,
               const Tensor& lines) {
  if (factor.defined()) doubles(op, "factor", factor, 1);
  for (const MatrixTile& tile : tiles) {
    of_either_dtype(op, "a tile", tile.values, dtype);
    of_rank(op, "a tile", tile.values, 2, tile.values.dtype());
    contiguous(op, "a tile", tile.values);
    lines_fit(op, "rows'", tile.row_line, tile.values.dim(0), lines);
    lines_fit(op, "columns'", tile.column_line, tile.values.dim(1), lines);
  }
}

void matrices_fit(std::string_view op, std::span<const FactoredMatrix> matrices, const Tensor* lines,
                  const Tensor& rows) {
  for (const FactoredMatrix& matrix : matrices) {
    if (lines != nullptr)
      lines_fit(op, "a matrix's", matrix.first_line, matrix.rows + matrix.columns, *lines);
    lines_fit(op, "a matrix's rows'", matrix.first_row, matrix.rows, rows);
  }
}

}  // namespace

void line_maxima(DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor, const Tensor& maxima) {
  vector_of_lines("line_maxima", "maxima", maxima, accumulation_dtype(dtype));
  tiles_fit("line_maxima", dtype, tiles, factor, maxima);
}

void line_sums_of_squares(DType dtype, std::span<const MatrixTile> tiles, const Tensor& factor,
                          const Tensor& scales, const Tensor& bounds, const Tensor& sums) {
  constexpr std::string_view op = "line_sums_of_squares";
  doubles(op, "sums", sums);
  vector_for(op, "bounds", bounds, sums.dim(0), "sums", sums, accumulation_dtype(dtype));
  tiles_fit(op, dtype, tiles, factor, sums);
  if (scales.defined()) vector_of_lines(op, "scales", scales, accumulation_dtype(dtype));
  for (const MatrixTile& tile : tiles) {
    COLLIE_ASSERT(scales.defined() || (tile.row_scale == -1 && tile.column_scale == -1),
                  "{}: a tile has scales, but there are none", op);
    if (!scales.defined()) continue;
    lines_fit(op, "scales of rows,", tile.row_scale, tile.values.dim(0), scales);
    lines_fit(op, "scales of columns,", tile.column_scale, tile.values.dim(1), scales);
  }
}

void factored_moments(DType dtype, std::span<const FactoredMatrix> matrices, const Tensor& factor,
                      const Tensor& maxima, const Tensor& sums, const Tensor& scales, const Tensor& bounds) {
  constexpr std::string_view op = "factored_moments";
  const DType wide = accumulation_dtype(dtype);
  if (factor.defined()) doubles(op, "factor", factor, 1);
  doubles(op, "sums", sums);
  vector_for(op, "maxima", maxima, sums.dim(0), "sums", sums, wide);
  vector_for(op, "scales", scales, sums.dim(0), "sums", sums, wide);
  vector_of_lines(op, "bounds", bounds, wide);
  matrices_fit(op, matrices, &sums, bounds);
  for (const FactoredMatrix& matrix : matrices) {
    of_shape(op, "column_moments", matrix.column_moments, Shape{matrix.columns}, wide);
    COLLIE_ASSERT(matrix.row_moments.defined() || matrix.rows == 1, "{}: {} rows without moments", op,
                  matrix.rows);
    if (matrix.row_moments.defined())
      of_shape(op, "row_moments", matrix.row_moments, Shape{matrix.rows}, wide);
  }
}

void factored_rates(DType dtype, std::span<const FactoredMatrix> matrices, const Tensor& directions,
                    const Tensor& weights, const Tensor& rates) {
  constexpr std::string_view op = "factored_rates";
  doubles(op, "directions", directions);
  doubles(op, "weights", weights, directions.dim(0));
  of_shape(op, "rates", rates, Shape{static_cast<int64_t>(matrices.size()), 2}, accumulation_dtype(dtype));
  contiguous(op, "rates", rates);
  matrices_fit(op, matrices, nullptr, directions);
}

void factored_update(DType dtype, std::span<const FactoredTile> tiles, const FactoredStep& step,
                     const Tensor& factor, const Tensor& scales, const Tensor& rates) {
  constexpr std::string_view op = "factored_update";
  if (factor.defined()) doubles(op, "factor", factor, 1);
  vector_of_lines(op, "scales", scales, accumulation_dtype(dtype));
  of_rank(op, "rates", rates, 2, accumulation_dtype(dtype));
  for (const FactoredTile& tile : tiles) {
    const auto fits = [&](std::string_view what, const Tensor& x) {
      of_either_dtype(op, what, x, dtype);
      contiguous(op, what, x);
      like(op, what, x, "weight", tile.weight, x.dtype());
    };
    of_rank(op, "weight", tile.weight, 2, tile.weight.dtype());
    fits("weight", tile.weight);
    fits("gradient", tile.gradient);
    COLLIE_ASSERT(tile.momentum.defined() == (step.momentum != 0), "{}: {} of momentum {}", op,
                  tile.momentum.defined() ? "a state" : "no state", step.momentum);
    if (tile.momentum.defined()) {
      contiguous(op, "momentum", tile.momentum);
      if (dtype == DType::f64 || tile.momentum.dtype() != DType::bf16)
        of_either_dtype(op, "momentum", tile.momentum, dtype);
      like(op, "momentum", tile.momentum, "weight", tile.weight, tile.momentum.dtype());
    }
    lines_fit(op, "scales of rows,", tile.row_scale, tile.weight.dim(0), scales);
    lines_fit(op, "scales of columns,", tile.column_scale, tile.weight.dim(1), scales);
    COLLIE_ASSERT(tile.matrix >= 0 && tile.matrix < rates.dim(0), "{}: matrix {} of {}", op, tile.matrix,
                  rates.dim(0));
    if (!tile.rounded.defined()) continue;
    fits("rounded", tile.rounded);
    of_dtype(op, "rounded", tile.rounded, dtype);
  }
}

}  // namespace collie::check
