// Hooks of a host program or of the engine take part in the ranks' work: once per rank, with its weights and
// gradients. They are found by their names in RunPlan::step_hooks.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/registry.hpp"
#include "kernels/operations.hpp"
#include "optim/sharded_state.hpp"

namespace collie {

struct HookContext {
  Operations& operations;
  const std::vector<ShardedState*>& stages;  // those of this rank
  int64_t step = 0;                          // Program::step
  bool updates = false;  // whether an update follows; false: loss and norm alone, or an evaluation
  // False after a program was given up. The other ranks then do not get changed weights any more, and only a
  // checkpoint of this rank's part follows.
  bool communicates = true;

  // Lets `change` write this rank's part of each bucket of weights (ShardedState::change_weights).
  void change_weights(const std::function<void(size_t stage, int bucket, Tensor& part)>& change) const;
};

// All ranks call a hook at the same point of the same program. An exception ends the run as failed.
class StepHook {
 public:
  virtual ~StepHook() = default;
  virtual void before_step(const HookContext&) {}
  // The gradients are complete (BucketGradients::part), and neither measured nor clipped.
  virtual void before_norm(const HookContext&) {}
  // The tied matrix of a last stage on another rank has not arrived yet.
  virtual void after_update(const HookContext&) {}
  // Around each evaluation program. Weights that the first one changes must be restored by the second one,
  // also if an exception has ended the first one, or an earlier call of the second one, before its end.
  virtual void before_evaluation(const HookContext&) {}
  virtual void after_evaluation(const HookContext&) {}
};

using StepHookFactory = std::function<std::unique_ptr<StepHook>()>;
Registry<StepHookFactory>& step_hooks();

}  // namespace collie
