// The computation of a rank. The stage actor's core decides when to compute and calls the worker task by
// task.
#pragma once

#include <functional>
#include <vector>

#include "runtime/messages.hpp"

namespace collie {

// The result of the synchronised step, equal on all ranks.
struct StepOutcome {
  double loss_sum = 0, gradient_norm = 0;
  // The first trained parameter, in canonical order, whose gradient is not finite; -1: there is none, or this
  // rank does not know.
  int first_not_finite = -1;
  // The norms of the gradients of each of optimizer.groups, then of the rest (runtime/group_norms.hpp). Empty
  // if there are no groups, or this rank does not know.
  std::vector<double> group_norms{};
};

// What a rank has communicated since its start.
struct Communicated {
  double blocked_s = 0;       // its compute tasks were blocked
  int64_t sent_bytes = 0;     // by collectives, to other ranks
  int64_t network_bytes = 0;  // of these: by groups that reach into other processes
};

class StageWorker {
 public:
  virtual ~StageWorker() = default;

  // The tasks of this program follow.
  virtual void begin(const Program& program) = 0;
  // Computes F, B, I, W, TaskKind::reduce_gradients, TaskKind::add_tied_gradient or TaskKind::sum_squares.
  virtual void compute(const Task& task) = 0;
  // take() returns a tensor that leaves: the output of the previous task. put() keeps a tensor that arrived
  // until a task needs it.
  virtual Tensor take(const Channel& channel, int micro_batch) = 0;
  virtual void put(const Channel& channel, int micro_batch, Tensor tensor) = 0;

  // Synchronises the step with all ranks. Returns whether outcome() is there already. If a device still has
  // to compute it, `on_outcome_ready` is called once when the outcome is there. That call may come on any
  // thread, and even before this function returns.
  virtual bool synchronize_step(std::function<void()> on_outcome_ready) = 0;
  virtual StepOutcome outcome() = 0;
  // Throws the failure of a device, or of the communication of its work, if there was one since the work was
  // queued. Does not wait.
  virtual void check() {}
  virtual void update() = 0;                           // or the estimate, by the program's GradientUse
  virtual std::vector<NamedValues> loss_values() = 0;  // over the program's micro-batches
  virtual std::vector<NamedValues> sample() = 0;       // the tokens drawn from the last logits
  virtual std::vector<CheckpointSlice> snapshot() = 0;
  // All tasks of the program are done.
  virtual void end() {}
  virtual RankSummary summary() const = 0;
  // The next three are for the monitor, once per step.
  virtual Communicated communicated() const { return {}; }
  virtual std::vector<uint64_t> peak_bytes() const { return {}; }  // [categories]
  // Whether a task's time is the time of its work, and not that of queueing it for a device.
  virtual bool is_timed() const { return true; }
  // gives_up() tells whether a program can be given up before its end. give_up() drops what the program has
  // computed. After that only snapshots follow, of the state after the last update. The rank's communication
  // may have been aborted by then.
  virtual bool gives_up() const { return false; }
  virtual void give_up() {}
  // Returns the spans of background communication since the last call, for the trace.
  virtual std::vector<TaskSpan> take_communication_spans() { return {}; }
};

}  // namespace collie
