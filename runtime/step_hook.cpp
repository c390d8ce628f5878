#include "runtime/step_hook.hpp"

namespace collie {

Registry<StepHookFactory>& step_hooks() {
  static Registry<StepHookFactory> registry("step hook", "step_hooks");
  return registry;
}

void HookContext::change_weights(
    const std::function<void(size_t stage, int bucket, Tensor& part)>& change) const {
  for (size_t stage = 0; stage < stages.size(); ++stage)
    stages[stage]->change_weights([&](int bucket, Tensor& part) { change(stage, bucket, part); },
                                  communicates);
}

}  // namespace collie
