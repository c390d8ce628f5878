// ShardedState's steps whose update is made inside backward (Lv et al., arXiv 2306.09782): each bucket as
// soon as its gradient is complete and reduced.
#include <algorithm>
#include <utility>

#include "base/divide.hpp"
#include "optim/matrix_collectives.hpp"
#include "optim/sharded_state.hpp"

namespace collie {

void ShardedState::start_fused_step(int micro_batches, FusedStep step) {
  fused_ = std::move(step);
  FusedUse used{[this](int bucket) { use_gradient(bucket); }, {}};
  used.later.resize(plan_.buckets().size());
  for (const int bucket : fused_->later) used.later[static_cast<size_t>(bucket)] = true;
  fused_sums_ = operations_.empty({norm_values()}, DType::f64, Category::workspace);
  operations_.fill(fused_sums_, 0);
  const Tensor& factor = fused_->arguments.gradient_factor;
  gate_ = factor.defined() ? factor : one_double(operations_, 1);
  gradients_->start_step(micro_batches, std::move(used));
}

// What this rank contributes to the norm by a bucket.
void ShardedState::sum_squares_of(int bucket) {
  const auto of_bucket = [&](const NormShare& share) { return share.bucket == bucket; };
  const auto first = std::find_if(norm_shares_.begin(), norm_shares_.end(), of_bucket);
  const auto last = std::find_if_not(first, norm_shares_.end(), of_bucket);
  const auto nodes = [](auto begin, auto end) {
    int64_t count = 0;
    for (auto share = begin; share != end; ++share) count += static_cast<int64_t>(share->nodes.size());
    return count;
  };
  const int64_t at = nodes(norm_shares_.begin(), first), count = nodes(first, last);
  if (count == 0) return;
  Tensor values = fused_sums_.rows(at, at + count);
  const std::vector<NormShare> shares(first, last);
  sum_shares(shares, sums_of_shares(shares), values);
}

void ShardedState::use_gradient(int bucket) {
  Tensor gradient = gradients_->part(bucket);
  if (fused_->clip_grad_value > 0) operations_.clamp(gradient, fused_->clip_grad_value);
  sum_squares_of(bucket);
  if (!fused_->updates) return;
  close_gate(bucket);
  UpdateArguments arguments = fused_->arguments;
  arguments.gradient_factor = gate_;
  weights_.wait(bucket);
  update_groups([bucket](int of) { return of == bucket; }, fused_->lr_factor, arguments, fused_->memory);
  weights_.publish(bucket);
}

// From here on nothing is updated if this gradient, on any of the ranks that hold a part, or a loss is not
// finite. All of them come to the same.
void ShardedState::close_gate(int bucket) {
  Tensor found = operations_.empty({2}, DType::f64, Category::workspace);
  operations_.fill(found, 0);
  Tensor squares = found.rows(0, 1), losses = found.rows(1, 2);
  const Tensor part = gradients_->part(bucket);
  const int64_t blocks = divide_up(part.numel(), reduction_block);
  Tensor sums = operations_.empty({blocks}, DType::f64, Category::workspace);
  operations_.block_sums_of_squares(part, sums);
  operations_.ordered_sums(sums, sum_of_first(blocks), squares);
  if (fused_->losses.defined())
    operations_.ordered_sums(fused_->losses, sum_of_first(fused_->losses.numel()), losses);
  all_reduce_sum({matrix_groups_.tensor, matrix_groups_.data, matrix_groups_.data != nullptr}, found);
  operations_.keep_if_finite(gate_, squares, gate_);
  operations_.keep_if_finite(gate_, losses, gate_);
}

// Those that waited for their gradients to be complete: a tied matrix's.
void ShardedState::finish_fused_step(UpdateArguments arguments) {
  const auto waits = [this](int bucket) {
    return std::find(fused_->later.begin(), fused_->later.end(), bucket) != fused_->later.end();
  };
  const Tensor norm = arguments.gradient_factor;
  arguments = fused_->arguments;
  operations_.keep_if_finite(gate_, norm, gate_);
  arguments.gradient_factor = gate_;
  for (const int bucket : fused_->later) weights_.wait(bucket);
  update_groups(waits, fused_->lr_factor, arguments, fused_->memory);
  for (const int bucket : fused_->later)
    if (!parameter(plan_.buckets()[static_cast<size_t>(bucket)].slots.front().id).tied_copy)
      weights_.publish(bucket);
  gradients_->release();
}

}  // namespace collie
