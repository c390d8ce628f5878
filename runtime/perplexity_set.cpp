#include "runtime/perplexity_set.hpp"

namespace collie {

PerplexitySet::PerplexitySet(std::shared_ptr<const SequenceOrder> order, int64_t micro_batch_size,
                             const std::vector<MetricConfig>& metrics)
    : losses_(std::move(order), micro_batch_size), scores_(metrics) {}

void PerplexitySet::start(int64_t step) {
  losses_.start(step);
  scores_.clear();
}

std::optional<ProgramRequest> PerplexitySet::next(Asker& asker) {
  std::shared_ptr<const StepBatch> batch = losses_.next();
  if (!batch) return std::nullopt;
  tokens_ = batch->global_target_tokens;
  return asker.ask(evaluation_program, std::move(batch));
}

void PerplexitySet::add(const ProgramReply& reply) {
  TokenSums sums;
  sums.loss = value_of(reply, loss_sum_name);
  sums.tokens = tokens_;
  scores_.add(sums);
}

}  // namespace collie
