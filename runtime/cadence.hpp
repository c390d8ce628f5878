// When evaluations and checkpoints are due. The trainer asks at each step; the plan asks what a run will
// contain.
#pragma once

#include <cstdint>

namespace collie {

struct Cadence {
  int64_t evaluate_every = 0;         // steps; 0: never
  int64_t evaluate_every_epochs = 0;  // epochs; 0: never
  int64_t checkpoint_every = 0;       // steps; 0: only at the end
  int64_t sequences_per_epoch = 1;
  bool has_evaluation = false;  // whether there is data to evaluate on

  // Whether an evaluation is due after step `step` (from 1). The step ended at `position`, the number of
  // sequences consumed so far.
  bool evaluation_due(int64_t step, int64_t position) const {
    return has_evaluation &&
           (divides(evaluate_every, step) || divides(evaluate_every_epochs * sequences_per_epoch, position));
  }
  bool checkpoint_due(int64_t step) const { return divides(checkpoint_every, step); }

  // Whether a run from the start has an evaluation within `steps` steps, the last of which ends at
  // `position`.
  bool evaluates_within(int64_t steps, int64_t position) const {
    return has_evaluation &&
           (within(evaluate_every, steps) || within(evaluate_every_epochs * sequences_per_epoch, position));
  }
  bool saves_before(int64_t last_step) const { return within(checkpoint_every, last_step - 1); }

 private:
  static bool divides(int64_t every, int64_t number) { return every > 0 && number % every == 0; }
  static bool within(int64_t every, int64_t number) { return every > 0 && every <= number; }
};

}  // namespace collie
