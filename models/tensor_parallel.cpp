#include "models/tensor_parallel.hpp"

#include <algorithm>
#include <utility>

#include "base/divide.hpp"
#include "models/access.hpp"

namespace collie {
namespace {

// Collectives need equal parts: this many tokens per rank, the last ones of which may be padding.
int64_t part_of(int64_t tokens, int ranks) {
  return divide_up(tokens, ranks);
}

bool shares_tokens(const LayerContext& context) {
  return context.tensor != nullptr && context.sequence_tokens >= 0;
}

// A copy of rows [0, numel) of x with zeros after it.
Tensor padded(Operations& operations, const Tensor& x, int64_t rows) {
  Tensor result = operations.empty({rows, x.dim(1)}, Category::communication);
  Tensor head = result.rows(0, x.dim(0)), tail = result.rows(x.dim(0), rows);
  operations.copy(x, head);
  operations.fill(tail, 0);
  return result;
}

class RowParallelLinear final : public Linear {
 public:
  RowParallelLinear(std::unique_ptr<Linear> matrix, ParameterId bias)
      : matrix_(std::move(matrix)), bias_(bias) {}

  void forward(LayerContext& context, const Tensor& x, Tensor& y, LinearStash* stash) override {
    Tensor partial = partial_sums(context, y, x.dim(0));
    matrix_->forward(context, x, partial, stash);
    reduce_scatter_to_sequence_region(context, partial, y);
    if (bias_ < 0) return;
    const AcquiredWeight bias(context, bias_);
    context.operations.add_row(y, *bias);
  }

  void keep(LayerContext& context, const Tensor& x, LinearStash& stash) override {
    matrix_->keep(context, x, stash);
  }

  void backward_input(LayerContext& context, const Tensor& dy, Tensor& dx, bool accumulate,
                      LinearStash& stash) override {
    matrix_->backward_input(context, gather_from_sequence_region(context, dy), dx, accumulate, stash);
  }

  void skip_input(LayerContext& context, const Tensor& dy, LinearStash& stash) override {
    matrix_->skip_input(context, gather_from_sequence_region(context, dy), stash);
  }

  void backward_weight(LayerContext& context, const Tensor& x, const Tensor& dy,
                       LinearStash& stash) override {
    matrix_->backward_weight(context, x, gather_from_sequence_region(context, dy), stash);
    if (bias_ < 0) return;
    contribute(context, bias_, [&](Tensor& gradient, bool accumulate) {
      context.operations.column_sum(dy, gradient, accumulate);
    });
  }

  void copy_rows(LayerContext& context, int64_t first, Tensor& rows) override {
    matrix_->copy_rows(context, first, rows);
  }

 private:
  std::unique_ptr<Linear> matrix_;
  ParameterId bias_;
};

}  // namespace

TokenRange share_of_tokens(int64_t tokens, int rank, int ranks) {
  const int64_t part = part_of(tokens, ranks);
  return {std::min(tokens, rank * part), std::min(tokens, (rank + 1) * part)};
}

int64_t tokens_inside(const LayerContext& context, const Tensor& x) {
  return shares_tokens(context) ? context.sequence_tokens : x.dim(0);
}

Tensor gather_from_sequence_region(const LayerContext& context, const Tensor& x) {
  if (!shares_tokens(context)) return x;
  const int64_t tokens = context.sequence_tokens;
  const int rank = context.tensor->rank(), ranks = context.tensor->size();
  COLLIE_ASSERT(x.dim(0) == share_of_tokens(tokens, rank, ranks).size(),
                "tensor rank {} of {} has {} of {} tokens", rank, ranks, x.dim(0), tokens);
  const int64_t part = part_of(tokens, ranks);
  Tensor all = context.operations.empty({ranks * part, x.dim(1)}, Category::communication);
  Tensor own = all.rows(rank * part, (rank + 1) * part);
  Tensor held = own.rows(0, x.dim(0)), padding = own.rows(x.dim(0), part);
  context.operations.copy(x, held);
  context.operations.fill(padding, 0);
  context.tensor->all_gather(own, all);
  return all.rows(0, tokens);  // padding stands behind the last token only
}

Tensor partial_sums(const LayerContext& context, const Tensor& y, int64_t tokens) {
  if (!shares_tokens(context)) return y;
  return context.operations.empty({tokens, y.dim(1)}, Category::communication);
}

void reduce_scatter_to_sequence_region(const LayerContext& context, Tensor& partial, Tensor& y) {
  if (context.tensor == nullptr) return;
  if (!shares_tokens(context)) return context.tensor->all_reduce_sum(y);
  const int ranks = context.tensor->size();
  const int64_t tokens = partial.dim(0), part = part_of(tokens, ranks);
  if (tokens != ranks * part) partial = padded(context.operations, partial, ranks * part);
  if (y.dim(0) == part) return context.tensor->reduce_scatter_sum(partial, y);
  Tensor own = context.operations.empty({part, y.dim(1)}, Category::communication);
  context.tensor->reduce_scatter_sum(partial, own);
  context.operations.copy(own.rows(0, y.dim(0)), y);
}

int64_t first_id(const LayerContext& context, int64_t part) {
  return context.tensor == nullptr ? 0 : context.tensor->rank() * part;
}

std::unique_ptr<Linear> make_row_parallel_linear(std::unique_ptr<Linear> matrix, ParameterId bias) {
  return std::make_unique<RowParallelLinear>(std::move(matrix), bias);
}

}  // namespace collie
