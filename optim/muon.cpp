#include "optim/muon.hpp"

#include <algorithm>
#include <utility>

#include "base/divide.hpp"
#include "optim/matrix_collectives.hpp"

namespace collie {

namespace {

Tensor wide_matrix(Operations& operations, const Shape& shape) {
  return operations.empty(shape, operations.accumulation_dtype(), Category::workspace);
}

// c = a · matrix + b · (matrix · matrix), of a symmetric matrix
Tensor polynomial(Operations& operations, const Tensor& matrix, double a, double b) {
  Tensor square = wide_matrix(operations, matrix.shape()), linear = wide_matrix(operations, matrix.shape());
  operations.gemm(GemmForm::nn, matrix, matrix, square, false);
  operations.scale(square, b);
  operations.copy(matrix, linear);
  operations.scale(linear, a);
  operations.add(square, linear, square);
  return square;
}

void divide_by_norm(Operations& operations, Tensor& matrix, double least) {
  const Tensor flat = matrix.reshape({matrix.numel()});
  const int64_t blocks = divide_up(flat.numel(), reduction_block);
  Tensor sums = operations.empty({blocks}, DType::f64, Category::workspace);
  Tensor sum = operations.empty({1}, DType::f64, Category::workspace);
  operations.block_sums_of_squares(flat, sums);
  operations.ordered_sums(sums, {{0, 1}, {0}, {static_cast<int32_t>(blocks)}}, sum);
  operations.divide_by_root(matrix, sum, least);
}

}  // namespace

void orthogonalise(Operations& operations, Tensor& matrix, int iterations) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315, least_norm = 1e-7;
  const bool wide = matrix.dim(0) <= matrix.dim(1);
  const int64_t side = std::min(matrix.dim(0), matrix.dim(1));
  divide_by_norm(operations, matrix, least_norm);
  for (int i = 0; i < iterations; ++i) {
    // The smaller of the two products with the transpose: x xᵀ or xᵀ x.
    Tensor gram = wide_matrix(operations, {side, side}), next = wide_matrix(operations, matrix.shape());
    operations.gemm(wide ? GemmForm::nt : GemmForm::tn, matrix, matrix, gram, false);
    const Tensor factor = polynomial(operations, gram, b, c);
    operations.gemm(GemmForm::nn, wide ? factor : matrix, wide ? matrix : factor, next, false);
    operations.scale(matrix, a);
    operations.add(matrix, next, matrix);
  }
}

namespace {

class OrthogonalOptimizer final : public Optimizer {
 public:
  OrthogonalOptimizer(std::string name, OrthogonalUpdateRule rule)
      : name_(std::move(name)), rule_(std::move(rule)) {}

  std::vector<StateDeclaration> states(const NamedTensor& tensor) const override {
    return is_orthogonal(tensor) ? rule_.direction.states : rule_.others.states;
  }
  bool takes_matrices() const override { return true; }
  bool rounds_stochastically() const override { return true; }
  bool takes_narrow_states() const override { return true; }

  void update_matrices(Operations& operations, std::span<MatrixShare> shares, const MatrixGroups& groups,
                       const UpdateArguments& arguments) override {
    COLLIE_ASSERT(arguments.step >= 1, "{}: step {} must count from 1", name_, arguments.step);
    std::vector<MatrixShare*> matrices;
    std::vector<UpdateTensors> others;
    for (MatrixShare& share : shares) {
      if (is_orthogonal(share.tensor)) {
        matrices.push_back(&share);
        continue;
      }
      for (const MatrixRange& range : share.ranges)
        others.push_back({flat(range.weight), flat(range.gradient), flat(range.states), flat(range.rounded),
                          range.first_index});
    }
    if (!others.empty())
      operations.update(others, {rule_.others.formula, rule_.others.factors(arguments.lr, arguments.step),
                                 arguments.gradient_factor, arguments.rounding});
    update_hidden(operations, matrices, groups, arguments);
  }

 private:
  static bool is_orthogonal(const NamedTensor& tensor) {
    return tensor.shape.rank() == 2 && !tensor.is_table;
  }

  static Tensor flat(const Tensor& x) { return x.defined() ? x.reshape({x.numel()}) : x; }
  static std::vector<Tensor> flat(std::vector<Tensor> all) {
    for (Tensor& x : all) x = flat(x);
    return all;
  }

