// The loss sees one chunk of logits at a time, so that full logits never exist.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "base/registry.hpp"
#include "comm/process_group.hpp"
#include "kernels/operations.hpp"

namespace collie {

class Loss {
 public:
  virtual ~Loss() = default;
  // logits [chunk, vocab] is overwritten with d(sum of losses)/d(logits) · gradient_scale; labels [chunk],
  // -100 = not a target (its row of the gradient must be zero). Adds the sum of the losses over the chunk's
  // targets to loss_sum f64 [1].
  virtual void chunk(Operations& operations, Tensor& logits, std::span<const int32_t> labels,
                     double gradient_scale, Tensor& loss_sum) = 0;

  // Whether the loss is -log(probability of the label) by the softmax of the logits. Only then do labels that
  // are sampled from that softmax tell of the loss's curvature.
  virtual bool is_cross_entropy() const { return false; }
  // Whether chunk_of_shard() is there; a loss without it needs whole logits, and so tensor parallelism of 1.
  virtual bool supports_shards() const { return false; }
  // The same where each rank of `group` has the logits [chunk, width] of width consecutive ids, from `first`.
  // Labels are ids of the whole vocabulary. Called by all ranks of the group together; each adds the sum of
  // the losses to its loss_sum, and overwrites its logits with its columns of the gradient.
  virtual void chunk_of_shard(Operations& operations, Tensor& logits, std::span<const int32_t> labels,
                              int64_t first, ProcessGroup& group, double gradient_scale, Tensor& loss_sum);
};

using LossFactory = std::function<std::unique_ptr<Loss>()>;
Registry<LossFactory>& losses();  // built in: "cross_entropy"

// Throws UserError where `loss`, known as `name`, needs whole logits and tensor_size ranks share them.
void check_loss_shards(const std::string& name, const Loss& loss, int tensor_size);
// Throws UserError where `loss`, known as `name`, is not one whose curvature `optimizer` can estimate.
void check_loss_curvature(const std::string& name, const Loss& loss, const std::string& optimizer);

}  // namespace collie
