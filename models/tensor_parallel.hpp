// The border between what every rank of a tensor group has of the tokens and what each has of a matrix.
//
// Outside the matrices are the norms and the residual stream. There every rank holds all tokens, the same on
// each (Shoeybi et al., arXiv 1909.08053), or, with sequence parallelism, its share of them (Korthikanti et
// al., arXiv 2205.05198). Inside, each rank has all tokens and its own heads, width or vocabulary. A layer
// gathers once for all matrices that read the same tokens, and reduces once. The backward of the gather is
// the reduction, and the other way round: so one pair of functions serves both passes. Without a tensor group
// both do nothing.
#pragma once

#include <memory>
#include <span>

#include "models/linear.hpp"

namespace collie {

struct TokenRange {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// Sequence parallelism: the tokens that a rank holds outside, ceil(tokens / ranks) of them but on the last
// ranks, which may hold fewer, or none.
TokenRange share_of_tokens(int64_t tokens, int rank, int ranks);

// Tokens inside the matrices: all of those of which x [its tokens, ...] has what the rank holds outside.
int64_t tokens_inside(const LayerContext& context, const Tensor& x);

// x outside, [its tokens, width] -> [all tokens, width]: an all-gather with sequence parallelism, x itself
// without.
Tensor gather_from_sequence_region(const LayerContext& context, const Tensor& x);

// Those of `all`, one for each token inside, that belong to the tokens which the rank holds outside.
template <class T>
std::span<T> share_outside(const LayerContext& context, std::span<T> all) {
  if (context.tensor == nullptr || context.sequence_tokens < 0) return all;
  const TokenRange own =
      share_of_tokens(static_cast<int64_t>(all.size()), context.tensor->rank(), context.tensor->size());
  return all.subspan(static_cast<size_t>(own.begin), static_cast<size_t>(own.size()));
}

// Where the partial sums are put that will leave into y [its tokens, width]: [tokens, width]; y itself where
// there is no sequence parallelism. `tokens`: all of them.
Tensor partial_sums(const LayerContext& context, const Tensor& y, int64_t tokens);

// The sum over the ranks of `partial`, which partial_sums() gave for y: an all-reduce, or a reduce-scatter
// with sequence parallelism.
void reduce_scatter_to_sequence_region(const LayerContext& context, Tensor& partial, Tensor& y);

// The vocabulary is cut into equal parts in the order of the ranks: the first id of this rank's `part` ids.
int64_t first_id(const LayerContext& context, int64_t part);

// `matrix` reads a share of its inputs on every rank: x [tokens, in / ranks] inside, y and dy [its tokens,
// out] outside. The bias is added once, to the sum, and its gradient is that of the tokens that the rank
// holds outside.
std::unique_ptr<Linear> make_row_parallel_linear(std::unique_ptr<Linear> matrix, ParameterId bias = -1);

}  // namespace collie
