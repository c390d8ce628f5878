#include "optim/factored.hpp"

#include "optim/matrix_collectives.hpp"

namespace collie {
namespace {

// Where a step's lines are: those of the gradients' rows and columns, one tensor after another, then those of
// the weights' rows.
struct Lines {
  std::vector<FactoredMatrix> matrices;  // [shares]
  int64_t of_gradients = 0, of_rows = 0;
  int64_t all() const { return of_gradients + of_rows; }
};

Lines lines_of(std::span<MatrixShare> shares) {
  Lines lines;
  for (const MatrixShare& share : shares) {
    const bool vector = share.tensor.shape.rank() == 1;
    lines.matrices.push_back({share.rows(), share.columns(), lines.of_gradients, lines.of_rows,
                              vector ? Tensor() : share.line_states.at(0), share.line_states.back()});
    lines.of_gradients += share.rows() + share.columns();
    lines.of_rows += share.rows();
  }
  return lines;
}

// The scales of a range's rows and columns.
struct ScaleLines {
  int64_t row, column;
};
ScaleLines scales_of(const FactoredMatrix& matrix, const MatrixRange& range) {
  const int64_t row = matrix.first_line + range.row, column = matrix.first_line + matrix.rows + range.column;
  return range.transposed ? ScaleLines{column, row} : ScaleLines{row, column};
}

// A tile whose lines are those of the matrix's rows alone, the first of which has the line `first`.
MatrixTile rows_alone(const FactoredMatrix& matrix, const MatrixRange& range, const Tensor& values,
                      int64_t first) {
  MatrixTile tile{.values = values, .row_elements = matrix.columns, .column_elements = matrix.columns};
  (range.transposed ? tile.column_line : tile.row_line) = first + range.row;
  return tile;
}

class FactoredOptimizer final : public Optimizer {
 public:
  FactoredOptimizer(std::string name, FactoredUpdateRule rule)
      : name_(std::move(name)), rule_(std::move(rule)) {}

  // A vector has one row, and its second moment is that of the columns: one an element.
  std::vector<StateDeclaration> states(const NamedTensor& tensor) const override {
    const int rank = tensor.shape.rank();
    COLLIE_ASSERT(rank == 1 || rank == 2, "{}: {} has shape {}", name_, tensor.name,
                  tensor.shape.to_string());
    std::vector<StateDeclaration> all;
    if (rank == 1)
      all = {{.name = "exp_avg_sq", .shape = StateShape::columns, .wide = true}};
    else
      all = {{.name = "exp_avg_sq_row", .shape = StateShape::rows, .wide = true},
             {.name = "exp_avg_sq_col", .shape = StateShape::columns, .wide = true}};
    if (rule_.momentum != 0) all.insert(all.begin(), {"exp_avg"});
    return all;
  }

  bool takes_matrices() const override { return true; }
  bool rounds_stochastically() const override { return true; }
  bool updates_in_parts() const override { return true; }
  bool takes_narrow_states() const override { return true; }

  void update_matrices(Operations& operations, std::span<MatrixShare> shares, const MatrixGroups& groups,
                       const UpdateArguments& arguments) override {
    COLLIE_ASSERT(arguments.step >= 1, "{}: step {} must count from 1", name_, arguments.step);
    const FactoredStep step = rule_.step(arguments.lr, arguments.step);
    const Tensor& factor = arguments.gradient_factor;
    Lines lines = lines_of(shares);
    const auto vector = [&](int64_t count, DType dtype) {
      Tensor x = operations.empty({count}, dtype, Category::workspace);
      operations.fill(x, 0);
      return x;
    };
    const DType wide = operations.accumulation_dtype();
    Tensor maxima = vector(lines.all(), wide), sums = vector(lines.all(), DType::f64);
    const std::vector<MatrixTile> counted = counted_tiles(shares, lines);
    operations.line_maxima(counted, factor, maxima);
    all_reduce_max(operations, groups, maxima);
    operations.line_sums_of_squares(counted, factor, {}, maxima, sums);
    all_reduce_sum(groups, sums);

    Tensor scales = vector(lines.of_gradients, wide), bounds = vector(lines.of_rows, wide);
    operations.factored_moments(lines.matrices, step, factor, maxima.rows(0, lines.of_gradients),
                                sums.rows(0, lines.of_gradients), scales, bounds);
    Tensor directions = vector(lines.of_rows, DType::f64);
    operations.line_sums_of_squares(direction_tiles(shares, lines), factor, scales, bounds, directions);
    all_reduce_sum(groups, directions);

    Tensor rates = operations.empty({static_cast<int64_t>(shares.size()), 2}, wide, Category::workspace);
    operations.factored_rates(lines.matrices, step, directions, sums.rows(lines.of_gradients, lines.all()),
                              rates);
    std::vector<FactoredTile> tiles = updated_tiles(shares, lines);
    operations.factored_update(tiles, step, factor, scales, rates, arguments.rounding);
  }

 private:
  static std::vector<MatrixTile> counted_tiles(std::span<const MatrixShare> shares, const Lines& lines) {
    std::vector<MatrixTile> tiles;
    for_ranges(shares, lines, [&](const FactoredMatrix& matrix, const MatrixRange& range) {
      if (!range.counts) return;
      const auto [row, column] = scales_of(matrix, range);
      tiles.push_back({.values = range.gradient,
                       .row_line = row,
                       .column_line = column,
                       .row_elements = range.transposed ? matrix.rows : matrix.columns,
                       .column_elements = range.transposed ? matrix.columns : matrix.rows});
      MatrixTile weight = rows_alone(matrix, range, range.weight, lines.of_gradients + matrix.first_row);
      weight.clipped = false;
      tiles.push_back(std::move(weight));
    });
    return tiles;
  }

  static std::vector<MatrixTile> direction_tiles(std::span<const MatrixShare> shares, const Lines& lines) {
    std::vector<MatrixTile> tiles;
    for_ranges(shares, lines, [&](const FactoredMatrix& matrix, const MatrixRange& range) {
      if (!range.counts) return;
      MatrixTile& tile = tiles.emplace_back(rows_alone(matrix, range, range.gradient, matrix.first_row));
      const auto [row, column] = scales_of(matrix, range);
      tile.row_scale = row;
      tile.column_scale = column;
    });
    return tiles;
  }

  std::vector<FactoredTile> updated_tiles(std::span<const MatrixShare> shares, const Lines& lines) const {
    std::vector<FactoredTile> tiles;
    for_ranges(shares, lines, [&](const FactoredMatrix& matrix, const MatrixRange& range) {
      const auto [row, column] = scales_of(matrix, range);
      tiles.push_back({range.weight, range.gradient, rule_.momentum != 0 ? range.states.at(0) : Tensor(),
                       range.rounded, row, column, &matrix - lines.matrices.data(), range.first_index});
    });
    return tiles;
  }

  template <class F>
  static void for_ranges(std::span<const MatrixShare> shares, const Lines& lines, F&& f) {
    for (size_t i = 0; i < shares.size(); ++i)
      for (const MatrixRange& range : shares[i].ranges) f(lines.matrices[i], range);
  }

  std::string name_;
  FactoredUpdateRule rule_;
};

}  // namespace

OptimizerFactory factored_optimizer(const FactoredRule& rule) {
  return [&rule](const OptionValues& options) {
    return std::make_unique<FactoredOptimizer>(rule.name, rule.with(options));
  };
}

}  // namespace collie
