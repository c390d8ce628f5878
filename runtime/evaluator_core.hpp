// The rules of an evaluation pass. It splits its batches into programs of bounded size and sums their losses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "io/step_batches.hpp"
#include "runtime/events.hpp"

namespace collie {

class EvaluatorCore {
 public:
  // The micro-batches of one program, which bound the memory held at once.
  static constexpr int64_t micro_batches_per_program = 16;

  EvaluatorCore(std::shared_ptr<const SequenceOrder> order, int64_t micro_batch_size);

  void start(int64_t step);
  // Returns the next program's batches; null after the last one.
  std::shared_ptr<const StepBatch> next();
  // Adds the loss of the program that next() returned last. Returns the result if that was the last program.
  std::optional<EvaluationFinished> add(double loss_sum);

 private:
  std::shared_ptr<const SequenceOrder> order_;
  int64_t micro_batch_size_ = 1, micro_batches_ = 0;
  int64_t step_ = 0, next_ = 0, tokens_ = 0;
  double loss_sum_ = 0;
};

}  // namespace collie
