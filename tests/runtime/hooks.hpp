// Hooks that count, and that swap the weights around an evaluation.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <utility>

#include "runtime/step_hook.hpp"

namespace collie::test {

// Over all ranks.
struct HookCounts {
  std::atomic<int> steps{0}, norms{0}, updates{0}, evaluations{0}, ended_evaluations{0};
};
inline HookCounts hook_counts;

class CountingHook final : public StepHook {
 public:
  void before_step(const HookContext& context) override {
    COLLIE_ASSERT(context.updates && context.communicates, "a step that updates nothing");
    ++hook_counts.steps;
  }
  void before_norm(const HookContext&) override { ++hook_counts.norms; }
  void after_update(const HookContext&) override { ++hook_counts.updates; }
  void before_evaluation(const HookContext& context) override {
    COLLIE_ASSERT(!context.updates, "an evaluation that updates");
    ++hook_counts.evaluations;
  }
  void after_evaluation(const HookContext&) override { ++hook_counts.ended_evaluations; }
};

// Evaluates with all weights 0.01.
class SwappingHook final : public StepHook {
 public:
  void before_evaluation(const HookContext& context) override {
    COLLIE_ASSERT(kept_.empty(), "weights are swapped already");
    context.change_weights([&](size_t stage, int bucket, Tensor& part) {
      Tensor& kept = kept_[{stage, bucket}];
      kept = context.operations.empty(part.shape(), part.dtype(), Category::workspace);
      context.operations.copy(part, kept);
      context.operations.fill(part, 0.01);
    });
  }
  void after_evaluation(const HookContext& context) override {
    context.change_weights([&](size_t stage, int bucket, Tensor& part) {
      const auto kept = kept_.find({stage, bucket});
      if (kept != kept_.end()) context.operations.copy(kept->second, part);
    });
    kept_.clear();
  }

 private:
  std::map<std::pair<size_t, int>, Tensor> kept_;
};

inline std::vector<std::string> hooks_of_tests() {
  static const bool added = [] {
    step_hooks().add("counting", [] { return std::make_unique<CountingHook>(); });
    step_hooks().add("swapping", [] { return std::make_unique<SwappingHook>(); });
    return true;
  }();
  if (!added) return {};
  return {"counting", "swapping"};
}

}  // namespace collie::test
