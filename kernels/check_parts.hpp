// What the checks of operations (checks.hpp) are made of. Each asserts, and its message names the
// operation, the operand, and what was found and would be right.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/operations.hpp"

namespace collie::check::parts {

void of_dtype(std::string_view operation, std::string_view what, const Tensor& x, DType dtype);
DType accumulation_dtype(DType dtype);
// x has dtype or its accumulation dtype.
void of_either_dtype(std::string_view operation, std::string_view what, const Tensor& x, DType dtype);
void of_shape(std::string_view operation, std::string_view what, const Tensor& x, const Shape& shape,
              DType dtype);
// x has the same shape as another operand, which the message names.
void like(std::string_view operation, std::string_view what, const Tensor& x, std::string_view other_what,
          const Tensor& other, DType dtype);
void of_rank(std::string_view operation, std::string_view what, const Tensor& x, int rank, DType dtype);
void contiguous(std::string_view operation, std::string_view what, const Tensor& x);
// x is a contiguous vector of `size`, which is the size of `other`.
void vector_for(std::string_view operation, std::string_view what, const Tensor& x, int64_t size,
                std::string_view other_what, const Tensor& other, DType dtype);
void host_values(std::string_view operation, std::string_view what, size_t count, const Tensor& x);
void starts(std::string_view what, const std::vector<int32_t>& offsets, int64_t tokens, const Tensor& x);
void spans_fit(const AttentionSpans& spans, const Tensor& q, const Tensor& k);
void scores_fit(const AttentionScores& scores, const AttentionSpans& spans, const Tensor& q);
// x has doubles in one dimension.
void doubles(std::string_view operation, std::string_view what, const Tensor& x);
void doubles(std::string_view operation, std::string_view what, const Tensor& x, int64_t count);
// `starts` [sums + 1] delimits runs of the values.
void runs_fit(std::string_view op, const std::vector<int32_t>& starts, const std::vector<int32_t>& firsts,
              const std::vector<int32_t>& counts, const Tensor& values, const Tensor& sums);
// Adds each sum's nodes as they come. No tree that is left may be higher than the one before.
void heights_fit(const TreeRuns& runs);
// The size of the vocabulary is not known here.
void shard_of_logits(std::string_view operation, DType dtype, const Tensor& logits,
                     std::span<const int32_t> labels, int64_t first);

}  // namespace collie::check::parts
