#include "peft/orthogonality.hpp"

#include <limits>

#include "base/divide.hpp"
#include "models/access.hpp"

namespace collie {
namespace {

Tensor in_full_precision(LayerContext& context, ParameterId id) {
  const AcquiredWeight weight(context, id);
  Tensor exact = context.operations.empty((*weight).shape(), context.operations.accumulation_dtype(),
                                          Category::workspace);
  context.operations.convert(*weight, exact);
  return exact;
}

// x [n, n] -= I
void subtract_identity(Operations& operations, Tensor& x) {
  const int64_t n = x.dim(0);
  Tensor padded = operations.empty({n, n + 1}, x.dtype(), Category::workspace);
  operations.fill(padded, 0);
  // The elements of the diagonal are n + 1 apart.
  Tensor diagonal = padded.columns(0, 1);
  operations.fill(diagonal, -1);
  operations.add(x, padded.reshape({n * (n + 1)}).rows(0, n * n).reshape({n, n}), x);
}

// x /= |x|, and 0 where x is 0
void normalise(Operations& operations, Tensor& x) {
  const int64_t blocks = divide_up(x.numel(), reduction_block);
  Tensor sums = operations.empty({blocks}, DType::f64, Category::workspace),
         square = operations.empty({1}, DType::f64, Category::workspace);
  operations.block_sums_of_squares(x.reshape({x.numel()}), sums);
  operations.ordered_sums(sums, {{0, 1}, {0}, {static_cast<int32_t>(blocks)}}, square);
  operations.divide_by_root(x, square, std::numeric_limits<float>::min());
}

}  // namespace

Tensor orthogonality_gradient(LayerContext& context, const TripletMatrix& matrix, double weight) {
  Operations& operations = context.operations;
  const bool is_cut = matrix.is_cut && context.tensor != nullptr;
  const bool is_primary = matrix.primary_rows > 0;
  if (!is_primary && !is_cut) return {};
  const Tensor whole = in_full_precision(context, matrix.id), vectors = whole.rows(0, matrix.primary_rows);
  const int64_t rank = whole.dim(matrix.by_rows ? 0 : 1);
  Tensor products = operations.empty({rank, rank}, vectors.dtype(), Category::workspace);
  if (is_primary)
    operations.gemm(matrix.by_rows ? GemmForm::nt : GemmForm::tn, vectors, vectors, products, false);
  else
    operations.fill(products, 0);
  if (is_cut) context.tensor->all_reduce_sum(products);
  if (!is_primary) return {};
  subtract_identity(operations, products);
  normalise(operations, products);
  operations.scale(products, 2 * weight);
  Tensor gradient = operations.empty(vectors.shape(), vectors.dtype(), Category::activations);
  const Tensor &left = matrix.by_rows ? products : vectors, &right = matrix.by_rows ? vectors : products;
  operations.gemm(GemmForm::nn, left, right, gradient, false);
  return gradient;
}

}  // namespace collie
