// The rules of an evaluation pass: its batches, a bounded number at a time, and what comes of their losses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "io/step_batches.hpp"
#include "runtime/events.hpp"

namespace collie {

class EvaluatorCore {
 public:
  // Micro-batches of one program: what is held in memory at once.
  static constexpr int64_t micro_batches_a_program = 16;

  EvaluatorCore(std::shared_ptr<const SequenceOrder> order, int64_t micro_batch_size);

  void start(int64_t step);
  // The next program's batches; null when all have been handed out.
  std::shared_ptr<const StepBatch> next();
  // The losses of the program handed out last. The result, when it was the last one.
  std::optional<EvaluationFinished> add(double loss_sum);

 private:
  std::shared_ptr<const SequenceOrder> order_;
  int64_t micro_batch_size_ = 1, micro_batches_ = 0;
  int64_t step_ = 0, next_ = 0, tokens_ = 0;
  double loss_sum_ = 0;
};

}  // namespace collie
