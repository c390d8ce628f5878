// Attention in documents whose first tokens, their context, see each other in both directions, while the
// others see what stands before them and themselves. It is made of attention by one rule at a time: the
// queries of a context see all keys of the context, and those behind it are causal over all keys of their
// document.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/operations.hpp"
#include "models/tensor_parallel.hpp"

namespace collie {

// Queries that see keys by one rule.
struct AttentionPart {
  TokenRange queries, keys;  // rows
  AttentionSpans spans;      // of these rows
  size_t document = 0;       // that the spans' first one is
  bool adds = false;         // an earlier part has the same keys
};

// Documents that start where `starts` says, and have so many tokens of context: contexts [documents]. Every
// query is in one part, and all keys are in parts that do not add. Where `more_keys`, queries also see keys
// that are not among these.
std::vector<AttentionPart> parts_of_documents(std::span<const int32_t> starts,
                                              std::span<const int32_t> contexts, bool more_keys);
// The first `tokens` tokens of one document, with so many of context, whose keys stand behind `before` others
// that all of them see.
std::vector<AttentionPart> parts_of_prompt(int64_t context, int64_t tokens, int64_t before);

// As Operations::attention, and its backward, for all parts. `scores` is for the whole documents.
void attention_by_parts(Operations& operations, const std::vector<AttentionPart>& parts, const Tensor& q,
                        const Tensor& k, const Tensor& v, const AttentionScores& scores, Tensor& out,
                        Tensor& log_sum_exp);
void attention_by_parts_backward(Operations& operations, const std::vector<AttentionPart>& parts,
                                 const Tensor& q, const Tensor& k, const Tensor& v,
                                 const AttentionScores& scores, const Tensor& out, const Tensor& log_sum_exp,
                                 const Tensor& d_out, Tensor& dq, Tensor& dk, Tensor& dv);

}  // namespace collie