  // As many matrices at a time as there are ranks that hold them: each rank makes one orthogonal.
  void update_hidden(Operations& operations, std::span<MatrixShare*> matrices, const MatrixGroups& groups,
                     const UpdateArguments& arguments) const {
    const SharedWork work(groups);
    for (size_t first = 0; first < matrices.size(); first += static_cast<size_t>(work.ranks())) {
      const size_t count = std::min(matrices.size() - first, static_cast<size_t>(work.ranks()));
      Tensor own;
      for (size_t i = 0; i < count; ++i) {
        Tensor whole = gather(operations, *matrices[first + i], work, static_cast<int>(i), arguments);
        if (static_cast<int>(i) == work.rank()) own = std::move(whole);
      }
      if (own.defined()) orthogonalise(operations, own, rule_.iterations);
      for (size_t i = 0; i < count; ++i) {
        MatrixShare& share = *matrices[first + i];
        Tensor whole = static_cast<int>(i) == work.rank() ? std::exchange(own, {})
                                                          : wide_matrix(operations, stored_shape(share));
        work.broadcast(whole, static_cast<int>(i));
        step(operations, share, whole, arguments);
      }
    }
  }

  // The matrix as parameters store it, which is what the tiles are rectangles of.
  static Shape stored_shape(const MatrixShare& share) {
    return share.tensor.transposed ? Shape{share.columns(), share.rows()}
                                   : Shape{share.rows(), share.columns()};
  }
  static Tensor tile_of(const Tensor& whole, const MatrixPart& part) {
    const int64_t row = part.transposed ? part.column : part.row;
    const int64_t column = part.transposed ? part.row : part.column;
    return whole.rows(row, row + part.shape[0]).columns(column, column + part.shape[1]);
  }
  static MatrixPart part_of(const MatrixRange& range) {
    return {range.weight.shape(), range.row, range.column, range.transposed};
  }

  // Moves the running means, and puts the directions of all ranks together on the rank `to`. Elsewhere
  // nothing is returned.
  Tensor gather(Operations& operations, MatrixShare& share, const SharedWork& work, int to,
                const UpdateArguments& arguments) const {
    int64_t all = 0, counted = 0;
    for (const MatrixRange& range : share.ranges) all += range.weight.numel();
    Tensor directions = wide_matrix(operations, {all});  // [those that count, then the others]
    operations.fill(directions, 0);
    std::vector<UpdateTensors> ranges;
    int64_t at = 0;
    for (const bool counts : {true, false}) {
      for (const MatrixRange& range : share.ranges) {
        if (range.counts != counts) continue;
        const int64_t end = at + range.weight.numel();
        ranges.push_back(
            {directions.rows(at, end), flat(range.gradient), flat(range.states), {}, range.first_index});
        at = end;
      }
      if (counts) counted = at;
    }
    operations.update(ranges, {rule_.direction.formula, rule_.direction.factors(arguments.lr, arguments.step),
                               arguments.gradient_factor, arguments.rounding});
    Tensor whole;
    if (to == work.rank()) whole = wide_matrix(operations, stored_shape(share));
    work.gather(operations, directions.rows(0, counted), share.parts, to,
                [&](const MatrixPart& part, const Tensor& values) {
                  Tensor tile = tile_of(whole, part);
                  operations.copy(values, tile);
                });
    return whole;
  }

  void step(Operations& operations, MatrixShare& share, const Tensor& whole,
            const UpdateArguments& arguments) const {
    std::vector<UpdateTensors> ranges;
    for (const MatrixRange& range : share.ranges) {
      Tensor change = wide_matrix(operations, range.weight.shape());
      operations.copy(tile_of(whole, part_of(range)), change);
      ranges.push_back({flat(range.weight), flat(change), {}, flat(range.rounded), range.first_index});
    }
    operations.update(ranges, {rule_.formula, rule_.factors(arguments.lr, share.rows(), share.columns()),
                               gate(operations, arguments.gradient_factor), arguments.rounding});
  }

  // 1, but not a number where the factor is none: the orthogonal matrix does not depend on the gradient's
  // size.
  static Tensor gate(Operations& operations, const Tensor& factor) {
    if (!factor.defined()) return {};
    Tensor outcome = operations.empty({3}, DType::f64, Category::workspace);
    operations.step_outcome(factor, factor, {}, outcome);
    return outcome.rows(2, 3);
  }

  std::string name_;
  OrthogonalUpdateRule rule_;
};

}  // namespace

OptimizerFactory orthogonal_optimizer(const OrthogonalRule& rule) {
  return [&rule](const OptionValues& options) {
    return std::make_unique<OrthogonalOptimizer>(rule.name, rule.with(options));
  };
}

}  // namespace collie
