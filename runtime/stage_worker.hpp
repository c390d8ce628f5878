// What a rank computes, behind what decides when: the core of the stage actor calls a worker task by task.
#pragma once

#include <functional>
#include <vector>

#include "runtime/messages.hpp"

namespace collie {

// What all ranks have agreed on at the end of a step.
struct StepOutcome {
  double loss_sum = 0, gradient_norm = 0;
};

class StageWorker {
 public:
  virtual ~StageWorker() = default;

  // The next program's tasks follow.
  virtual void begin(const Program& program) = 0;
  // F, B, I, W, TaskKind::reduce_gradients, TaskKind::add_tied_gradient and TaskKind::sum_squares.
  virtual void compute(const Task& task) = 0;
  // Tensors that leave (the output of the task before) and arrive (kept until the task that needs them).
  virtual Tensor take(const Channel& channel, int micro_batch) = 0;
  virtual void put(const Channel& channel, int micro_batch, Tensor tensor) = 0;

  // Agrees with all ranks on the step. Returns whether outcome() is there already; where a device still has
  // to compute it, `on_outcome_ready` is called once when it has, on any thread, maybe before this returns.
  virtual bool synchronize_step(std::function<void()> on_outcome_ready) = 0;
  virtual StepOutcome outcome() = 0;
  // Throws what a device, or the communication of what it was given, has failed with since. Waits for
  // nothing.
  virtual void check() {}
  virtual void update() = 0;
  virtual DoubleBits evaluation_loss() = 0;  // of the program's micro-batches
  virtual int32_t sample() = 0;
  virtual std::vector<CheckpointSlice> snapshot() = 0;
  virtual RankSummary summary() const = 0;
  // Whether a program can be given up before its end, and to do so: what it has computed is dropped. Then
  // nothing but snapshots follows, of the state after the last update. The rank's communication may have been
  // aborted.
  virtual bool gives_up() const { return false; }
  virtual void give_up() {}
  // What was communicated in the background since the last call, for the trace.
  virtual std::vector<TaskSpan> take_communication_spans() { return {}; }
};

}  // namespace collie
