// Labels that the model samples itself, from the softmax of its logits: for estimates of the loss's curvature
// (the Gauss-Newton-Bartlett estimator of Sophia: Liu et al., arXiv 2305.14342, section 2.3).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/linear.hpp"

namespace collie {

// A label for each token that has one in `labels` [tokens], and ignored_label for the others. logits [tokens,
// width] are this rank's share of the vocabulary; numbers [tokens] are the tokens' in the run. A label is the
// index of the largest logit with Gumbel noise, one random number per (seed, step, token's number, index), so
// that it is the same under every layout: ranks of a tensor group exchange their best, two numbers per token.
//
// The labels are read back from the device, which waits for it once per chunk. A loss that takes them from
// the device's memory would be a second one of every table and shard; this pass comes once in many steps.
//
// Throws RunError if a device's answer is no index, as after a failed transfer.
std::vector<int32_t> sample_labels(LayerContext& context, const LabelDraw& draw, const Tensor& logits,
                                   std::span<const int32_t> labels, std::span<const uint64_t> numbers);

// The key of kernels/gumbel.hpp's noise.
uint64_t label_key(const LabelDraw& draw);

}  // namespace collie
