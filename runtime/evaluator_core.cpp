#include "runtime/evaluator_core.hpp"

#include <algorithm>
#include <cmath>

namespace collie {

EvaluatorCore::EvaluatorCore(std::shared_ptr<const SequenceOrder> order, int64_t micro_batch_size)
    : order_(std::move(order)),
      micro_batch_size_(micro_batch_size),
      micro_batches_(evaluation_batch_count(*order_, micro_batch_size)) {}

void EvaluatorCore::start(int64_t step) {
  step_ = step;
  next_ = tokens_ = 0;
  loss_sum_ = 0;
}

std::shared_ptr<const StepBatch> EvaluatorCore::next() {
  if (next_ >= micro_batches_) return nullptr;
  auto batch = std::make_shared<StepBatch>();
  batch->step = step_;
  const int64_t end = std::min(next_ + micro_batches_per_program, micro_batches_);
  for (; next_ < end; ++next_) {
    batch->micro_batches.push_back(evaluation_batch(*order_, micro_batch_size_, next_));
    batch->global_target_tokens += batch->micro_batches.back().target_tokens;
  }
  tokens_ += batch->global_target_tokens;
  return batch;
}

std::optional<EvaluationFinished> EvaluatorCore::add(double loss_sum) {
  loss_sum_ += loss_sum;
  if (next_ < micro_batches_) return std::nullopt;
  EvaluationFinished result;
  result.step = step_;
  result.tokens = tokens_;
  result.loss = loss_sum_ / static_cast<double>(tokens_);
  result.perplexity = std::exp(static_cast<double>(result.loss));
  return result;
}

}  // namespace collie
