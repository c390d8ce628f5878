// A set whose texts' losses are summed, as those of data.eval are.
#pragma once

#include "io/sequence_order.hpp"
#include "runtime/evaluator_core.hpp"
#include "runtime/set_core.hpp"

namespace collie {

class PerplexitySet final : public SetCore {
 public:
  // `order`: of the set's documents (evaluation_order()), which are computed in micro-batches of so many
  // sequences.
  PerplexitySet(std::shared_ptr<const SequenceOrder> order, int64_t micro_batch_size,
                const std::vector<MetricConfig>& metrics);

  void start(int64_t step) override;
  std::optional<ProgramRequest> next(Asker& asker) override;
  void add(const ProgramReply& reply) override;
  std::vector<NamedNumber> results() const override { return scores_.results(); }

 private:
  EvaluatorCore losses_;
  SetScores scores_;
  int64_t tokens_ = 0;  // of the program that is on its way
};

}  // namespace collie
