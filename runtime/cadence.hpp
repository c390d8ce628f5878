// When evaluations and checkpoints are due. The trainer asks at each step; the plan asks what a run will
// contain.
#pragma once

#include <cstdint>
#include <functional>

#include "io/step_batches.hpp"

namespace collie {

struct Cadence {
  int64_t evaluate_every = 0;           // steps; 0: never
  int64_t evaluate_every_epochs = 0;    // epochs; 0: never
  int64_t checkpoint_every = 0;         // steps; 0: only at the end
  int64_t checkpoint_every_epochs = 0;  // epochs; 0: never
  double checkpoint_every_s = 0;        // seconds since the last one, or the start; 0: never
  // The epochs that end before or at a number of consumed sequences; needed for what is due by epochs.
  std::function<EpochsDone(int64_t position)> epochs_done = {};
  bool evaluate_at_start = false, evaluate_at_end = false;
  int64_t keep_best = 0;        // the best evaluated steps have a checkpoint; 0: only if one is due
  bool has_evaluation = false;  // whether there is data to evaluate on

  // Whether an evaluation is due after step `step`, or before the first step (0). The step ended at
  // `position`, the number of sequences consumed so far. `last`: no step follows.
  bool evaluation_due(int64_t step, int64_t position, bool last) const {
    if (!has_evaluation) return false;
    if (step == 0) return evaluate_at_start;
    return divides(evaluate_every, step) || epoch_due(evaluate_every_epochs, position) ||
           (evaluate_at_end && last);
  }
  // Whether a checkpoint is due after it. `since_last_s`: since the last one, or since the start.
  bool checkpoint_due(int64_t step, int64_t position, double since_last_s) const {
    if (step == 0) return false;
    return divides(checkpoint_every, step) || epoch_due(checkpoint_every_epochs, position) ||
           (checkpoint_every_s > 0 && since_last_s >= checkpoint_every_s);
  }

  // Whether a run from the start has an evaluation before or within its first `steps` steps, the last of
  // which ends at `position`. The one at the end of the run does not count.
  bool evaluates_within(int64_t steps, int64_t position) const {
    return has_evaluation &&
           (evaluate_at_start || within(evaluate_every, steps) ||
            (evaluate_every_epochs > 0 && within(evaluate_every_epochs, epochs_done(position).epochs)));
  }
  // Whether such a run saves before `last_step`, which begins at `position`; by the clock it may.
  bool saves_before(int64_t last_step, int64_t position) const {
    return within(checkpoint_every, last_step - 1) || (checkpoint_every_s > 0 && last_step > 1) ||
           (checkpoint_every_epochs > 0 && within(checkpoint_every_epochs, epochs_done(position).epochs)) ||
           (keep_best > 0 && evaluates_within(last_step - 1, position));
  }

 private:
  bool epoch_due(int64_t every, int64_t position) const {
    if (every == 0) return false;
    const EpochsDone done = epochs_done(position);
    return done.just_ended && done.epochs > 0 && divides(every, done.epochs);
  }
  static bool divides(int64_t every, int64_t number) { return every > 0 && number % every == 0; }
  static bool within(int64_t every, int64_t number) { return every > 0 && every <= number; }
};

}  // namespace collie
