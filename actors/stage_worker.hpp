// What a rank computes, behind what decides when: the core of the stage actor calls a worker task by task.
#pragma once

#include <vector>

#include "actors/messages.hpp"

namespace collie {

class StageWorker {
 public:
  virtual ~StageWorker() = default;

  // The next program's tasks follow.
  virtual void begin(const Program& program) = 0;
  // F, B, I, W, TaskKind::reduce_gradients and TaskKind::add_tied_gradient.
  virtual void compute(const Task& task) = 0;
  // Tensors that leave (the output of the task before) and arrive (kept until the task that needs them).
  virtual Tensor take(const Channel& channel, int micro_batch) = 0;
  virtual void put(const Channel& channel, int micro_batch, Tensor tensor) = 0;

  virtual GradientReport gradients() = 0;  // tag, rank and program are filled in by the caller
  virtual void update(const Verdict& verdict) = 0;
  virtual DoubleBits evaluation_loss() = 0;  // of the program's micro-batches
  virtual int32_t sample() = 0;
  virtual std::vector<CheckpointSlice> snapshot() = 0;
  virtual RankSummary summary() const = 0;
  // What was communicated in the background since the last call, for the trace.
  virtual std::vector<TaskSpan> take_communication_spans() { return {}; }
};

}  // namespace collie
